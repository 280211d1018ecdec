"""Which parts of a photo a student sees; imports no image library.

A student sees most photos in one view: squashed, or the center crop. Squashed, a panorama loses its
details, and cropped most of itself, so it is seen in several views of the student's shape.
"""

import math

from mkt_search.types import Box, ImageSpec

PANORAMA_ASPECT = 2.0  # a photo whose sides differ by more is a panorama
MAX_VIEWS = 8
MIN_OVERLAP = 0.25  # of neighboring views: what one cuts off, the next shows whole

PANORAMA_DECODER = 2
"""The first `Encoding.decoder` that sees a panorama in several views."""


def views(width: int, height: int, spec: ImageSpec) -> tuple[Box, ...]:
    """Return the parts of an upright photo that a student sees, each resized to its input.

    One for most photos (`visible_box`). Those of a panorama cover it from left to right, or from
    top to bottom. They have the shape of the student's input, or are longer if it would take more
    than `MAX_VIEWS` of them.

    Args:
        width: of the upright photo, in pixels.
        height: of the upright photo, in pixels.
        spec: what the student sees.
    """
    length = width * spec.height / (height * spec.width)  # in views, along the width
    if width < height:
        length = 1 / length
    if max(width, height) <= PANORAMA_ASPECT * min(width, height) or length <= 1:
        return (visible_box(width, height, spec),)
    step = 1 - MIN_OVERLAP  # of a view
    count = min(MAX_VIEWS, 1 + math.ceil((length - 1) / step))
    share = max(1 / length, 1 / (1 + (count - 1) * step))  # of the longer side, that a view shows
    starts = [(1 - share) * number / (count - 1) for number in range(count)]
    if width > height:
        return tuple(Box(start, 0.0, min(start + share, 1.0), 1.0) for start in starts)
    return tuple(Box(0.0, start, 1.0, min(start + share, 1.0)) for start in starts)


def visible_box(width: int, height: int, spec: ImageSpec) -> Box:
    """Return the part of an upright photo that one view shows: all of it, or the center crop.

    Args:
        width: of the upright photo, in pixels.
        height: of the upright photo, in pixels.
        spec: what the student sees.
    """
    if spec.resize == "squash":
        return Box(0.0, 0.0, 1.0, 1.0)
    if spec.shorter_side:
        scaled, (left, top) = center_crop(width, height, spec)
        return Box(
            *(left / scaled[0], top / scaled[1]),
            *((left + spec.width) / scaled[0], (top + spec.height) / scaled[1]),
        )
    scale = min(width / spec.width, height / spec.height)
    across = min(scale * spec.width / width, 1.0)  # rounding may give slightly more than 1
    down = min(scale * spec.height / height, 1.0)
    return Box((1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2)


def center_crop(
    width: int, height: int, spec: ImageSpec
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the (width, height) of a photo scaled to `shorter_side` and the crop's (left, top).

    Rounds as torchvision does: the longer side down, the crop's corner half to even.
    """
    side, shorter = spec.shorter_side or 0, min(width, height)
    scaled = int(side * width / shorter), int(side * height / shorter)
    return scaled, (round((scaled[0] - spec.width) / 2), round((scaled[1] - spec.height) / 2))
