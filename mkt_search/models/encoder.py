"""Photos in, vectors out: a student on a device, in the number format that is fastest there."""

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.models.normaliser import Normaliser
from mkt_search.models.student import StudentVectors
from mkt_search.types import Encoded, ImageSpec

Dtype = Literal["auto", "bfloat16", "float32"]
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class TwoStream(Protocol):
    """What `Student` and `ClipStudent` have in common."""

    dim: int
    grid: tuple[int, int]

    @property
    def is_convolutional(self) -> bool:
        """True when the backbone is fastest in channels-last memory."""

    def __call__(self, images: Tensor) -> StudentVectors:
        """Encode images (B, 3, H, W), already normalised."""


class PhotoEncoder:
    """A student ready to encode photos; it takes the student over, moves and casts it.

    Args:
        student: `Student` or `ClipStudent`.
        spec: what pixels the student wants, and how they are normalised.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU where there is one.
        dtype: "auto" is bfloat16 on a GPU, and for a transformer on a processor that computes in
            it; float32 otherwise.
    """

    def __init__(
        self, student: TwoStream, spec: ImageSpec, *, device: str = "cpu", dtype: Dtype = "auto"
    ) -> None:
        if not isinstance(student, nn.Module):
            raise TypeError("the student must be a torch module")
        self.spec = spec
        self.dim = student.dim
        self.grid = student.grid
        self._device = choose_device(device)
        self.device = str(self._device)
        self.dtype = choose_dtype(dtype, self._device, is_convolutional=student.is_convolutional)
        self._student = _cast(student.to(self._device).eval(), DTYPES[self.dtype])
        if student.is_convolutional:
            self._student.to(memory_format=torch.channels_last)
        self._normaliser = Normaliser(spec, self._device)

    @torch.inference_mode()
    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        """Encode pixels (B, H, W, 3) uint8 RGB, as `images.to_pixels` gives them.

        Returns float32 vectors, unscaled. The same batch gives the same bits every time on one
        machine; in another batch, or another place of it, a photo's vectors differ by rounding
        (1e-6 of their length in float32, 1e-2 in bfloat16), since the matrix products of another
        size are summed in another order.
        """
        expected = (self.spec.height, self.spec.width, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected:
            raise ValueError(f"expected uint8 (B, {expected}), got {pixels.dtype} {pixels.shape}")
        vectors = self._student(self._normalise(pixels))
        return Encoded(_to_numpy(vectors.global_), _to_numpy(vectors.patches))

    def _normalise(self, pixels: NDArray[np.uint8]) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) on the device, in the student's number format."""
        images = self._normaliser(torch.from_numpy(np.ascontiguousarray(pixels)))
        return images.to(DTYPES[self.dtype])


def choose_device(device: str) -> torch.device:
    """Return the torch device that was asked for. Raises ModelError when this machine lacks it."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ModelError(f'unknown device "{device}"; take auto, cpu, cuda or cuda:N') from None
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f'unknown device "{device}"; take auto, cpu, cuda or cuda:N')
    is_there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.mps.device_count()}
    if (chosen.index or 0) >= is_there[chosen.type]:
        raise ModelError(f'there is no device "{device}" on this machine; take auto or cpu')
    return chosen


def choose_dtype(dtype: Dtype, device: torch.device, *, is_convolutional: bool) -> str:
    """Return "bfloat16" or "float32": what was asked for or, for "auto", what is faster."""
    if dtype == "auto":
        if device.type == "cuda":
            return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
        is_fast = device.type == "cpu" and computes_in_bfloat16() and not is_convolutional
        return "bfloat16" if is_fast else "float32"
    if dtype not in DTYPES:
        raise ModelError(f'unknown dtype "{dtype}"; take auto, {" or ".join(DTYPES)}')
    return dtype


def computes_in_bfloat16() -> bool:
    """True when this processor multiplies bfloat16 natively; emulated it is slow."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _cast(student: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Cast all but batch norm, whose running statistics need the digits."""
    norms = [m for m in student.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    kept = {id(t) for norm in norms for t in [*norm.parameters(), *norm.buffers()]}
    for tensor in [*student.parameters(), *student.buffers()]:
        if tensor.is_floating_point() and id(tensor) not in kept:
            tensor.data = tensor.data.to(dtype)
    return student


def _to_numpy(vectors: Tensor) -> NDArray[np.float32]:
    return vectors.float().cpu().contiguous().numpy()
