"""Codes of vectors: numbers in fewer bits, and inner products computed from them.

A number is coded in `precision`: fp16 (2 bytes, the step is the vector's largest magnitude), int8
(-127..127) or int4 (-7..7, two in a byte). Each vector has its own step, so its code does not
depend on the vectors beside it.
"""

import numpy as np

from mkt_search.store.segments.files import Bytes
from mkt_search.types import Precision, Vector

LEVELS = {"fp16": 1, "int8": 127, "int4": 7}
"""What the largest magnitude of a vector is coded as, in steps."""

VECTORS_PER_PRODUCT = 512  # decoded together: their numbers stay in the processor's cache


def bytes_per_vector(precision: Precision, dim: int) -> int:
    """Return W, the bytes that code a vector of D numbers."""
    return {"fp16": 2 * dim, "int8": dim, "int4": (dim + 1) // 2}[precision]


def encode(vectors: Vector, precision: Precision) -> tuple[Bytes, Vector]:
    """Code vectors (..., D) as (..., W) bytes and (...) steps."""
    largest = np.abs(vectors).max(axis=-1)  # (...)
    steps = (np.where(largest > 0, largest, 1) / LEVELS[precision]).astype(np.float32)
    scaled = vectors / steps[..., None]  # (..., D)
    if precision == "fp16":
        return scaled.astype("<f2").view(np.uint8), steps
    whole = np.rint(scaled).astype(np.int8)
    if precision == "int8":
        return whole.view(np.uint8), steps
    if whole.shape[-1] % 2:
        whole = np.concatenate([whole, np.zeros_like(whole[..., :1])], axis=-1)
    nibbles = (whole + 8).astype(np.uint8)  # (..., 2 W)
    return nibbles[..., ::2] | (nibbles[..., 1::2] << 4), steps


def decode(codes: Bytes, steps: Vector, precision: Precision, dim: int) -> Vector:
    """Undo `encode`: (..., W) bytes and (...) steps -> (..., D) float32."""
    vectors: Vector = levels(codes, precision, dim) * steps[..., None]
    return vectors


def levels(codes: Bytes, precision: Precision, dim: int) -> Vector:
    """Return codes (..., W) as numbers of steps: (..., D) float32."""
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
    """Return the inner products of coded vectors with labels: (..., L).

    Args:
        codes: (..., W).
        steps: (...).
        labels: (L, D).
        precision: of the codes.
        out: where to write them, a contiguous array; a new one if None.
    """
    dim, flat = labels.shape[1], codes.reshape(-1, codes.shape[-1])  # (n, W)
    whole = np.empty((*steps.shape, len(labels)), np.float32) if out is None else out
    found = whole.reshape(len(flat), len(labels))  # (n, L), a view
    for first in range(0, len(flat), VECTORS_PER_PRODUCT):
        part = slice(first, first + VECTORS_PER_PRODUCT)
        np.matmul(levels(flat[part], precision, dim), labels.T, out=found[part])
    with np.errstate(over="ignore", invalid="ignore"):  # of a damaged step, which its check reports
        found *= steps.reshape(-1, 1)
    return whole
