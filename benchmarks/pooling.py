"""What is lost by storing a few local vectors of a photo instead of all its patches.

    python benchmarks/pooling.py --data ../shared/data --model runs/corel5k/seed0/checkpoint
    python benchmarks/pooling.py --demo runs/demo-photos
    python benchmarks/pooling.py --data ../shared/data --unseen runs/corel5k/seed?/checkpoint

Every photo of Corel-5k (or 4,000 scenes of the demo world, rendered into the folder named) is
encoded once; every label with at least ten train photos (every label of that world) ranks all
photos by the exact score over all patches. The same rankings from stored vectors (coded and decoded
by the library's own code) are compared with them: the share of the 10 and of the 100
best in common, and the mean AP over all photos. `bound` is how many photos have a vector g + l_j
that scores no less than the 10th best photo, the mean over labels: an exact search must look at
those; 10 is perfect. Bytes are those of a segment, its header apart. Pooling is timed on one
thread. The methods are those of `pooling_methods`; `cover` and `topk` are the product's.

With `--unseen` only the mean AP over the labels that each checkpoint was not trained on is printed,
on the test photos, by every kind.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from corel import encode_all, every_patch, rank, read_corel
from numpy.typing import NDArray
from pooling_methods import METHODS, Pooled, mean_of_best, over_vocabulary

from mkt_search.demo.scenes.photos import LIBRARY_SEED, write_photos
from mkt_search.demo.scenes.world import LABELS
from mkt_search.evaluation.metrics import mean_average_precision
from mkt_search.models.build import Model, open_model
from mkt_search.scoring import scale
from mkt_search.store.segments.coding import decode, encode
from mkt_search.store.segments.members import Members
from mkt_search.types import Encoded, PhotoVectors, Vector

LEAST = 10
SCENES, SIDE = 4_000, 320
SIZES = (4, 8, 16, 24)
PRECISIONS = {
    "kset": ("int8",),
    "cover": ("fp16", "int8", "int4"),
    "centroids": ("int8",),
    "ward": ("fp16", "int8", "int4"),
    "topk": ("int8",),
}
HEAD = (
    "| stored | m | precision | bytes/photo | overlap@10 | overlap@100 | mAP | bound | "
    "pooling ms/photo |\n|---|--:|---|--:|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True)
class World:
    """Photos as they leave a student, label vectors, and which photo shows what (N, L)."""

    encoded: Encoded
    labels: Vector
    shown: NDArray[np.int8]
    grid: tuple[int, int]
    k: int


def corel_world(data: Path, model: Model) -> World:
    """Encode Corel-5k."""
    corel, table = read_corel(data), model.label_encoder()
    names = [name for name in corel.frequent(LEAST) if name in table.names]  # type: ignore[attr-defined]
    encoded = encode_all(model, [corel.folder / file for file in corel.files])
    shown = corel.shown(corel.files, names)
    return World(encoded, table.encode(names), shown, model.grid, model.top_k)


def demo_world(folder: Path) -> World:
    """Render and encode scenes that no built-in model was trained on."""
    model, names = open_model("demo"), list(LABELS)
    seeds = range(LIBRARY_SEED, LIBRARY_SEED + SCENES)
    told = write_photos(folder, seeds, side=SIDE)
    files = sorted(told)
    encoded = encode_all(model, [folder / file for file in files])
    shown = [[1 if name in told[file] else -1 for name in names] for file in files]
    labels = model.label_encoder().encode(names)
    return World(encoded, labels, np.array(shown, np.int8), model.grid, model.top_k)


def stored(vectors: PhotoVectors, precision: str) -> tuple[PhotoVectors, int]:
    """Return vectors as they come back from a segment, and the bytes of one photo there."""
    rows = np.concatenate([vectors.global_[:, None], vectors.local_vectors], axis=1)
    codes, steps = encode(rows, precision)  # type: ignore[arg-type]
    back = decode(codes, steps, precision, rows.shape[-1])  # type: ignore[arg-type]
    members = Members.pack(vectors.members).packed
    size = codes[0].nbytes + steps[0].nbytes + members[0].nbytes + 32
    return PhotoVectors(back[:, 0], back[:, 1:], vectors.members), size


class Table:
    """The exact ranking of one scale rule, and the rows of what is compared with it."""

    def __init__(self, world: World, rule: str) -> None:
        """Rank by every patch, and print the head and the first two rows."""
        self.world, self.rule = world, rule
        if rule == "cosine":
            self.scaled = scale(world.encoded)
        else:
            self.scaled = over_vocabulary(world.encoded, world.labels, world.k)
        exact = rank(world.labels, every_patch(self.scaled), world.k)
        self.best = np.argsort(-exact.fused.T, axis=1, kind="stable")
        print(f"\nscale rule: {rule}\n\n{HEAD}")
        patches, dim = self.scaled.patches.shape[1:]
        self._row("every patch", patches, "fp32", 4 * dim * (1 + patches), exact.fused)
        self._row("global only", 0, "fp32", 4 * dim, exact.global_)

    def method(self, name: str, m: int, precisions: Sequence[str], *, is_timed: bool) -> None:
        """Print the rows of a method, one for each precision."""
        start = time.perf_counter()
        pooled = METHODS[name](self.scaled, self.world.grid, m, self.world.k)
        ms = (time.perf_counter() - start) / len(pooled.vectors) * 1e3
        kept = m if pooled.size else pooled.vectors.local_vectors.shape[1]
        for precision in precisions:
            self._stored(name, kept, precision, pooled, f"{ms:.2f}" if is_timed else "")

    def _stored(self, what: str, m: int, precision: str, pooled: Pooled, ms: str) -> None:
        back, size = stored(pooled.vectors, precision)
        if pooled.size is not None:  # its parts were coded already; the global one is now
            back, size = PhotoVectors(back.global_, pooled.vectors.local_vectors, back.members), 0
        counts = back.counts if pooled.counts is None else pooled.counts
        found, bounds = self._scores(back, counts)
        tenth = np.sort(found, axis=0)[-10]
        bound = "" if pooled.size else f"{(bounds >= tenth - 1e-6).sum(axis=0).mean():.1f}"
        self._row(what, m, precision, pooled.size or size, found, bound, ms)

    def _scores(self, vectors: PhotoVectors, counts: Vector) -> tuple[Vector, Vector]:
        """Return the fused scores and their bounds, (N, L) each."""
        parts = []
        for start in range(0, len(vectors), 256):
            at = slice(start, start + 256)
            global_ = vectors.global_[at] @ self.world.labels.T
            each = vectors.local_vectors[at] @ self.world.labels.T  # (n, m, L)
            local = mean_of_best(each, counts[at], self.world.k)
            best = np.where(counts[at][..., None] > 0, each, -np.inf).max(axis=1)
            parts.append((global_ + local, global_ + best))
        return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])

    def _row(
        self,
        what: str,
        m: int,
        precision: str,
        size: int,
        found: Vector,
        bound: str = "",
        ms: str = "",
    ) -> None:
        order = np.argsort(-found.T, axis=1, kind="stable")
        figures = [overlap_at(order, self.best, k=depth) for depth in (10, 100)]
        figures.append(mean_average_precision(found, self.world.shown).standard)
        cells = [what, m, precision, f"{size:,}", *(f"{v:.3f}" for v in figures), bound, ms]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def overlap_at(rankings: NDArray[np.intp], others: NDArray[np.intp], *, k: int) -> float:
    """Return the mean share of ids that the first k of two rankings have in common.

    Args:
        rankings: (n, N) ids, best first.
        others: (n, N'), the same queries ranked by something else.
        k: depth; a ranking shorter than k counts with its length.
    """
    depth = max(min(k, rankings.shape[1]), min(k, others.shape[1]))
    pairs = zip(rankings[:, :k], others[:, :k], strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / depth for a, b in pairs]))


def fidelity(world: World, rules: list[str]) -> None:
    """Print one table for each scale rule."""
    n, patches, dim = world.encoded.patches.shape
    print(f"{n:,} photos, {len(world.labels)} labels, {patches} patches of {dim}, k = {world.k}")
    torch.set_num_threads(1)
    for rule in rules:
        table = Table(world, rule)
        for name, precisions in PRECISIONS.items():
            for m in SIZES:
                table.method(name, m, precisions, is_timed=True)
        for name in (name for name in METHODS if name not in PRECISIONS):
            for m in (8, 16):
                table.method(name, m, ("int8",), is_timed=False)


def unseen(data: Path, checkpoints: list[str]) -> None:
    """Print the mean AP over unseen labels on the test photos, by every kind, in int8."""
    corel, found = read_corel(data), dict[tuple[str, int], list[float]]()
    for checkpoint in checkpoints:
        model = open_model(checkpoint)
        told = json.loads((Path(checkpoint) / "meta.json").read_text())["trained"]["unseen"]
        shown, k = corel.shown(corel.test, told), model.top_k
        labels = model.label_encoder().encode(told)
        encoded = encode_all(model, [corel.folder / file for file in corel.test])
        scaled = scale(encoded)
        exact = rank(labels, every_patch(scaled), k).fused
        rows = {("every patch", len(encoded.patches[0])): exact}
        for kind in ("cover", "kset", "centroids", "ward"):
            for m in (16, 24):
                kept, _ = stored(METHODS[kind](scaled, model.grid, m, k).vectors, "int8")
                local = mean_of_best(kept.local_vectors @ labels.T, kept.counts, k)
                rows[kind, m] = kept.global_ @ labels.T + local
        for row, scores in rows.items():
            value = mean_average_precision(scores, shown).standard
            found.setdefault(row, []).append(value)
    print("| stored | m | unseen mAP | of each split |\n|---|--:|--:|---|")
    for (what, m), values in found.items():
        each = " ".join(f"{value:.3f}" for value in values)
        print(f"| {what} | {m} | {np.mean(values):.3f} | {each} |")


def main() -> None:
    """Read the options, encode, and print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="the folder with corel5k/")
    parser.add_argument("--model", help="a checkpoint folder, to rank Corel-5k with")
    parser.add_argument("--demo", type=Path, help="a folder for the scenes of the demo world")
    parser.add_argument("--unseen", nargs="+", help="checkpoint folders, one a label split")
    parser.add_argument("--scale", choices=["cosine", "vocabulary"], action="append")
    given = parser.parse_args()
    rules = given.scale or ["cosine", "vocabulary"]
    if given.demo is None and (given.data is None or not (given.model or given.unseen)):
        parser.error("give --demo, or --data with --model or --unseen")
    if given.model:
        fidelity(corel_world(given.data, open_model(given.model)), rules)
    if given.unseen:
        unseen(given.data, given.unseen)
    if given.demo:
        fidelity(demo_world(given.demo), rules)


if __name__ == "__main__":
    main()
