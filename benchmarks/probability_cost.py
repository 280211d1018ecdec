"""What probabilities cost: the p of a search, and tagging with p or without a calibrator.

    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1    tagging has threads of its own
    python benchmarks/probability_cost.py --photos 100000 --base 5000    1 GB of disk, some minutes
    python benchmarks/probability_cost.py --photos 6000

Simulated photos (`simulated.py`) are stored, and a calibrator is made up of 50 of them and a curve
of 200 corners. Searches for the 20 best photos of a label alternate with the p of what they found;
each is timed by itself, medians of all labels. The calibrator is looked for as every search does,
in a library of the demo world.

Dry runs of tagging alternate with the plain rule, five labels a photo: a run is compared with the
mean of its two neighbours in processor time, which other programs disturb least.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import simulated
from results import Results, add_json_option

from mkt_search import Library
from mkt_search.calibration.baselines import Baselines
from mkt_search.calibration.calibrator import Calibrator, Reference, Stamp
from mkt_search.calibration.features import features
from mkt_search.calibration.file import FILE, Found, save
from mkt_search.calibration.fit import REFERENCES
from mkt_search.calibration.isotonic import Isotonic
from mkt_search.calibration.logistic import Logistic
from mkt_search.calibration.quality import Quality
from mkt_search.demo.scenes.photos import TEST_SEED, write_photos
from mkt_search.search.feedback import AdaptedQuery
from mkt_search.search.probability import Probability
from mkt_search.search.search import Explanation, search
from mkt_search.store.interfaces import Snapshot, WeightedQuery
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.tagging.assign import TagRule, blocks_within
from mkt_search.tagging.bulk import tag
from mkt_search.tagging.choice import Choice, TagRequest, choose
from mkt_search.tagging.stand_out import WORDS
from mkt_search.types import Vector

K, TOP, SEARCHES, CORNERS = 20, 5, 60, 200
SCENES = 40
MEMORY_MB = 1_000
REQUESTS = {
    "five a photo, with p": TagRequest(top=TOP),
    "precision 0.8": TagRequest(precision=0.8),
    "no calibrator: stand out": TagRequest(),
}


def made_up(snapshot: Snapshot, stamp: Stamp, labels: Vector) -> Calibrator:
    """Return a calibrator of a library's photos; p is above 0.5 for about five labels of each."""
    content_ids = snapshot.content_ids()
    places = np.linspace(0, len(content_ids) - 1, REFERENCES).astype(np.int64)
    reference = Reference(*snapshot.vectors(content_ids[places]))
    found = reference.statistics(labels, k=stamp.top_k)
    weights = np.array([1 / found.spread.mean(), 2.0])
    scores = np.concatenate(
        [part.fused for part in reference.scores(labels, k=stamp.top_k)], axis=1
    )
    middle = np.quantile(
        Logistic(weights, 0.0).logits(features(scores, found)), max(0, 1 - TOP / len(labels))
    )
    x = np.linspace(-8, 8, CORNERS)
    return Calibrator(
        stamp=stamp,
        reference=reference,
        logistic=Logistic(weights, -float(middle)),
        curve=Isotonic(x, 1 / (1 + np.exp(-x))),
        present_from=0.1,
        quality=Quality(100, 1_000, 0.01, 0.02, 0.5, 1.0, 0.0, 0.0),
        baselines=Baselines(Logistic(np.array([1.0]), 0.0), {}),
        labels=("made up",),
    )


def searches(results: Results, snapshot: Snapshot, calibrator: Calibrator, labels: Vector) -> None:
    """Time searches, and the p of what they find."""
    plain, with_p = [], []
    for label in labels[:SEARCHES]:
        query = WeightedQuery(label[None], np.ones(1, np.float32))
        start = time.perf_counter()
        found = search(snapshot, query, K)
        middle = time.perf_counter()
        Probability.of(calibrator, AdaptedQuery.unchanged(query)).at(snapshot, found)
        end = time.perf_counter()
        plain.append(1e3 * (middle - start))
        with_p.append(1e3 * (end - middle))
    table = results.table("search", {"photos": ",", "search ms": ".2f", "p ms": ".2f"})
    table.row(snapshot.facts.photos, statistics.median(plain), statistics.median(with_p))


