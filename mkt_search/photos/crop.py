"""Which part of a photo a student sees; imports no image library."""

from mkt_search.types import Box, ImageSpec


def visible_box(width: int, height: int, spec: ImageSpec) -> Box:
    """Return the part of an upright photo that a student sees: all of it, or the center crop.

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
