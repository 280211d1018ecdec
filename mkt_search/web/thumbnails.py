"""Thumbnails: WebP made on demand, addressed by the SHA-256 of the photo and kept in the library.

Nothing but photos that the library can find has a thumbnail, and a photo's bytes are hashed before
they are decoded: an address never shows another picture. The folder `thumbnails` is a cache. It may
be deleted at any time, and a disk that is full or read-only only makes it useless.
"""

import hashlib
import logging
import math
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Lock

from mkt_search.errors import PhotoError
from mkt_search.files import open_regular, write_atomically
from mkt_search.library import Library
from mkt_search.photos import decode
from mkt_search.store.records import PhotoRecord
from mkt_search.types import NO_FILTERS
from mkt_search.web.problems import Refused

log = logging.getLogger(__name__)

FOLDER = "thumbnails"
COLOURS = "colours.txt"
SIDES = (256, 512, 2048)
"""Pixels of the longer side."""
MAX_BYTES = 2_000_000_000  # of all thumbnails
MAX_THUMBNAIL_BYTES = 1 << 24
DECODED_AT_ONCE = 2  # photos; each may take `MAX_DECODE_BYTES`
NAME = re.compile(r"[0-9a-f]{64}-(?:256|512|2048)\.webp")
COLOUR_LINE = re.compile(rb"([0-9a-f]{64}) ([0-9a-f]{6})")


class Thumbnails:
    """The thumbnails of a library; any number of threads may ask.

    Args:
        library: whose photos they show.
        max_bytes: the size of all thumbnails that are kept; the least recently used go first.
    """

    def __init__(self, library: Library, *, max_bytes: int = MAX_BYTES) -> None:
        self._library = library
        self._cache = Cache(library.directory / FOLDER, max_bytes)
        self.colours = Colours(library.directory / FOLDER / COLOURS)
        self._made: dict[str, Future[bytes]] = {}
        self._lock = Lock()
        self._makers = ThreadPoolExecutor(DECODED_AT_ONCE, "thumbnail")

    def close(self) -> None:
        """Make no more; wait for those that are being made."""
        self._makers.shutdown(cancel_futures=True)

    def photos(self, content: str) -> list[PhotoRecord]:
        """Return the photos with some bytes (SHA-256 in hex).

        Raises:
            Refused: 404, the library can find none.
        """
        catalog = self._library.store.catalog
        ids = list(catalog.content_ids_of([content]).values())
        found = catalog.photos_of_contents(ids, NO_FILTERS)
        photos = [photo for copies in found.values() for photo in copies]
        if not photos:
            raise Refused(404, "The library has no photo with these bytes now.")
        return photos

    def kept(self, content: str, side: int) -> bytes | None:
        """Return a thumbnail that was made before, None if it is not kept."""
        return self._cache.get(_name(content, side))

    def make(self, photos: Sequence[PhotoRecord], side: int) -> Future[bytes]:
        """Return a thumbnail that is made now, once however many ask for it.

        The future raises Refused, with 410 if no photo has the bytes that it had.

        Args:
            photos: photos with the same bytes, from `photos`.
            side: one of `SIDES`.
        """
        name = _name(str(photos[0].content), side)
        with self._lock:
            future = self._made.get(name)
            if future is None:
                future = self._makers.submit(self._make, name, photos, side)
                self._made[name] = future
                future.add_done_callback(lambda _: self._made.pop(name, None))
            return future

    def _make(self, name: str, photos: Sequence[PhotoRecord], side: int) -> bytes:
        if (kept := self._cache.get(name)) is not None:  # since it was looked for
            return kept
        photo, data = _unchanged(photos)
        try:
            decoded = decode.decode(
                data, name=photo.path.name, shorter_side=_shorter_side(photo, side)
            )
        except PhotoError as error:
            raise Refused(410, f"{photo.path.name} cannot be shown: {error}.") from error
        thumbnail = decode.webp_thumbnail(decoded.image, side)
        self.colours.add(str(photo.content), decode.mean_colour(decoded.image))
        self._cache.add(name, thumbnail)
        return thumbnail


def _name(content: str, side: int) -> str:
    return f"{content}-{side}.webp"


def _shorter_side(photo: PhotoRecord, side: int) -> int:
    """Return how small the shorter side of a photo may be decoded, in pixels."""
    if photo.facts is None:
        return side
    width, height = photo.facts.width, photo.facts.height
    return max(1, math.ceil(side * min(width, height) / max(width, height)))


