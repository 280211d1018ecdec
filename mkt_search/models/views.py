"""Encode photos of one view or several."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mkt_search.photos.crop import MAX_VIEWS
from mkt_search.types import Encoded

Views = NDArray[np.uint8]
"""What a student sees of one photo: (V, H, W, 3) RGB, see `photos.crop.views`."""


class ViewEncoder(Protocol):
    """What is needed of a student."""

    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        """Encode pixels (B, H, W, 3) uint8 RGB."""


def encode_views(encoder: ViewEncoder, photos: Sequence[Views]) -> Encoded:
    """Encode every view of some photos, in order: a row of `Encoded` for each of them.

    At most as many views at once as there are photos, or as one photo has: panoramas take time, but
    hardly more memory.
    """
    views = np.concatenate(photos)
    step = max(len(photos), MAX_VIEWS)
    parts = [encoder.encode(views[at : at + step]) for at in range(0, len(views), step)]
    return parts[0] if len(parts) == 1 else Encoded.join(parts)
