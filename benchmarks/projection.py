"""Measure the map of a library: how well it keeps neighbours, and what it costs.

    python benchmarks/projection.py                       1,000,000 photos placed
    python benchmarks/projection.py --photos 100000       a quick look

Simulated global vectors: 2,000 concepts of 100 topics with Zipf frequencies; a photo shows two of
them in noise with a falling spectrum. Trustworthiness (Venna and Kaski, 2001) at 10 neighbours says
how far the neighbours on the plane are neighbours in all dimensions; 1 is perfect. It is measured
on 2,000 points drawn from those laid out, and on 2,000 drawn from those placed. Ten neighbours are
combined by their median, which the library does, or their mean. Seconds are of
the processor; memory is the peak of the whole process. The file, and what a page reads first, are
those of the map of all photos placed.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from results import Results, add_json_option
from sklearn.manifold import trustworthiness

from mkt_search.progress import no_progress
from mkt_search.projection.anchors import NEIGHBOURS, Anchors
from mkt_search.projection.clusters import Cluster, centers_of
from mkt_search.projection.file import FILE, load, save
from mkt_search.projection.plane import Axes, laid_out
from mkt_search.projection.shown import shown
from mkt_search.projection.stored import StoredMap
from mkt_search.scoring import unit
from mkt_search.store.ann.neighbours import Neighbours
from mkt_search.store.records import ShownContents
from mkt_search.types import Vector

DIM, TOPICS, CONCEPTS = 512, 100, 2_000
SAMPLES = (5_000, 20_000)
PHOTOS_AT_ONCE = 8_192
JUDGED = 2_000
MEGABYTE = 1 << 20


class World:
    """Concepts (C, D) with their frequencies (C,)."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.spectrum = (np.arange(1, DIM + 1) ** -0.35).astype(np.float32)
        topics = self.directions(rng, TOPICS)[rng.integers(0, TOPICS, CONCEPTS)]
        self.concepts = unit(0.8 * topics + self.directions(rng, CONCEPTS))
        frequency = 1 / np.arange(1, CONCEPTS + 1) ** 0.9
        self.frequency = frequency / frequency.sum()
        self.seed = seed

    def directions(self, rng: np.random.Generator, count: int) -> Vector:
        """Return (n, D) random unit vectors."""
        return unit(rng.standard_normal((count, DIM), np.float32) * self.spectrum)

    def vectors(self, count: int, part: int) -> Vector:
        """Return (n, D) unit global vectors, the same for the same part."""
        rng = np.random.default_rng((self.seed, part))
        one, other = rng.choice(CONCEPTS, (2, count), p=self.frequency)
        shown = self.concepts[one] + np.float32(0.4) * self.concepts[other]
        return unit(shown + np.float32(0.6) * self.directions(rng, count))


def kept(vectors: Vector, points: Vector) -> float:
    """Return the trustworthiness at 10 neighbours of `JUDGED` points."""
    chosen = np.random.default_rng(1).choice(len(points), min(JUDGED, len(points)), replace=False)
    return float(trustworthiness(vectors[chosen], points[chosen], n_neighbors=NEIGHBOURS))


def mean_of_neighbours(anchors: Anchors, vectors: Vector) -> Vector:
    """Return points (n, 2) at the mean of the ten neighbours of vectors (n, D)."""
    found = Neighbours(anchors.coordinates).nearest(anchors.axes.coordinates(vectors), NEIGHBOURS)
    points: Vector = anchors.points[found].mean(axis=1, dtype=np.float32)
    return points


def parts(world: World, count: int) -> Iterator[Vector]:
    """Yield the vectors of photos, `PHOTOS_AT_ONCE` at a time."""
    for number, first in enumerate(range(0, count, PHOTOS_AT_ONCE), start=1):
        yield world.vectors(min(PHOTOS_AT_ONCE, count - first), number)


def peak() -> float:
    """Return the most memory that the process has held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=1_000_000)
    add_json_option(parser)
    arguments = parser.parse_args()
    results, world = Results(arguments.json), World(7)
    columns = {
        "photos laid out": ",",
        "axes, s": ".1f",
        "t-SNE, s": ".0f",
        "laid out": ".3f",
        "placed, median": ".3f",
        "placed, mean": ".3f",
    }
    table = results.table("layout", columns)
    others = world.vectors(JUDGED, 1)
    for count in SAMPLES:
        vectors = world.vectors(count, 0)
        started = time.process_time()
        axes = Axes.of(vectors)
        coordinates = axes.coordinates(vectors)
        found_axes = time.process_time()
        points = laid_out(coordinates, seed=0, progress=no_progress)
        ended = time.process_time()
        anchors = Anchors(axes, coordinates, points)
        table.row(
            count,
            found_axes - started,
            ended - found_axes,
            kept(vectors, points),
            kept(others, anchors.place(others)),
            kept(others, mean_of_neighbours(anchors, others)),
        )
    spent, placed = 0.0, []
    for part in parts(world, arguments.photos):
        started = time.process_time()
        placed.append(anchors.place(part))
        spent += time.process_time() - started
    results.fact("photos placed", arguments.photos, ",")
    results.fact("seconds placing", spent, ".0f")
    results.fact("peak megabytes", peak(), ",.0f")
    keys = np.arange(arguments.photos, dtype=np.uint64)
    clusters = tuple(
        Cluster(level, x, y, "")
        for level, centers in enumerate(centers_of(points, seed=0))
        for x, y in centers.tolist()
    )
    whole = StoredMap("simulated", 1, 0, keys, np.concatenate(placed), anchors, clusters)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / FILE
        save(whole, file)
        results.fact("megabytes of the file", file.stat().st_size / MEGABYTE, ".0f")
        started = time.process_time()
        read = load(file)
        assert read is not None
        ids = np.arange(arguments.photos)
        found = shown(read, ShownContents(ids, ids, keys), "simulated", "1")
        results.fact("seconds reading", time.process_time() - started, ".2f")
    results.fact("megabytes sent", found.points.nbytes / 1e6, ".1f")
    results.save()


if __name__ == "__main__":
    main()
