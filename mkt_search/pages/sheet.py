"""A contact sheet of hits: one HTML file with everything in it, for offline, without scripts."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mkt_search.display import printable
from mkt_search.errors import PhotoError, StoreError
from mkt_search.photos import decode as images
from mkt_search.types import Box, Hit

NARROWEST, WIDEST = 0.7, 2.4  # aspect of a frame; odder photos stand inside one with room around


@dataclass(frozen=True)
class Thumbnail:
    """A photo made small: `uri` holds the picture, or is empty and `reason` says why."""

    uri: str = ""
    reason: str = ""
    width: int = 4
    height: int = 3
    taken_at: datetime | None = None


@dataclass(frozen=True)
class Card:
    """One hit as the template draws it; lengths are percent of the frame or of the longest bar."""

    rank: int
    hit: Hit
    thumbnail: Thumbnail
    aspect: float
    boxes: tuple[Box, ...]
    longest: float

    @property
    def name(self) -> str:
        """The file's name on one line."""
        return printable(self.hit.path.name)

    @property
    def place(self) -> str:
        """The whole path on one line."""
        return printable(self.hit.path)

    @property
    def folder(self) -> str:
        """The path of the folder it is in, on one line."""
        return printable(self.hit.path.parent)

    @property
    def width(self) -> float:
        """How much of the frame's width the photo takes, in percent."""
        return min(100.0, 100 * self._own_aspect / self.aspect)

    @property
    def height(self) -> float:
        """How much of the frame's height the photo takes, in percent."""
        return min(100.0, 100 * self.aspect / self._own_aspect)

    @property
    def _own_aspect(self) -> float:
        return self.thumbnail.width / self.thumbnail.height

    def bar(self, part: float) -> float:
        """The length of a part's bar, in percent; a negative part has none."""
        return max(0.0, 100 * part / self.longest)


def write(file: Path, hits: Sequence[Hit], *, query: str, side: int, made_at: datetime) -> None:
    """Write the sheet of a query's hits, thumbnails at most `side` pixels long.

    Raises:
        StoreError: the file cannot be written.
    """
    text = render(hits, query=query, side=side, made_at=made_at)
    try:
        file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as problem:
        raise StoreError(f"{file}: cannot be written ({problem.strerror}).") from None


def render(hits: Sequence[Hit], *, query: str, side: int, made_at: datetime) -> str:
    """Return the sheet as HTML."""
    template = environment().get_template("sheet.html")
    return template.render(query=query, count=len(hits), cards=cards(hits, side), made_at=made_at)


def environment() -> Environment:
    """Return what fills in the templates: everything is escaped, nothing may be left out."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def cards(hits: Sequence[Hit], side: int) -> Iterator[Card]:
    """Yield the hits as figures, thumbnails at most `side` pixels long."""
    parts = [max(hit.global_part, 0) + max(hit.local_part, 0) for hit in hits]
    longest = max(parts, default=0.0) or 1.0
    for rank, hit in enumerate(hits, start=1):
        small = make_thumbnail(hit.path, side)
        yield Card(
            rank=rank,
            hit=hit,
            thumbnail=small,
            aspect=min(max(small.width / small.height, NARROWEST), WIDEST),
            boxes=hit.boxes if small.uri else (),
            longest=longest,
        )


def make_thumbnail(path: Path, side: int) -> Thumbnail:
    """Read a photo and make it small; one that cannot be read says why instead."""
    try:
        decoded = images.decode(images.read(path), name=path.name, shorter_side=side)
        jpeg = images.thumbnail(decoded.image, side)
    except PhotoError as problem:
        return Thumbnail(reason=str(problem))
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    facts = decoded.facts
    return Thumbnail(uri, "", facts.width, facts.height, facts.taken_at)
