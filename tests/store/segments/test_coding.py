"""Codes of vectors: their error is bounded, and none depends on its neighbors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.store.segments.coding import bytes_per_vector, decode, encode, products
from tests import made

LOSS = {"fp16": 2**-11, "int8": 0.5 / 127, "int4": 0.5 / 7}


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
@given(seed=st.integers(0, 10_000), dim=st.integers(1, 33), scale=st.floats(1e-6, 1e6))
@settings(max_examples=30, deadline=None)
def test_a_coded_number_is_within_half_a_step(precision, seed: int, dim: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((3, 2, dim)) * scale).astype(np.float32)
    codes, steps = encode(vectors, precision)
    back = decode(codes, steps, precision, dim)
    largest = np.abs(vectors).max(axis=-1, keepdims=True)
    assert (np.abs(back - vectors) <= largest * LOSS[precision] * 1.001).all()


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_the_code_of_a_vector_does_not_depend_on_its_neighbors(precision) -> None:
    vectors = made.vectors(6).local_vectors
    together, _ = encode(vectors, precision)
    alone, _ = encode(vectors[2:3], precision)
    assert (together[2:3] == alone).all()


@pytest.mark.parametrize(("precision", "width"), [("fp16", 40), ("int8", 20), ("int4", 10)])
def test_bytes_per_vector(precision, width: int) -> None:
    codes, _ = encode(made.vectors(1).local_vectors, precision)
    assert bytes_per_vector(precision, made.DIM) == width
    assert codes.shape == (1, made.M, width)


def test_a_zero_vector_stays_zero() -> None:
    for precision in ("fp16", "int8", "int4"):
        codes, steps = encode(np.zeros((1, 1, 5), np.float32), precision)  # type: ignore[arg-type]
        assert not decode(codes, steps, precision, 5).any()  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
@pytest.mark.parametrize("n", [0, 3, 700])
def test_products_equal_those_of_decoded_vectors(precision, n: int) -> None:
    rng = np.random.default_rng(n)
    vectors = rng.standard_normal((n, 2, 33)).astype(np.float32)
    labels = rng.standard_normal((5, 33)).astype(np.float32)
    codes, steps = encode(vectors, precision)
    expected = decode(codes, steps, precision, 33) @ labels.T
    np.testing.assert_allclose(products(codes, steps, labels, precision), expected, atol=1e-4)
    out = np.empty((n, 2, 5), np.float32)
    assert products(codes, steps, labels, precision, out=out) is out
    np.testing.assert_allclose(out, expected, atol=1e-4)
