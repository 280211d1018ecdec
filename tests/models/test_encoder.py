"""The photo encoder: pixels to vectors, on a device and in a number format."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mkt_search.errors import ModelError
from mkt_search.models import encoder as encoders
from mkt_search.models.build import create_student
from mkt_search.models.encoder import PhotoEncoder, choose_device, choose_dtype
from mkt_search.types import ImageSpec
from tests.tiny import SIDE, colour_student, tiny_meta, tiny_student

SPEC = tiny_meta().image


def pixels(count: int = 3, *, height: int = SIDE, width: int = SIDE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_pixels_are_normalized_by_the_spec() -> None:
    spec = ImageSpec(SIDE, SIDE, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    photos = pixels()
    images = torch.from_numpy(photos).permute(0, 3, 1, 2) / 255
    images = (images - torch.tensor(spec.mean).view(3, 1, 1)) / torch.tensor(spec.std).view(3, 1, 1)
    with torch.inference_mode():
        expected = tiny_student()(images)
    encoded = PhotoEncoder(tiny_student(), spec, dtype="float32").encode(photos)
    np.testing.assert_allclose(encoded.global_vectors, expected.global_vectors.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoded.patches, expected.patches.numpy(), atol=1e-5)


def test_vectors_are_plain_float32_arrays() -> None:
    encoder = PhotoEncoder(tiny_student(), SPEC)
    encoded = encoder.encode(pixels(5))
    assert encoded.global_vectors.shape == (5, 16)
    assert encoded.patches.shape == (5, 16, 16)
    for vectors in (encoded.global_vectors, encoded.patches):
        assert vectors.dtype == np.float32
        assert vectors.flags.c_contiguous
    assert (encoder.dim, encoder.grid, encoder.device) == (16, (4, 4), "cpu")
    assert encoder.encode(pixels(0)).patches.shape == (0, 16, 16)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_batch_gives_the_same_bits(dtype: encoders.Dtype) -> None:
    encoder = PhotoEncoder(tiny_student(), SPEC, dtype=dtype)
    first, second = encoder.encode(pixels(7)), encoder.encode(pixels(7))
    np.testing.assert_array_equal(first.global_vectors, second.global_vectors)
    np.testing.assert_array_equal(first.patches, second.patches)
    alone = encoder.encode(pixels(7)[3:4])
    tolerance = 1e-5 if dtype == "float32" else 3e-2
    np.testing.assert_allclose(alone.patches, first.patches[3:4], atol=tolerance)


def test_a_feature_map_gives_the_same_vectors_in_either_memory_format() -> None:
    torch.manual_seed(0)
    student = create_student("test_efficientnet", image_size=(64, 96), dim=8).eval()
    spec = ImageSpec(64, 96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    photos = pixels(2, height=64, width=96)
    with torch.inference_mode():
        expected = student(torch.from_numpy(photos).permute(0, 3, 1, 2) / 127.5 - 1)
    encoded = PhotoEncoder(student, spec, dtype="float32").encode(photos)
    np.testing.assert_allclose(encoded.patches, expected.patches.numpy(), atol=1e-5)
    half = PhotoEncoder(student, spec, dtype="bfloat16").encode(photos)
    assert np.abs(half.patches - encoded.patches).max() < 0.05 * np.abs(encoded.patches).max()


def test_shared_heads_survive_the_cast() -> None:
    student = colour_student()
    spec = ImageSpec(SIDE, SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    encoded = PhotoEncoder(student, spec, dtype="bfloat16").encode(pixels())
    assert student.global_head is student.local_head
    np.testing.assert_allclose(encoded.patches.mean(axis=1), encoded.global_vectors, atol=1e-2)


def test_pixels_of_another_size_or_type_raise_a_value_error() -> None:
    encoder = PhotoEncoder(tiny_student(), SPEC)
    with pytest.raises(ValueError, match="got uint8"):
        encoder.encode(pixels(width=40))
    with pytest.raises(ValueError, match="got float32"):
        encoder.encode(pixels().astype(np.float32))


def test_auto_takes_bfloat16_only_where_it_is_faster() -> None:
    cpu = torch.device("cpu")
    for is_native in (True, False):
        native = {"is_bfloat16_native": lambda is_native=is_native: is_native}
        vit = choose_dtype("auto", cpu, is_convolutional=False, **native)
        assert vit == ("bfloat16" if is_native else "float32")
        assert choose_dtype("auto", cpu, is_convolutional=True, **native) == "float32"
        assert choose_dtype("bfloat16", cpu, is_convolutional=True) == "bfloat16"


def test_unknown_devices_and_formats_are_refused_with_a_reason() -> None:
    with pytest.raises(ModelError, match='unknown device "tpuu"; take auto, cpu'):
        choose_device("tpuu")
    with pytest.raises(ModelError, match='no device "cuda:99" on this machine'):
        choose_device("cuda:99")
    with pytest.raises(ModelError, match='no device "mps:99" on this machine'):
        choose_device("mps:99")
    with pytest.raises(ModelError, match='unknown device "meta"'):
        choose_device("meta")
    with pytest.raises(ModelError, match='unknown dtype "float8"; take auto, bfloat16 or float32'):
        choose_dtype("float8", torch.device("cpu"), is_convolutional=False)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_a_gpu_gives_nearly_the_same_vectors() -> None:
    on_cpu = PhotoEncoder(tiny_student(), SPEC, dtype="float32").encode(pixels())
    on_gpu = PhotoEncoder(tiny_student(), SPEC, device="cuda").encode(pixels())
    np.testing.assert_allclose(on_gpu.patches, on_cpu.patches, atol=3e-2)
