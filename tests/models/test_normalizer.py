"""Pixels are normalized per channel, in the memory format they have."""

import numpy as np
import torch

from mkt_search.models.normalizer import Normalizer
from mkt_search.types import ImageSpec

HEIGHT, WIDTH = 32, 64


def test_normalized_pixels_equal_the_formula_bit_for_bit() -> None:
    spec = ImageSpec(HEIGHT, WIDTH, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    photos = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), np.uint8)
    )
    mean, std = (255 * torch.tensor(part).view(1, 3, 1, 1) for part in (spec.mean, spec.std))
    normalized = Normalizer(spec, torch.device("cpu"))(photos)
    assert torch.equal(normalized, (photos.permute(0, 3, 1, 2) - mean) / std)
    assert normalized.is_contiguous(memory_format=torch.channels_last)
