"""Pixels as a student takes them: channels first, less the mean and over the deviation of each."""

import torch
from torch import Tensor

from mkt_search.types import ImageSpec


class Normaliser:
    """Normalises pixels on a device.

    Mean and deviation are kept for a whole line of pixels: torch computes fast on long runs of what
    lies together, and the three channels of one pixel are a short run.
    """

    def __init__(self, spec: ImageSpec, device: torch.device) -> None:
        self._device = device
        self._mean, self._std = (
            (255 * torch.tensor(channels, device=device)).repeat(spec.width)
            for channels in (spec.mean, spec.std)
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32; channels last in memory, as they came."""
        count, height, width, channels = pixels.shape
        lines = pixels.to(self._device, non_blocking=True).reshape(count, height, width * channels)
        images = lines.to(torch.float32).sub_(self._mean).div_(self._std)
        return images.view(count, height, width, channels).permute(0, 3, 1, 2)