def lookup(results: Results, folder: Path) -> None:
    """Time what a search of a library of scenes takes for p, the search for its calibrator too."""
    write_photos(folder / "photos", range(TEST_SEED, TEST_SEED + SCENES), side=128)
    with Library.create(folder) as library:
        library.index(folder / "photos", model="demo")
        stamp = Stamp.of(
            library.snapshot().facts.encoding, library.model.label_encoder().fingerprint
        )
        snapshot, label = library.snapshot(), library.label_vectors(["beach"])
        save(made_up(snapshot, stamp, label), library.directory / FILE)
        steps: dict[str, list[float]] = {}
        for _ in range(SEARCHES):
            explanation = Explanation()
            library.search("beach", k=K, explanation=explanation)
            for name, ms in explanation.milliseconds.items():
                steps.setdefault(name, []).append(ms)
    for name in ("calibrator", "probabilities"):
        results.fact(f"{name} ms", statistics.median(steps[name]), ".2f")


def runs(results: Results, store: Store, calibrator: Calibrator, labels: Vector) -> None:
    """Compare dry runs of each rule with plain ones before and after."""
    assert store.active is not None
    snapshot = LocalSnapshot.open(store, store.active)
    names = [f"label {number}" for number in range(len(labels))]
    blocks = blocks_within(MEMORY_MB, snapshot.encoding, len(labels), top=TOP)

    def seconds(request: TagRequest | None, found: Found) -> tuple[float, int]:
        start = time.process_time()
        choice = Choice(TagRule(TOP), "")
        if request is not None:
            choice = choose(request, found, labels, snapshot, lambda: labels[:WORDS])
        report = tag(
            store.catalog,
            snapshot,
            names,
            labels,
            choice=choice,
            blocks=blocks,
            run=None,
            spill_folder=store.directory,
        )
        return time.process_time() - start, report.added

    nothing = Found(None)
    plain, others = [seconds(None, nothing)[0]], []
    for request in REQUESTS.values():
        others.append(seconds(request, nothing if request.is_nothing else Found(calibrator)))
        plain.append(seconds(None, nothing)[0])
    table = results.table(
        "tagging",
        {
            "photos": ",",
            "labels": ",",
            "rule": "",
            "s": ".2f",
            "/ five a photo": ".3f",
            "tags": ",",
        },
    )
    for name, (own, tags), (before, after) in zip(REQUESTS, others, pairwise(plain), strict=True):
        table.row(snapshot.facts.photos, len(labels), name, own, 2 * own / (before + after), tags)


def main() -> None:
    """Read the options, measure, print the tables, and save them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=6_000)
    parser.add_argument("--base", type=int, default=2_000, help="photos that are not recombined")
    parser.add_argument("--labels", type=int, default=10_000)
    add_json_option(parser)
    given = parser.parse_args()
    results = Results(given.json)
    with tempfile.TemporaryDirectory() as temporary:
        lookup(results, Path(temporary) / "scenes")
        world, stored = simulated.World.make(), simulated.encoding()
        store = Store.create(Path(temporary) / ".mkt")
        simulated.fill(
            store, stored, simulated.photos(world, given.photos, stored, base=given.base)
        )
        labels = world.labels(given.labels)
        assert store.active is not None
        snapshot = LocalSnapshot.open(store, store.active)
        calibrator = made_up(snapshot, Stamp.of(stored, "simulated"), labels)
        searches(results, snapshot, calibrator, labels)
        runs(results, store, calibrator, labels)
        store.close()
    results.save()


if __name__ == "__main__":
    main()
