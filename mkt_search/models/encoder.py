"""Encode photos: a student on a device, in the fastest number format there."""

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.models.normalizer import Normalizer
from mkt_search.models.student import StudentVectors
from mkt_search.types import EQUAL_SHARES, Encoded, ImageSpec

Dtype = Literal["auto", "bfloat16", "float32"]
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class TwoStream(Protocol):
    """The common interface of `Student` and `ClipStudent`."""

    dim: int
    grid: tuple[int, int]

    @property
    def is_convolutional(self) -> bool:
        """True if the backbone is fastest in channels-last memory."""

    def __call__(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W), already normalized."""


class PhotoEncoder:
    """A student ready to encode photos. It moves and casts the student in place.

    `student` is that, `normalize` what makes its input from pixels; `encode` does both.

    Args:
        student: `Student` or `ClipStudent`.
        spec: the student's input pixels and their normalization.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU if there is one.
        dtype: "auto" is bfloat16 on a GPU, and for a transformer on a CPU with native bfloat16;
            float32 otherwise.
        local_share: weight of the local stream in the student's score.

    Raises:
        ModelError: this machine does not have the device, or the dtype is unknown.
    """

    def __init__(
        self,
        student: TwoStream,
        spec: ImageSpec,
        *,
        device: str = "cpu",
        dtype: Dtype = "auto",
        local_share: float = EQUAL_SHARES,
    ) -> None:
        if not isinstance(student, nn.Module):
            raise TypeError("the student must be a torch module")
        self.spec = spec
        self.local_share = local_share
        self.dim = student.dim
        self.grid = student.grid
        self._device = choose_device(device)
        self.device = str(self._device)
        self.dtype = choose_dtype(dtype, self._device, is_convolutional=student.is_convolutional)
        self.student = _cast(student.to(self._device).eval(), DTYPES[self.dtype])
        if student.is_convolutional:
            self.student.to(memory_format=torch.channels_last)
        self._normalizer = Normalizer(spec, self._device)

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        """Encode pixels (B, H, W, 3) uint8 RGB, as `photos.decode.to_pixels` returns them.

        Returns unscaled float32 vectors. On one machine the same batch gives the same bits every
        time. In a batch of another size or order, a photo's vectors differ by rounding (1e-6 of
        their length in float32, 1e-2 in bfloat16), because the sums of the matrix products run in
        another order.
        """
        expected = (self.spec.height, self.spec.width, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected:
            raise ValueError(f"expected uint8 (B, {expected}), got {pixels.dtype} {pixels.shape}")
        vectors = self.student(self.normalize(pixels))
        return Encoded(
            _to_numpy(vectors.global_vectors), _to_numpy(vectors.patches), self.local_share
        )

    def normalize(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Normalize (B, H, W, 3) uint8 -> (B, 3, H, W) on the student's device, in its dtype."""
        images = self._normalizer(torch.from_numpy(np.ascontiguousarray(pixels)))
        return images.to(DTYPES[self.dtype])


def choose_device(device: str) -> torch.device:
    """Return the torch device of a name. Raises ModelError if this machine does not have it."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ModelError(f'unknown device "{device}"; take auto, cpu, cuda or cuda:N') from None
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f'unknown device "{device}"; take auto, cpu, cuda or cuda:N')
    devices = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.mps.device_count()}
    if (chosen.index or 0) >= devices[chosen.type]:
        raise ModelError(f'there is no device "{device}" on this machine; take auto or cpu')
    return chosen


def has_native_bfloat16() -> bool:
    """Return True if this CPU multiplies bfloat16 natively; emulated it is slow."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def choose_dtype(
    dtype: Dtype,
    device: torch.device,
    *,
    is_convolutional: bool,
    is_bfloat16_native: Callable[[], bool] = has_native_bfloat16,
) -> str:
    """Return "bfloat16" or "float32": as named or, for "auto", the faster one on the device.

    Args:
        dtype: "auto", "bfloat16" or "float32".
        device: where the student runs.
        is_convolutional: True for a student that is no transformer; bfloat16 does not speed it up.
        is_bfloat16_native: returns True if the CPU computes in bfloat16.

    Raises:
        ModelError: unknown dtype.
    """
    if dtype == "auto":
        if device.type == "cuda":
            return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
        is_fast = device.type == "cpu" and is_bfloat16_native() and not is_convolutional
        return "bfloat16" if is_fast else "float32"
    if dtype not in DTYPES:
        raise ModelError(f'unknown dtype "{dtype}"; take auto, {" or ".join(DTYPES)}')
    return dtype


def _cast(student: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast all but batch norm, whose running statistics need full precision."""
    norms = [m for m in student.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = {id(t) for norm in norms for t in [*norm.parameters(), *norm.buffers()]}
    for tensor in [*student.parameters(), *student.buffers()]:
        if tensor.is_floating_point() and id(tensor) not in kept:
            tensor.data = tensor.data.to(dtype)
    return student


def _to_numpy(vectors: Tensor) -> NDArray[np.float32]:
    return vectors.float().cpu().contiguous().numpy()
