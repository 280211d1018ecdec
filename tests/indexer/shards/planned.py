"""Painted photos, a model that sees colours, and a library that plans to encode them."""

from pathlib import Path
from typing import Any

import numpy as np

from indexer.shards.plan import ShardPlan
from mkt_search import Library
from mkt_search.store.snapshot import LocalSnapshot
from tests.tiny import colour_checkpoint, paint

SHARD = 4
PHOTOS = 11  # in three shards: nine pictures, a copy of one, and a file that is no photo


def paint_photos(home: Path) -> Path:
    """Paint the photos; return their folder."""
    folder = home / "photos"
    for number in range(9):
        paint(folder / f"{number % 2}" / f"{number}.png", (20 * number, 255 - 20 * number, 90))
    (folder / "0" / "copy.png").write_bytes((folder / "0" / "0.png").read_bytes())
    (folder / "1" / "broken.jpg").write_bytes(b"not a photo")
    return folder


def plan_photos(home: Path, **options: Any) -> ShardPlan:
    """Make a library in `home`/lib, and plan its photos in `home`/plan."""
    folder = paint_photos(home)
    model = colour_checkpoint(home / "model")
    chosen: dict[str, Any] = {"photos_a_shard": SHARD, "model": model}
    with Library.create(home / "lib") as library:
        return library.plan_shards(folder, home / "plan", **chosen | options)


def rows(library: Library) -> dict[str, tuple[Any, ...]]:
    """Return all that a library has of each photo: by path its row, and its vectors as bytes."""
    snapshot = library.snapshot()
    assert isinstance(snapshot, LocalSnapshot)
    stored = {}
    for segment in snapshot.reader.segments:
        for row in range(len(segment)):
            arrays = segment.arrays(np.array([row]))
            content = arrays.content.tobytes().hex()
            stored[content] = (arrays.codes.tobytes(), arrays.steps.tobytes())
            stored[content] += (segment.members.sets(np.array([row])).tobytes(),)
    return {
        photo.relative: (
            *(photo.content, photo.state, photo.error, photo.size, photo.mtime_ns, photo.facts),
            stored.get(photo.content or ""),
        )
        for photo in library.photos()
    }
