"""A contact sheet of hits: one HTML file with thumbnails inside and no scripts."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mkt_search.display import printable
from mkt_search.errors import PhotoError
from mkt_search.pages import html
from mkt_search.photos import decode as images
from mkt_search.types import Box, Hit

MIN_ASPECT, MAX_ASPECT = 0.7, 2.4  # width / height of a frame; other photos get margins


@dataclass(frozen=True)
class Thumbnail:
    """A small JPEG as a data URI; "" if the photo cannot be read, and `reason` says why.

    `width` and `height` are those of the photo, in pixels.
    """

    uri: str = ""
    reason: str = ""
    width: int = 4
    height: int = 3
    taken_at: datetime | None = None


@dataclass(frozen=True)
class Card:
    """A hit with what its figure needs.

    `aspect` is width / height of the frame; `longest` is the largest score of the sheet, the length
    of a full bar. `place` is what to show instead of the rank, or "".
    """

    rank: int
    hit: Hit
    thumbnail: Thumbnail
    aspect: float
    boxes: tuple[Box, ...]
    longest: float
    place: str = ""

    @property
    def name(self) -> str:
        """The file name, printable."""
        return printable(self.hit.path.name)

    @property
    def path(self) -> str:
        """The whole path, printable."""
        return printable(self.hit.path)

    @property
    def folder(self) -> str:
        """The path of the photo's folder, printable."""
        return printable(self.hit.path.parent)

    @property
    def width(self) -> float:
        """The photo's width, in percent of the frame's."""
        return min(100.0, 100 * self._photo_aspect / self.aspect)

    @property
    def height(self) -> float:
        """The photo's height, in percent of the frame's."""
        return min(100.0, 100 * self.aspect / self._photo_aspect)

    @property
    def _photo_aspect(self) -> float:
        return self.thumbnail.width / self.thumbnail.height

    def bar(self, part: float) -> float:
        """Return the length of the bar of a part of a score in percent; 0 if negative.

        Both parts together are as long as p, if that is known.
        """
        if self.hit.p is not None:
            total = max(self.hit.global_part, 0.0) + max(self.hit.local_part, 0.0)
            return 100 * self.hit.p * max(part, 0.0) / (total or 1.0)
        return max(0.0, 100 * part / self.longest)


def write(file: Path, hits: Sequence[Hit], *, query: str, side: int, made_at: datetime) -> None:
    """Write the sheet of a query's hits.

    Args:
        file: the HTML file; replaced if it exists.
        hits: best first.
        query: the query as text.
        side: longer side of a thumbnail, in pixels.
        made_at: local time to print.

    Raises:
        StoreError: the file cannot be written.
    """
    html.write(file, render(hits, query=query, side=side, made_at=made_at))


def render(hits: Sequence[Hit], *, query: str, side: int, made_at: datetime) -> str:
    """Return the sheet as HTML."""
    return html.render(
        "sheet.html", query=query, count=len(hits), cards=cards(hits, side), made_at=made_at
    )


def cards(hits: Sequence[Hit], side: int) -> Iterator[Card]:
    """Yield a card for each hit; the longer side of a thumbnail has `side` pixels at most."""
    parts = [max(hit.global_part, 0) + max(hit.local_part, 0) for hit in hits]
    longest = max(parts, default=0.0) or 1.0
    for rank, hit in enumerate(hits, start=1):
        small = make_thumbnail(hit.path, side)
        yield Card(
            rank=rank,
            hit=hit,
            thumbnail=small,
            aspect=min(max(small.width / small.height, MIN_ASPECT), MAX_ASPECT),
            boxes=hit.boxes if small.uri else (),
            longest=longest,
        )


def make_thumbnail(path: Path, side: int) -> Thumbnail:
    """Return a thumbnail of a photo file, at most `side` pixels long."""
    try:
        decoded = images.decode(images.read(path), name=path.name, shorter_side=side)
        jpeg = images.thumbnail(decoded.image, side)
    except PhotoError as problem:
        return Thumbnail(reason=str(problem))
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    facts = decoded.facts
    return Thumbnail(uri, "", facts.width, facts.height, facts.taken_at)
