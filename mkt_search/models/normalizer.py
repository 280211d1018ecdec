"""Normalize pixels for a student: subtract the mean and divide by the deviation per channel."""

import torch
from torch import Tensor

from mkt_search.types import ImageSpec


class Normalizer:
    """Normalizes pixels on a device.

    Mean and deviation are repeated for a whole row of pixels: torch is fast on long contiguous
    runs, and the three channels of one pixel are a short run.
    """

    def __init__(self, spec: ImageSpec, device: torch.device) -> None:
        self._device = device
        self._mean, self._std = (
            (255 * torch.tensor(channels, device=device)).repeat(spec.width)
            for channels in (spec.mean, spec.std)
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalize (B, H, W, 3) uint8 -> (B, 3, H, W) float32, still channels-last in memory."""
        count, height, width, channels = pixels.shape
        rows = pixels.to(self._device, non_blocking=True).reshape(count, height, width * channels)
        images = rows.to(torch.float32).sub_(self._mean).div_(self._std)
        return images.view(count, height, width, channels).permute(0, 3, 1, 2)
