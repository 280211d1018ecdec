"""A student that is built for its first batch, and batches that it cannot encode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.encode import LazyEncoder, encode_batch
from mkt_search.errors import LibraryLocked, ModelError
from mkt_search.models.build import open_model
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.pooling.pool import pool
from mkt_search.types import Encoded, ImageSpec
from tests.indexer.indexed import ENCODING, SPEC
from tests.tiny import SIDE, tiny_checkpoint

FILES = [Path("first.jpg"), Path("second.jpg")]


def photos(*views: int) -> list[NDArray[np.uint8]]:
    """Photos of so many views each, of random pixels."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (number, SIDE, SIDE, 3), np.uint8) for number in views]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("student"))


def test_a_student_is_built_for_the_first_batch_and_kept(checkpoint: Path) -> None:
    lazy = LazyEncoder(open_model(checkpoint), device="cpu", dtype="float32")
    assert lazy.spec == SPEC and lazy.dtype == "float32"
    assert not lazy.is_built
    batch = np.concatenate(photos(1, 1))
    encoded = lazy.encode(batch)
    built = lazy.build()
    assert lazy.is_built and lazy.build() is built
    np.testing.assert_array_equal(encoded.global_vectors, built.encode(batch).global_vectors)


def test_the_automatic_number_format_is_that_of_the_built_student(checkpoint: Path) -> None:
    lazy = LazyEncoder(open_model(checkpoint), device="cpu")
    assert lazy.dtype == lazy.build().dtype in ("float32", "bfloat16")


def test_a_batch_is_encoded_and_pooled(encoder: PhotoEncoder) -> None:
    vectors = encode_batch(encoder, photos(1, 1), ENCODING, files=FILES)
    expected = pool(encoder.encode(np.concatenate(photos(1, 1))), ENCODING)
    assert vectors is not None
    np.testing.assert_array_equal(vectors.local_vectors, expected.local_vectors)


def test_a_panorama_in_a_batch_is_one_photo(encoder: PhotoEncoder) -> None:
    batch = photos(1, 5, 1)
    vectors = encode_batch(encoder, batch, ENCODING, files=FILES)
    expected = pool(encoder.encode(np.concatenate(batch)), ENCODING, views=[1, 5, 1])
    assert vectors is not None and len(vectors) == 3
    np.testing.assert_array_equal(vectors.local_vectors, expected.local_vectors)


def test_no_photo_needs_no_student() -> None:
    assert encode_batch(Failing(AssertionError()), [], ENCODING, files=[]) is None


class Failing:
    """A student that raises."""

    spec: ImageSpec = SPEC

    def __init__(self, error: Exception) -> None:
        self._error = error

    def encode(self, pixels: NDArray[Any]) -> Encoded:
        raise self._error


def test_a_failure_names_the_photos_and_the_way_out() -> None:
    student = Failing(RuntimeError("out of memory"))
    with pytest.raises(ModelError, match=r"2 photos, .*first\.jpg: out of memory.*--batch-size"):
        encode_batch(student, photos(1, 1), ENCODING, files=FILES)


def test_errors_of_the_program_pass_as_they_are() -> None:
    with pytest.raises(LibraryLocked, match="by pid 7"):
        encode_batch(Failing(LibraryLocked("by pid 7")), photos(1, 1), ENCODING, files=FILES)
