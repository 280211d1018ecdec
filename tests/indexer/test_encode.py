"""A student that is built for its first batch, and batches that it cannot encode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.encode import LazyEncoder, encode_batch
from indexer.pooling.pool import pool
from mkt_search.errors import LibraryLocked, ModelError
from mkt_search.models.build import open_model
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.types import Encoded, ImageSpec
from tests.indexer.indexed import ENCODING, SPEC
from tests.tiny import SIDE, tiny_checkpoint

FILES = [Path("first.jpg"), Path("second.jpg")]


def pixels(count: int = 2) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (count, SIDE, SIDE, 3), np.uint8))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("student"))


def test_a_student_is_built_for_the_first_batch_and_kept(checkpoint: Path) -> None:
    lazy = LazyEncoder(open_model(checkpoint), device="cpu", dtype="float32")
    assert lazy.spec == SPEC and lazy.dtype == "float32"
    assert not lazy.is_built
    batch = np.stack(pixels())
    encoded = lazy.encode(batch)
    built = lazy.build()
    assert lazy.is_built and lazy.build() is built
    np.testing.assert_array_equal(encoded.global_vectors, built.encode(batch).global_vectors)


def test_the_automatic_number_format_is_that_of_the_built_student(checkpoint: Path) -> None:
    lazy = LazyEncoder(open_model(checkpoint), device="cpu")
    assert lazy.dtype == lazy.build().dtype in ("float32", "bfloat16")


def test_a_batch_is_encoded_and_pooled(encoder: PhotoEncoder) -> None:
    vectors = encode_batch(encoder, pixels(), ENCODING, files=FILES)
    expected = pool(encoder.encode(np.stack(pixels())), ENCODING)
    assert vectors is not None
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
        encode_batch(student, pixels(), ENCODING, files=FILES)


def test_errors_of_the_program_pass_as_they_are() -> None:
    with pytest.raises(LibraryLocked, match="by pid 7"):
        encode_batch(Failing(LibraryLocked("by pid 7")), pixels(), ENCODING, files=FILES)
