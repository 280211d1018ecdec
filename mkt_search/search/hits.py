"""From content ids to hits: photos with their paths, copies and boxes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import LibraryDamaged
from mkt_search.photos.crop import PANORAMA_DECODER, views, visible_box
from mkt_search.search.boxes import boxes_of
from mkt_search.search.search import Found, patches_used
from mkt_search.store.catalog import Catalog
from mkt_search.store.interfaces import Snapshot
from mkt_search.store.records import PhotoRecord
from mkt_search.types import Box, Encoding, Filters, Hit, ImageSpec, Vector

NO_PHOTO = PhotoRecord(0, Path(), "", None, "missing", None, 0, None)


def hits_of(
    catalog: Catalog,
    snapshot: Snapshot,
    found: Found,
    filters: Filters,
    *,
    label: Vector | None = None,
    spec: ImageSpec | None = None,
    p: NDArray[np.float64] | None = None,
) -> list[Hit]:
    """Return a hit for every content found, in the same order.

    Args:
        catalog: knows the photos, as they were when the snapshot was taken.
        snapshot: what was searched.
        found: what was found.
        filters: conditions that copies must meet as well.
        label: (D,), whose local part the boxes show; None leaves boxes out.
        spec: how the student sees a photo, for the boxes.
        p: (k,), the probabilities of what was found, if they are known.

    Raises:
        LibraryDamaged: a vector or a row of the database has changed since it was written.
    """
    contents = snapshot.checked_contents(found.content_ids)  # (k, 32)
    weights = None  # (k, V P)
    if label is not None:
        weights = patches_used(snapshot, label, found.content_ids)
    content_ids = found.content_ids.tolist()
    photos = catalog.photos_of_contents(content_ids, filters)
    hits = []
    for i, content_id in enumerate(content_ids):
        records = photos.get(content_id) or [NO_PHOTO]
        if records[0].content != contents[i].tobytes().hex():
            raise LibraryDamaged(
                "The vectors and the photos of the library do not agree: run `mkt verify`, which "
                "says where and what helps."
            )
        first, *copies = _there_first(records)
        boxes: tuple[Box, ...] = ()
        if weights is not None and spec is not None:
            encoding = snapshot.facts.encoding
            boxes = boxes_of(weights[i], encoding.grid, views_of(first, encoding, spec))
        hits.append(
            Hit(
                photo_id=first.id,
                path=first.path,
                score=float(found.scores[i]),
                global_part=float(found.global_scores[i]),
                local_part=float(found.local_scores[i]),
                p=None if p is None else float(p[i]),
                boxes=boxes,
                copies=tuple(copy.path for copy in copies),
                taken_at=first.facts.taken_at if first.facts else None,
                date_source=first.facts.date_source if first.facts else None,
            )
        )
    return hits


def _there_first(records: list[PhotoRecord]) -> list[PhotoRecord]:
    """Put a photo first whose file exists, if the library has copies of it.

    The others may be on a disk that is away, or where the photos were before they were moved.
    """
    if len(records) == 1:
        return records
    there = {root: root.is_dir() for root in {record.root for record in records}}
    found = (record for record in records if there[record.root] and record.path.exists())
    first = next(found, records[0])
    return [first, *(record for record in records if record is not first)]


def views_of(photo: PhotoRecord, encoding: Encoding, spec: ImageSpec) -> tuple[Box, ...]:
    """Return where in a photo each view lies that was encoded; none if its size is not known."""
    if photo.facts is None:
        return ()
    width, height = photo.facts.width, photo.facts.height
    if encoding.decoder < PANORAMA_DECODER:
        return (visible_box(width, height, spec),)
    return views(width, height, spec)
