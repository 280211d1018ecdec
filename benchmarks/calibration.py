"""What precision is reached for what is asked, on labels that neither model nor calibrator saw.

    python benchmarks/calibration.py
    python benchmarks/calibration.py --data ../shared/data --student STUDENT

STUDENT is runs/corel5k/seed0-plain/checkpoint, from `corel5k.py`.

The demo world: calibrators of the built-in model are fitted on its seen labels and half of the
scenes, and tested on the 42 unseen labels and the other half; figures are means over five splits of
the scenes. Corel-5k, with a student that `corel5k.py` trained: fitted on half of the labels that it
was not trained on, on train photos, and tested on the other half and test photos; and on all labels
of voc300 that it was not trained on. Vectors are pooled as `mkt index` stores them.

Compared are the calibrator, the raw score with a logistic curve fitted over all labels (Platt), one
threshold carried over from the fitted labels, and, as an oracle, a curve for each test label that
was fitted on its truth.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import Results, add_json_option

from mkt_search.calibration.baselines import Measured, compare
from mkt_search.calibration.calibrator import Stamp
from mkt_search.calibration.fit import Labeled, fit
from mkt_search.calibration.quality import ASKED
from mkt_search.calibration.selection import longest_prefix
from mkt_search.demo.scenes.photos import TEST_SEED, write_photos
from mkt_search.demo.scenes.world import LABELS, unseen_things
from mkt_search.evaluation.calibration_report import QUALITY_COLUMNS
from mkt_search.models.build import CheckpointModel, Model, open_model
from mkt_search.models.label_table import LabelTable
from mkt_search.models.views import encode_views
from mkt_search.photos import decode as images
from mkt_search.pooling.pool import pool
from mkt_search.scoring import score
from mkt_search.types import Encoding, Vector

Numbers = NDArray[np.float64]
Rows = NDArray[np.int64]

SCENES, SIDE, SPLITS = 3_000, 320, 5
SCENES_AT_ONCE = 250
PHOTOS_AT_ONCE = 32
MIN_PHOTOS = 5  # of a label of Corel-5k
SHARES = (0.3, 0.02, 0.0025)  # of the library that shows a label, made by leaving photos out
COLUMNS = {"photos": "", "method": ""} | {
    f"{what} at {asked:g}": ".3f" for asked in ASKED for what in ("P", "worst P", "R", "answered")
}
MORE = {name: ".4f" if name == "ECE" else ".3f" for name in QUALITY_COLUMNS}


@dataclass(frozen=True)
class World:
    """Photos of a kind with their pooled vectors, and the scores (n, L) of all labels."""

    name: str
    stamp: Stamp
    labeled: Labeled
    labels: list[str]
    vectors: Vector

    def scores(self, columns: Rows) -> Vector:
        """Return the fused scores of all photos for some labels."""
        parts = []
        for first in range(0, len(self.labeled), 256):
            some = self.labeled.at(np.arange(first, min(first + 256, len(self.labeled))))
            photos, z = some.vectors, self.vectors[columns]
            found = score(z, photos[:, 0], photos[:, 1:], some.counts, k=self.stamp.top_k)
            parts.append(found.fused)
        return np.concatenate(parts)


def encoded(
    name: str,
    model: Model,
    files: Sequence[Path],
    shown: Sequence[Sequence[str]],
    labels: list[str],
) -> World:
    """Encode and pool photos that show some labels."""
    encoder, own = model.photo_encoder(), model.label_encoder()
    encoding = Encoding(model.fingerprint, model.dim, model.grid, "cover", 16, model.top_k, "int8")
    parts, counts = [], []
    for first in range(0, len(files), PHOTOS_AT_ONCE):
        views = [
            images.to_views(images.decode(images.read(file), name=file.name), model.image)
            for file in files[first : first + PHOTOS_AT_ONCE]
        ]
        found = pool(encode_views(encoder, views), encoding, views=list(map(len, views)))
        parts.append(np.concatenate([found.global_vectors[:, None], found.local_vectors], axis=1))
        counts.append(found.counts)
    targets = np.array(
        [[1 if x in row else -1 for x in labels] for row in map(set, shown)], np.int8
    )
    labeled = Labeled(np.concatenate(parts), np.concatenate(counts), targets)
    return World(name, Stamp.of(encoding, own.fingerprint), labeled, labels, own.encode(labels))


def demo_world(folder: Path) -> World:
    """Return scenes that the built-in model was not trained on."""
    shown: dict[str, list[str]] = {}
    seeds = list(range(TEST_SEED, TEST_SEED + SCENES))
    for first in range(0, SCENES, SCENES_AT_ONCE):
        shown |= write_photos(folder, seeds[first : first + SCENES_AT_ONCE], side=SIDE)
    files = [folder / name for name in shown]
    return encoded("demo", open_model("demo"), files, list(shown.values()), list(LABELS))


def real_world(name: str, folder: Path, model: Model, *, only: str | None = None) -> World:
    """Return the photos of a folder with labels.json, with the labels that the model knows.

    Args:
        name: of the world.
        folder: holds the photos.
        model: encodes them.
        only: take the photos that splits.json has under this name.
    """
    shown: dict[str, list[str]] = json.loads((folder / "labels.json").read_text())
    encoder = model.label_encoder()
    assert isinstance(encoder, LabelTable)
    labels = sorted({label for row in shown.values() for label in row if label in encoder})
    files = sorted(shown)
    if only is not None:
        splits = json.loads((folder / "splits.json").read_text())
        files = [file for file in files if splits[file] == only]
    paths = [folder / "images" / file for file in files]
    return encoded(name, model, paths, [shown[file] for file in files], labels)


@dataclass(frozen=True)
class Part:
    """Photos and labels of a world: rows and columns of its targets."""

    world: World
    rows: Rows
    columns: Rows

    @property
    def scores(self) -> Vector:
        """(n, L): the fused scores."""
        return self.world.scores(self.columns)[self.rows]

    @property
    def targets(self) -> NDArray[np.int8]:
        """(n, L)."""
        return self.world.labeled.targets[np.ix_(self.rows, self.columns)]


def compared(fitted: Part, tested: Sequence[Part], seed: int) -> list[dict[str, Measured]]:
    """Return what each method is worth on each part that is tested."""
    chosen = fitted.world.labeled.at(fitted.rows)
    labeled = Labeled(chosen.vectors, chosen.counts, chosen.targets[:, fitted.columns])
    names = [fitted.world.labels[column] for column in fitted.columns]
    vectors = fitted.world.vectors[fitted.columns]
    calibrator = fit(labeled, names, vectors, fitted.world.stamp, seed=seed)
    found = []
    for part in tested:
        scores = part.scores
        statistics = calibrator.statistics(part.world.vectors[part.columns])
        p = calibrator.probabilities(scores, statistics)
        found.append(
            compare(
                calibrator.baselines,
                p,
                scores,
                part.targets,
                present_from=calibrator.present_from,
            )
        )
    return found


def mean(found: Sequence[Measured], asked: float, name: str) -> float | None:
    """Return the mean of a figure over splits; None where no label was answered."""
    values = [getattr(one.reached[asked], name) for one in found]
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else None


def show(results: Results, title: str, found: dict[str, dict[str, list[Measured]]]) -> None:
    """Print the table of precisions, and that of everything else."""
    table = results.table(title, COLUMNS)
    for photos, methods in found.items():
        for method, measured in methods.items():
            cells = [
                mean(measured, asked, name)
                for asked in ASKED
                for name in ("precision", "worst", "recall", "answered")
            ]
            table.row(photos, method, *cells)
    more = results.table(f"{title}, more", {"photos": "", "method": "", **MORE})
    for photos, methods in found.items():
        for method, measured in methods.items():
            qualities = [one.quality for one in measured if one.quality is not None]
            if not qualities:
                continue
            rest: list[float | None] = []
            for name in QUALITY_COLUMNS.values():
                values = [getattr(one, name) for one in qualities if getattr(one, name) is not None]
                rest.append(float(np.mean(values)) if values else None)
            more.row(photos, method, *rest)


def rare(world: World, results: Results) -> None:
    """Print what is reached where a label is on many photos of the library, or on few."""
    table = results.table("share of the library", {"share": "", "P at 0.9": ".3f", "R": ".3f"})
    seen, unseen, splits = demo_splits(world)
    for share in SHARES:
        right, chosen, there = 0, 0, 0
        for seed, (half, other) in enumerate(splits):
            labeled = world.labeled.at(half)
            part = Labeled(labeled.vectors, labeled.counts, labeled.targets[:, seen])
            names = [world.labels[column] for column in seen]
            calibrator = fit(part, names, world.vectors[seen], world.stamp, seed=seed)
            tested = Part(world, other, unseen)
            statistics = calibrator.statistics(world.vectors[unseen])
            p, truth = calibrator.probabilities(tested.scores, statistics), tested.targets > 0
            rng = np.random.default_rng(seed)
            for column in range(len(unseen)):
                kept = _with_share(truth[:, column], share, rng)
                order = kept[np.argsort(-p[kept, column], kind="stable")]
                count = longest_prefix(p[order, column], max(ASKED))
                right += int(truth[order[:count], column].sum())
                chosen += count
                there += int(truth[kept, column].sum())
        table.row(f"{100 * share:g} %", right / max(chosen, 1), right / there)


def _with_share(truth: NDArray[np.bool_], share: float, rng: np.random.Generator) -> Rows:
    """Return photos of which a share shows the label."""
    shown, others = rng.permutation(np.flatnonzero(truth)), rng.permutation(np.flatnonzero(~truth))
    wanted = max(1, round(share * len(others) / (1 - share)))
    if wanted <= len(shown):
        return np.concatenate([shown[:wanted], others])
    return np.concatenate([shown, others[: round(len(shown) * (1 - share) / share)]])


def demo_splits(world: World) -> tuple[Rows, Rows, list[tuple[Rows, Rows]]]:
    """Return the columns of seen and of unseen labels, and halves of the scenes."""
    is_unseen = np.isin(world.labels, unseen_things())
    orders = [np.random.default_rng(seed).permutation(SCENES) for seed in range(SPLITS)]
    halves = [(order[: SCENES // 2], order[SCENES // 2 :]) for order in orders]
    return np.flatnonzero(~is_unseen), np.flatnonzero(is_unseen), halves


def demo(results: Results, folder: Path) -> None:
    """Measure on the demo world."""
    world = demo_world(folder)
    seen, unseen, halves = demo_splits(world)
    found: dict[str, list[Measured]] = {}
    for seed, (half, other) in enumerate(halves):
        [methods] = compared(Part(world, half, seen), [Part(world, other, unseen)], seed)
        for method, measured in methods.items():
            found.setdefault(method, []).append(measured)
    show(results, "demo world", {"unseen labels": found})
    rare(world, results)


def real(results: Results, data: Path, student: Path) -> None:
    """Measure a student of Corel-5k on labels that it was not trained on."""
    model = open_model(student)
    assert isinstance(model, CheckpointModel)
    trained = set(model.meta.trained["seen"])
    corel, voc = (real_world(name, data / name, model) for name in ("corel5k", "voc300"))
    splits = json.loads((data / "corel5k" / "splits.json").read_text())
    files = sorted(json.loads((data / "corel5k" / "labels.json").read_text()))
    is_test = np.array([splits[file] == "test" for file in files])
    often = (corel.labeled.targets > 0).sum(axis=0) >= MIN_PHOTOS
    fresh = np.flatnonzero(often & ~np.isin(corel.labels, list(trained)))
    new = np.flatnonzero(~np.isin(voc.labels, list(trained)))
    found: dict[str, dict[str, list[Measured]]] = {"Corel-5k": {}, "VOC": {}}
    for seed in range(SPLITS):
        drawn = np.random.default_rng(seed).permutation(fresh)
        fitted, tested = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        known = {corel.labels[column] for column in fitted}
        others = np.array([column for column in new if voc.labels[column] not in known], np.int64)
        parts = [
            Part(corel, np.flatnonzero(is_test), tested),
            Part(voc, np.arange(len(voc.labeled)), others),
        ]
        both = compared(Part(corel, np.flatnonzero(~is_test), fitted), parts, seed)
        for name, methods in zip(found, both, strict=True):
            for method, measured in methods.items():
                found[name].setdefault(method, []).append(measured)
    show(results, "real photos", found)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", type=Path, help="folder of the scenes, kept for the next run")
    parser.add_argument("--data", type=Path, help="folder that holds corel5k/ and voc300/")
    parser.add_argument("--student", type=Path, help="checkpoint of a student of Corel-5k")
    add_json_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    with tempfile.TemporaryDirectory() as temporary:
        demo(results, arguments.scenes or Path(temporary))
    if arguments.data and arguments.student:
        real(results, arguments.data, arguments.student)
    results.save()


if __name__ == "__main__":
    main()