def _unchanged(photos: Sequence[PhotoRecord]) -> tuple[PhotoRecord, bytes]:
    """Return a photo whose file has the bytes that the library knows, and these bytes."""
    why = ""
    for photo in photos:
        try:
            data = decode.read(photo.path)
        except PhotoError as error:
            why = why or f"{photo.path.name} cannot be read: {error}."
            continue
        if hashlib.sha256(data).hexdigest() == photo.content:
            return photo, data
        why = f"{photo.path.name} has changed since it was indexed; run `mkt index`."
    raise Refused(410, why)


class Cache:
    """Files of a bounded size in all; the least recently used go first.

    What cannot be written is not kept, without an error. Two processes may share the folder: each
    then counts only what it knows of.

    Args:
        folder: theirs; it is made when the first one is kept.
        max_bytes: of all files.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] | None = None  # least recently used first
        self._bytes = 0
        self._lock = Lock()
        self._is_warned = False

    def get(self, name: str) -> bytes | None:
        """Return what is kept under a name, None for nothing."""
        path = self._folder / name
        try:
            with open_regular(path, follow_links=False) as file:
                data = file.read(MAX_THUMBNAIL_BYTES)
        except OSError:
            return None
        if not _is_webp(data):
            return None
        with self._lock:
            if self._sizes is not None and name in self._sizes:
                self._sizes.move_to_end(name)
        with suppress(OSError):  # the order, for the next process
            os.utime(path)
        return data

    def add(self, name: str, data: bytes) -> None:
        """Keep data under a name, if the disk allows it."""
        with self._lock:
            try:
                self._folder.mkdir(exist_ok=True)
                if self._sizes is None:
                    self._sizes = _files_by_use(self._folder)
                    self._bytes = sum(self._sizes.values())
                write_atomically(self._folder / name, data)
            except OSError as error:
                if not self._is_warned:
                    log.warning("thumbnails are not kept: %s", error)
                self._is_warned = True
                return
            self._bytes += len(data) - self._sizes.pop(name, 0)
            self._sizes[name] = len(data)
            while self._bytes > self._max_bytes and self._sizes:
                oldest, size = self._sizes.popitem(last=False)
                self._bytes -= size
                with suppress(OSError):
                    (self._folder / oldest).unlink(missing_ok=True)


def _files_by_use(folder: Path) -> OrderedDict[str, int]:
    """Return the sizes of thumbnails, the least recently used first; delete what a crash left."""
    found: list[tuple[int, str, int]] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                about = entry.stat(follow_symlinks=False)
                found.append((about.st_mtime_ns, entry.name, about.st_size))
            elif entry.name.endswith(".webp.tmp"):
                Path(entry.path).unlink(missing_ok=True)
    return OrderedDict((name, size) for _, name, size in sorted(found))


def _is_webp(data: bytes) -> bool:
    """Whether data is a whole WebP file, as its header says."""
    size = int.from_bytes(data[4:8], "little")
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) == size + 8


class Colours:
    """The mean colour of every photo that has had a thumbnail: a line each in a file.

    A line is written at once, so a crash can tear only the last one, which is then left out.

    Args:
        file: a million colours take 72 MB in it, and 200 MB in memory.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known: dict[bytes, str] | None = None
        self._lock = Lock()

    def of(self, content: str | None) -> str | None:
        """Return the mean colour of a photo as `#rrggbb`, None if it is not known."""
        return None if content is None else self._all().get(bytes.fromhex(content))

    def add(self, content: str, colour: tuple[int, int, int]) -> None:
        """Keep the mean colour of a photo, if the disk allows it."""
        known, key = self._all(), bytes.fromhex(content)
        with self._lock:
            if key in known:
                return
            known[key] = f"#{bytes(colour).hex()}"
            with suppress(OSError):
                self._file.parent.mkdir(exist_ok=True)
                with open(self._file, "ab", buffering=0) as file:
                    file.write(f"\n{content} {bytes(colour).hex()}".encode())

    def _all(self) -> dict[bytes, str]:
        with self._lock:
            if self._known is None:
                self._known = {}
                with suppress(OSError), open_regular(self._file, follow_links=False) as file:
                    for line in file:
                        if found := COLOUR_LINE.fullmatch(line.strip()):
                            key = bytes.fromhex(found[1].decode())
                            self._known[key] = f"#{found[2].decode()}"
            return self._known
