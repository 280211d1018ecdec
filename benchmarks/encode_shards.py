"""Time what a plan of shards costs beside `mkt index`, and how fast shards are imported.

    OMP_NUM_THREADS=1 python benchmarks/encode_shards.py

Scenes of the demo's world are encoded with the demo's checkpoint three ways, in turn: by `mkt
index`, by one worker that encodes a plan, and by the import of its shards into a new library.
Printed is the processor time of each, the least of three rounds, and its ratio to that of `mkt
index`. Then the import of shards of simulated vectors (512 numbers, one global and 16 local vectors
a photo, int8) is timed by itself.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
from results import Results, add_json_option, met

from indexer.load import Loaded
from indexer.shards.plan import ShardPlan, write_plan
from indexer.shards.shard import write_shard
from mkt_search import Library, encode_shards
from mkt_search.demo.scenes.photos import LIBRARY_SEED, write_photos
from mkt_search.types import Encoding, PhotoFacts, PhotoFile, PhotoVectors

DIM, M, GRID = 512, 16, (14, 14)
SHARD = 2_000
ROUNDS = 3
AIM = 1.10  # times `mkt index`, encoding and import together
SIDE = 256


def demo_model() -> Path:
    """Return the checkpoint that comes with the package."""
    return Path(str(files("mkt_search.demo") / "shipped" / "checkpoint"))


def timed(work: Callable[[], object]) -> float:
    """Return the processor time of a call, in seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(folder: Path, photos: int) -> dict[str, float]:
    """Return the processor time of `mkt index`, of a worker, and of the import, in seconds."""
    write_photos(folder / "photos", range(LIBRARY_SEED, LIBRARY_SEED + photos), side=SIDE)
    model = demo_model()
    times = {}
    with Library.create(folder / "direct") as direct:
        times["mkt index"] = timed(
            lambda: direct.index(folder / "photos", model=model, device="cpu")
        )
    with Library.create(folder / "lib") as library:
        plan = library.plan_shards(folder / "photos", folder / "plan", model=model)
        times["mkt encode run"] = timed(lambda: encode_shards(plan.folder, device="cpu"))
        times["mkt encode import"] = timed(lambda: library.import_shards(plan.folder))
    return times


def simulate(folder: Path, shards: int) -> ShardPlan:
    """Write a plan that is done: shards of random vectors."""
    rng = np.random.default_rng(0)
    encoding = Encoding("simulated", DIM, GRID, "cover", M, 20, "int8")
    paths = [f"{number // 1_000}/{number}.jpg" for number in range(shards * SHARD)]
    plan = write_plan(
        folder / "simulated",
        paths,
        root=folder / "none",
        model="simulated",
        encoding=encoding,
        photos_a_shard=SHARD,
    )
    members = np.zeros((SHARD, M, encoding.patches), np.bool_)
    members[:, np.arange(M), np.arange(M)] = True
    facts = PhotoFacts(4_000, 3_000, "JPEG", camera="Pinhole 3000")
    for shard in range(shards):
        rows = rng.standard_normal((SHARD, 1 + M, DIM), dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=2, keepdims=True)
        items = [
            Loaded(
                PhotoFile(plan.root, path, plan.root / path, 4_000_000, 10**18 + row),
                rng.bytes(32).hex(),
                None,
                facts,
                rng.bytes(700),
                row,
            )
            for row, path in enumerate(plan.paths(shard))
        ]
        write_shard(plan, shard, items, PhotoVectors(rows[:, 0], rows[:, 1:], members))
    return plan


def main() -> None:
    """Read the options, measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=int, default=600, help="scenes that are encoded")
    parser.add_argument("--shards", type=int, default=10, help=f"of {SHARD:,} simulated photos")
    add_json_option(parser)
    given = parser.parse_args()
    results = Results(given.json)
    results.fact("photos", given.photos, ",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(folder / "warm", 40)
        rounds = [compare(folder / f"{number}", given.photos) for number in range(ROUNDS)]
        times = {step: min(each[step] for each in rounds) for step in rounds[0]}
        table = results.table("cost", {"step": "", "ms/photo": ".2f", "times `mkt index`": ".2f"})
        together = times["mkt encode run"] + times["mkt encode import"]
        for step, seconds in (times | {"both together": together}).items():
            table.row(step, seconds / given.photos * 1e3, seconds / times["mkt index"])
        results.fact("aim", met(together <= AIM * times["mkt index"]))
        plan = simulate(folder, given.shards)
        with Library.create(folder / "large") as library:
            seconds = timed(lambda: library.import_shards(plan.folder))
            again = timed(lambda: library.import_shards(plan.folder))
        results.fact("imported", plan.photos, ",")
        results.fact("import rate", plan.photos / seconds, ",.0f")
        results.fact("unchanged rate", plan.photos / again, ",.0f")
        size = sum(file.stat().st_size for file in plan.folder.rglob("*.*"))
        results.fact("bytes a photo", size / plan.photos, ",.0f")
    results.save()


if __name__ == "__main__":
    main()
