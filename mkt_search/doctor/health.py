"""The library: whether it opens, and what in it needs a person."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkt_search.display import count_noun, printable
from mkt_search.doctor.finding import Finding
from mkt_search.errors import LibraryNotFound
from mkt_search.settings import config

if TYPE_CHECKING:
    from mkt_search.store.status import Status


def folder_of(directory: Path | None) -> Path | None:
    """Return the folder of a library; None if there is none.

    Args:
        directory: as --library names it; None looks upward from the current folder.
    """
    try:
        return config.named_library(directory) if directory else config.find_library(Path.cwd())
    except LibraryNotFound:
        return None


def health(directory: Path | None) -> Iterator[Finding]:
    """Open a library and yield what was found; the bytes of its vectors are not read.

    Args:
        directory: as for `folder_of`.

    Raises:
        MktError: it cannot be opened.
    """
    folder = folder_of(directory)
    if folder is None:
        if directory is not None:
            config.named_library(directory)  # raises what is wrong
        yield Finding("library", "absent", "none in this folder or above it", "mkt init")
        return
    settings = config.load(folder)
    from mkt_search.library import Library  # may be what is broken

    with Library.open(folder, config=settings) as library:
        found = library.status()
        yield Finding("library", "ok", printable(found.directory))
        yield from _about(found)
        if found.encoding is not None and not found.retired:
            library.snapshot()
            what = f"{count_noun(found.segments, 'segment')} can be opened"
            yield Finding("vectors", "ok", f"{what}; `mkt verify` reads every byte of them")
            model = f"{printable(found.model or '')} ({library.model.fingerprint})"
            yield Finding("model", "ok", model)


def _about(found: "Status") -> Iterator[Finding]:
    indexed = found.photos.get("indexed", 0)
    yield Finding("photos", "ok" if indexed else "note", f"{indexed:,} indexed")
    if failed := found.photos.get("failed", 0):
        yield Finding("photos", "note", f"{failed:,} cannot be read", "mkt status --failed")
    if missing := found.photos.get("missing", 0):
        yield Finding("photos", "note", f"{missing:,} are missing", "mkt prune --dry-run")
    for root in found.roots:
        if not root.exists:
            fix = "connect the disk, or `mkt root OLD NEW` if it was moved"
            yield Finding("folder", "note", f"{printable(root.path)} does not exist", fix)
    if found.retired:
        fix = "mkt index --rebuild"
        yield Finding("vectors", "problem", f"{found.retired} is no longer read", fix)
    if found.building is not None:
        done, total = found.building
        yield Finding("vectors", "note", f"{done:,} of {total:,} encoded again", "mkt index")
    if found.writer is not None:
        yield Finding("writing now", "note", printable(found.writer))
