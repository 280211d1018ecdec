"""Codes of vectors: their numbers in fewer bits, and products with labels straight from them.

A number is coded in `precision`: fp16 (2 bytes, step = the vector's largest magnitude), int8
(-127..127) or int4 (-7..7, two to a byte). Each vector has its own step, so its code does not
depend on the vectors beside it.
"""

import numpy as np

from mkt_search.store.segments.files import Bytes
from mkt_search.types import Precision, Vector

LEVELS = {"fp16": 1, "int8": 127, "int4": 7}
DECODED = 512  # vectors decoded together for a product: their numbers stay in the cache


def bytes_per_vector(precision: Precision, dim: int) -> int:
    """Return W, the bytes that code a vector of D numbers."""
    return {"fp16": 2 * dim, "int8": dim, "int4": (dim + 1) // 2}[precision]


def encode(vectors: Vector, precision: Precision) -> tuple[Bytes, Vector]:
    """Code vectors (..., D) as (..., W) bytes and (...) steps."""
    largest = np.abs(vectors).max(axis=-1)
    steps = (np.where(largest > 0, largest, 1) / LEVELS[precision]).astype(np.float32)
    scaled = vectors / steps[..., None]
    if precision == "fp16":
        return scaled.astype("<f2").view(np.uint8), steps
    whole = np.rint(scaled).astype(np.int8)
    if precision == "int8":
        return whole.view(np.uint8), steps
    if whole.shape[-1] % 2:
        whole = np.concatenate([whole, np.zeros_like(whole[..., :1])], axis=-1)
    nibbles = (whole + 8).astype(np.uint8)
    return nibbles[..., ::2] | (nibbles[..., 1::2] << 4), steps


def decode(codes: Bytes, steps: Vector, precision: Precision, dim: int) -> Vector:
    """Undo `encode`: (..., W) bytes and (...) steps -> (..., D) float32."""
    vectors: Vector = levels(codes, precision, dim) * steps[..., None]
    return vectors


def levels(codes: Bytes, precision: Precision, dim: int) -> Vector:
    """Return what bytes (..., W) stand for in steps: (..., D) float32."""
    if precision == "fp16":
        return codes.view("<f2").astype(np.float32)
    if precision == "int8":
        return codes.view(np.int8).astype(np.float32)
    whole = np.empty((*codes.shape[:-1], 2 * codes.shape[-1]), np.float32)
    whole[..., ::2] = codes & 15
    whole[..., 1::2] = codes >> 4
    return whole[..., :dim] - 8


def products(
    codes: Bytes,
    steps: Vector,
    labels: Vector,
    precision: Precision,
    *,
    out: Vector | None = None,
) -> Vector:
    """Return inner products with labels (L, D): (..., W) bytes and (...) steps -> (..., L).

    They are written to `out`, if that is given: an array without gaps.
    """
    dim, flat = labels.shape[1], codes.reshape(-1, codes.shape[-1])
    whole = np.empty((*steps.shape, len(labels)), np.float32) if out is None else out
    found = whole.reshape(len(flat), len(labels))
    for first in range(0, len(flat), DECODED):
        part = slice(first, first + DECODED)
        np.matmul(levels(flat[part], precision, dim), labels.T, out=found[part])
    found *= steps.reshape(-1, 1)
    return whole
