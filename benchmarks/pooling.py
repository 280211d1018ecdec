"""What is lost by storing a few local vectors of a photo instead of all its patches.

    python benchmarks/pooling.py --data ../shared/data --model runs/corel5k/seed0/checkpoint

Every photo of Corel-5k is encoded once; every label with at least ten train photos ranks all photos
by the exact score over all patches. The same rankings from stored vectors (pooled, coded and
decoded by the library's own code) are compared with them: the share of the 10 and of the 100 best
in common, and the mean AP over all photos. Bytes are those of a segment, its header apart.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from corel import encode_all, every_patch, rank, read_corel

from indexer.pool import pool
from mkt_search.evaluation import mean_average_precision, overlap_at
from mkt_search.models.build import open_model
from mkt_search.scoring import scale
from mkt_search.store.segments import decode, encode
from mkt_search.types import Encoding, PhotoVectors

LEAST = 10
PRECISIONS = {
    "kset": ("fp16", "int8", "int4"),
    "centroids": ("fp16", "int8", "int4"),
    "topk": ("int8",),
}
HEAD = (
    "| stored | m | precision | bytes/photo | overlap@10 | overlap@100 | mAP | pooling ms/photo |"
)


def stored(vectors: PhotoVectors, precision: str) -> tuple[PhotoVectors, int]:
    """Return vectors as they come back from a segment, and the bytes of one photo there."""
    rows = np.concatenate([vectors.global_[:, None], vectors.locals_], axis=1)
    codes, steps = encode(rows, precision)  # type: ignore[arg-type]
    back = decode(codes, steps, precision, rows.shape[-1])  # type: ignore[arg-type]
    members = np.packbits(vectors.members, axis=-1)
    size = codes[0].nbytes + steps[0].nbytes + members[0].nbytes + 32
    return PhotoVectors(back[:, 0], back[:, 1:], vectors.members), size


def main() -> None:
    """Read the options, encode, and print one table for each scale rule."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with corel5k/")
    parser.add_argument("--model", required=True, help="a checkpoint folder")
    parser.add_argument("--scale", choices=["cosine", "vocabulary"], action="append")
    given = parser.parse_args()
    corel, model = read_corel(given.data), open_model(given.model)
    table, k = model.label_encoder(), model.top_k
    names = [name for name in corel.frequent(LEAST) if name in table.names]  # type: ignore[attr-defined]
    labels, shown = table.encode(names), corel.shown(corel.files, names)
    encoded = encode_all(model, [corel.folder / file for file in corel.files])
    n, patches, dim = encoded.patches.shape
    print(f"{n:,} photos, {len(names)} labels, {patches} patches of {dim} numbers, k = {k}")
    for rule in given.scale or ["cosine", "vocabulary"]:
        scaled = scale(encoded, rule=rule, k=k, vocabulary=labels)
        exact = rank(labels, every_patch(scaled), k)
        best = np.argsort(-exact.fused.T, axis=1, kind="stable")
        print(f"\nscale rule: {rule}\n\n{HEAD}\n|---|--:|---|--:|--:|--:|--:|--:|")

        def row(what: str, m: int, precision: str, size: int, found: np.ndarray, ms: str) -> None:
            order = np.argsort(-found.T, axis=1, kind="stable")
            figures = [overlap_at(order, best, k=depth) for depth in (10, 100)]  # noqa: B023
            figures.append(mean_average_precision(found, shown).standard)
            cells = [what, m, precision, f"{size:,}", *(f"{value:.3f}" for value in figures), ms]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)

        row("every patch", patches, "fp32", 4 * dim * (1 + patches), exact.fused, "")
        row("global only", 0, "fp32", 4 * dim, exact.global_, "")
        for kind, precisions in PRECISIONS.items():
            for m in (4, 8, 16):
                settings = Encoding("-", dim, model.grid, kind, m, k, "fp16", rule)  # type: ignore[arg-type]
                start = time.perf_counter()
                vectors = pool(encoded, settings, labels)
                ms = f"{(time.perf_counter() - start) / n * 1e3:.2f}"
                for precision in precisions:
                    back, size = stored(vectors, precision)
                    row(kind, m, precision, size, rank(labels, back, k).fused, ms)


if __name__ == "__main__":
    main()
