"""One PNG of several searches: a row of photos for each, with the boxes of the hits."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from mkt_search.photos import decode
from mkt_search.types import Box, Hit

MARGIN = 16  # pixels between photos
CAPTION = 34  # pixels above a row
BOX_COLOR, BOX_EDGE = (255, 255, 255), (20, 20, 20)
PAPER, INK, GRAY = (250, 250, 249), (28, 28, 28), (110, 110, 110)


@dataclass(frozen=True)
class Row:
    """A query, and its hits from left to right."""

    query: str
    hits: Sequence[Hit]


def hits_as_png(rows: Sequence[Row], *, side: int = 220) -> bytes:
    """Return a PNG with a row of photos for each query, each in a square of `side` pixels.

    Raises:
        PhotoError: a photo cannot be read.
    """
    columns = max(len(row.hits) for row in rows)
    width = MARGIN + columns * (side + MARGIN)
    height = MARGIN + len(rows) * (CAPTION + side + MARGIN)
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(20), ImageFont.load_default(14)
    for number, row in enumerate(rows):
        top = MARGIN + number * (CAPTION + side + MARGIN)
        draw.text((MARGIN, top + 2), row.query, INK, large)
        for column, hit in enumerate(row.hits):
            left = MARGIN + column * (side + MARGIN)
            photo = with_boxes(hit, side)
            page.paste(photo, (left + (side - photo.width) // 2, top + CAPTION))
            draw.text((left + side, top + 12), f"{hit.score:.3f}", GRAY, small, anchor="ra")
    stream = io.BytesIO()
    page.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def with_boxes(hit: Hit, side: int) -> Image.Image:
    """Return the photo of a hit, at most `side` pixels high and wide, with its boxes drawn."""
    data = decode.read(hit.path)
    photo = decode.decode(data, name=hit.path.name, shorter_side=side).image.convert("RGB")
    photo.thumbnail((side, side))
    draw = ImageDraw.Draw(photo)
    for box in hit.boxes:
        draw.rectangle(_pixels(box, photo.size, 0), outline=BOX_EDGE, width=4)
        draw.rectangle(_pixels(box, photo.size, 1), outline=BOX_COLOR, width=2)
    return photo


def _pixels(box: Box, size: tuple[int, int], inset: int) -> tuple[float, float, float, float]:
    """Return the edges of a box in pixels, moved inwards by `inset`."""
    width, height = size
    return (
        box.left * width + inset,
        box.top * height + inset,
        box.right * width - 1 - inset,
        box.bottom * height - 1 - inset,
    )
