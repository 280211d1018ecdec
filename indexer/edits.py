"""Tell an edited photo from another picture that has taken its path.

What a person said of a picture follows it through an edit, and only through an edit. In doubt the
new bytes are another picture: the tags stay with the old bytes and are not lost.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from indexer.load import Loaded
from indexer.walk import modified_ns
from mkt_search.photos.miniature import is_same_picture
from mkt_search.store.catalog import IndexCatalog
from mkt_search.store.records import KnownPhoto, Place


@dataclass(frozen=True)
class _Change:
    """A path whose photo has other bytes than before."""

    item: Loaded
    before: str


def find_edits(
    catalog: IndexCatalog, loaded: Sequence[Loaded], known: Mapping[str, KnownPhoto]
) -> set[str]:
    """Return the paths whose new bytes are the tagged picture that was there before, edited.

    A path that was missing has another picture. So has one whose new bytes the library had at
    another path where they no longer are: that picture was moved here.

    Args:
        catalog: knows which contents a person tagged, how they look and where they were.
        loaded: photos of one batch.
        known: the rows of their root, by path.
    """
    changes = [_Change(item, before) for item in loaded if (before := _before(item, known))]
    tagged = catalog.spoken_of({change.before for change in changes}) if changes else set()
    changes = [change for change in changes if change.before in tagged]
    if not changes:
        return set()
    contents = {change.item.content for change in changes}
    miniatures = catalog.miniatures(contents | {change.before for change in changes})
    places = catalog.places(contents)
    return {
        change.item.file.path
        for change in changes
        if _is_edit(change, miniatures, places.get(change.item.content, []))
    }


def _before(item: Loaded, known: Mapping[str, KnownPhoto]) -> str | None:
    """Return the content that a path had until now, None if it had none or has the same."""
    row = known.get(item.file.path)
    if row is None or row.state == "missing" or row.content == item.content:
        return None
    return row.content


def _is_edit(change: _Change, miniatures: Mapping[str, bytes], places: Sequence[Place]) -> bool:
    old = miniatures.get(change.before)
    new = change.item.miniature or miniatures.get(change.item.content)
    if old is None or new is None:
        return False
    elsewhere = [place for place in places if place.path != change.item.file.absolute]
    if elsewhere and not any(_is_there(place) for place in elsewhere):
        return False
    return is_same_picture(old, new)


def _is_there(place: Place) -> bool:
    """Return True if a file is as the library knows it."""
    try:
        about = os.stat(place.path)
    except OSError:
        return False
    return (about.st_size, modified_ns(about)) == (place.size, place.mtime_ns)
