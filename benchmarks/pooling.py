"""Measure what is lost by storing a few local vectors of a photo instead of all its patches.

    python benchmarks/pooling.py --data ../shared/data --model runs/corel5k/seed0/checkpoint
    python benchmarks/pooling.py --demo runs/demo-photos

Every photo of Corel-5k, or of 4,000 scenes of the demo world rendered into a folder, is encoded
once. Every label (of Corel-5k those with at least ten train photos) ranks all photos by the exact
score over all patches in float32. The rankings from stored vectors, coded and decoded by the
library's code, are compared with it:

- overlap@10 and overlap@100: the share of the best photos that both rankings have in common.
- mAP: the mean AP over all photos, by the labels of the dataset.
- photos to score: photos with a vector g + l_j that scores at least as much as the 10th best photo,
  the mean over labels. An exact search for ten photos scores these; 10 is the least possible.
- bytes/photo: the size in a segment.

`product` is what `mkt index` offers; `rejected` are the methods of `pooling_methods.py`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from corel import encode_all, every_patch, rank, read_corel
from numpy.typing import NDArray
from pooling_methods import METHODS, VARIATIONS, Pooled, mean_of_best, over_vocabulary
from results import Results, Table, add_json_option

from mkt_search.demo.scenes.photos import LIBRARY_SEED, write_photos
from mkt_search.demo.scenes.world import LABELS
from mkt_search.evaluation.metrics import mean_average_precision
from mkt_search.models.build import open_model
from mkt_search.scoring import scale
from mkt_search.store.segments.coding import decode, encode
from mkt_search.store.segments.members import Members
from mkt_search.types import Encoded, PhotoVectors, Precision, Vector

MIN_TRAIN_PHOTOS = 10  # of a label of Corel-5k
SCENES, SCENE_PIXELS = 4_000, 320
SCORED_PHOTOS = 256  # bounds the memory of (photos, m, labels) products
ROW_HEADER_BYTES = 32  # the SHA-256 of a photo
FIDELITY_COLUMNS = {
    **{"stored": "", "m": "", "precision": "", "bytes/photo": ","},
    **{"overlap@10": ".3f", "overlap@100": ".3f", "mAP": ".3f", "photos to score": ".1f"},
}
Row = tuple[str, Sequence[int], tuple[Precision, ...]]  # method, numbers m, precisions
PRODUCT: tuple[Row, ...] = (
    ("cover", (4, 8, 16, 24), ("int8", "int4")),
    ("topk", (4, 8, 16, 24), ("int8", "int4")),
)
REJECTED: tuple[Row, ...] = (
    ("cover", (16,), ("fp16",)),
    ("kset", (8, 16, 24), ("int8",)),
    ("centroids", (8, 16, 24), ("int8",)),
    ("ward", (8, 16, 24), ("int8",)),
    *((name, (16,), ("int8",)) for name in VARIATIONS),
)


@dataclass(frozen=True)
class World:
    """Encoded photos, label vectors (L, D), and which photo shows what: (N, L), 1 or -1."""

    encoded: Encoded
    labels: Vector
    shown: NDArray[np.int8]
    grid: tuple[int, int]
    k: int


def corel_world(data: Path, checkpoint: str, photos: int | None) -> World:
    """Encode Corel-5k, or its first `photos`."""
    corel, model = read_corel(data), open_model(checkpoint)
    table = model.label_encoder()
    names = [name for name in corel.frequent(MIN_TRAIN_PHOTOS) if name in table.names]  # type: ignore[attr-defined]
    files = corel.files[:photos]
    encoded = encode_all(model, [corel.folder / file for file in files])
    return World(encoded, table.encode(names), corel.shown(files, names), model.grid, model.top_k)


def demo_world(folder: Path, photos: int) -> World:
    """Render and encode scenes that no built-in model was trained on."""
    model, names = open_model("demo"), list(LABELS)
    seeds = range(LIBRARY_SEED, LIBRARY_SEED + photos)
    labels_of = write_photos(folder, seeds, side=SCENE_PIXELS)
    files = sorted(labels_of)
    encoded = encode_all(model, [folder / file for file in files])
    shown = [[1 if name in labels_of[file] else -1 for name in names] for file in files]
    labels = model.label_encoder().encode(names)
    return World(encoded, labels, np.array(shown, np.int8), model.grid, model.top_k)


def stored(vectors: PhotoVectors, precision: Precision) -> tuple[PhotoVectors, int]:
    """Return vectors as a segment returns them, and the bytes of one photo there."""
    rows = np.concatenate([vectors.global_vectors[:, None], vectors.local_vectors], axis=1)
    codes, steps = encode(rows, precision)
    decoded = decode(codes, steps, precision, rows.shape[-1])
    members = Members.pack(vectors.members, vectors.members.shape[2]).packed
    size = codes[0].nbytes + steps[0].nbytes + members[0].nbytes + ROW_HEADER_BYTES
    return PhotoVectors(decoded[:, 0], decoded[:, 1:], vectors.members), size


class Comparison:
    """Compares rankings from stored vectors with the exact ranking."""

    def __init__(self, world: World) -> None:
        """Rank the photos by all patches."""
        self.world = world
        self.scaled = scale(world.encoded)
        self.exact = rank(world.labels, every_patch(self.scaled), world.k)
        self._best = np.argsort(-self.exact.fused.T, axis=1, kind="stable")

    def product(self, table: Table) -> None:
        """Add the rows of what the library can store, and the two extremes."""
        patches, dim = self.scaled.patches.shape[1:]
        self._add(table, "every patch", patches, "fp32", 4 * dim * (1 + patches), self.exact.fused)
        self._pooled(table, "all", patches, "fp16", Pooled(every_patch(self.scaled)))
        self.methods(table, PRODUCT)
        self._add(table, "global vector only", 0, "fp32", 4 * dim, self.exact.global_scores)

    def methods(self, table: Table, rows: Sequence[Row]) -> None:
        """Add a row for each method, m and precision."""
        for name, sizes, precisions in rows:
            for m in sizes:
                pooled = METHODS[name](self.scaled, self.world.grid, m, self.world.k)
                kept = m if pooled.size else pooled.vectors.local_vectors.shape[1]
                for precision in precisions:
                    self._pooled(table, name, kept, precision, pooled)

    def vocabulary_scale(self, table: Table) -> None:
        """Add the exact scores by the paper's vocabulary scale; all labels are its reference."""
        world, (patches, dim) = self.world, self.scaled.patches.shape[1:]
        scaled = over_vocabulary(world.encoded, world.labels, world.k)
        fused = rank(world.labels, every_patch(scaled), world.k).fused
        what, size = "every patch, vocabulary scale", 4 * dim * (1 + patches)
        self._add(table, what, patches, "fp32", size, fused)

    def _pooled(
        self, table: Table, what: str, m: int, precision: Precision, pooled: Pooled
    ) -> None:
        decoded, size = stored(pooled.vectors, precision)
        if pooled.size is not None:  # a segment cannot hold it; its parts are already coded
            local_vectors, size = pooled.vectors.local_vectors, pooled.size
            decoded = PhotoVectors(decoded.global_vectors, local_vectors, decoded.members)
        counts = decoded.counts if pooled.counts is None else pooled.counts
        scores, bounds = self._scores(decoded, counts)
        tenth = np.sort(scores, axis=0)[-10]  # (L,)
        to_score = float((bounds >= tenth - 1e-6).sum(axis=0).mean())
        self._add(table, what, m, precision, size, scores, None if pooled.size else to_score)

    def _scores(self, vectors: PhotoVectors, counts: NDArray[Any]) -> tuple[Vector, Vector]:
        """Return the fused scores and their upper bounds, (N, L) each."""
        scores, bounds, labels = [], [], self.world.labels
        for start in range(0, len(vectors), SCORED_PHOTOS):
            at = slice(start, start + SCORED_PHOTOS)
            global_scores = vectors.global_vectors[at] @ labels.T  # (n, L)
            each = vectors.local_vectors[at] @ labels.T  # (n, m, L)
            local_scores = mean_of_best(each, counts[at], self.world.k)
            best = np.where(counts[at][..., None] > 0, each, -np.inf).max(axis=1)
            scores.append(global_scores + local_scores)
            bounds.append(global_scores + best)
        return np.concatenate(scores), np.concatenate(bounds)

    def _add(
        self,
        table: Table,
        what: str,
        m: int,
        precision: str,
        size: int,
        scores: Vector,
        to_score: float | None = None,
    ) -> None:
        order = np.argsort(-scores.T, axis=1, kind="stable")
        overlaps = (overlap_at(order, self._best, depth) for depth in (10, 100))
        mean_ap = mean_average_precision(scores, self.world.shown).standard
        table.row(what, m, precision, size, *overlaps, mean_ap, to_score)


