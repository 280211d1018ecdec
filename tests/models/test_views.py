"""Photos of one view and of several are encoded in one order, a bounded number at once."""

import numpy as np
import pytest
from numpy.typing import NDArray

from mkt_search.models.views import encode_views
from mkt_search.photos.crop import MAX_VIEWS
from mkt_search.types import Encoded


class Levels:
    """A student whose vectors are the level of the first pixel; notes the size of each batch."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        self.sizes.append(len(pixels))
        levels = pixels[:, 0, 0, :1].astype(np.float32)  # (B, 1)
        return Encoded(levels, levels[:, None].repeat(4, axis=1))


@pytest.mark.parametrize("views", [[1], [1, 1, 1], [8], [1, 3, 1], [8, 8, 1, 8], [8] * 20])
def test_every_view_is_encoded_in_order(views: list[int]) -> None:
    numbers = np.arange(sum(views), dtype=np.uint8)[:, None, None, None]
    pixels = np.broadcast_to(numbers, (sum(views), 2, 2, 3))
    photos = np.split(pixels, np.cumsum(views)[:-1])
    student = Levels()
    encoded = encode_views(student, photos)
    assert encoded.global_vectors[:, 0].tolist() == list(range(sum(views)))
    assert encoded.patches.shape == (sum(views), 4, 1)
    assert max(student.sizes) <= max(len(views), MAX_VIEWS)
    assert set(views) != {1} or len(student.sizes) == 1