def overlap_at(rankings: NDArray[np.intp], others: NDArray[np.intp], k: int) -> float:
    """Return the mean share of the first k of two rankings (Q, N) that both have in common."""
    pairs = zip(rankings[:, :k], others[:, :k], strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs]))


def main() -> None:
    """Read the options, encode, print the tables, and save them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="the folder with corel5k/")
    parser.add_argument("--model", help="a checkpoint folder, to rank Corel-5k with")
    parser.add_argument("--demo", type=Path, help="a folder for the scenes of the demo world")
    parser.add_argument("--photos", type=int, help="only so many, for a quick run")
    add_json_option(parser)
    given = parser.parse_args()
    if given.demo is not None:
        world = demo_world(given.demo, given.photos or SCENES)
    elif given.data is not None and given.model:
        world = corel_world(given.data, given.model, given.photos)
    else:
        parser.error("give --demo, or --data with --model")
    results, comparison = Results(given.json), Comparison(world)
    results.fact("photos", len(world.shown), ",")
    results.fact("labels", len(world.labels))
    results.fact("patches", world.encoded.patches.shape[1])
    results.fact("dimensions", world.encoded.patches.shape[2])
    results.fact("k", world.k)
    comparison.product(results.table("product", FIDELITY_COLUMNS))
    rejected = results.table("rejected", FIDELITY_COLUMNS)
    comparison.methods(rejected, REJECTED)
    comparison.vocabulary_scale(rejected)
    results.save()


if __name__ == "__main__":
    main()
