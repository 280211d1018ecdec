"""From slots to hits: the photos that have the vectors found, with paths, copies and boxes."""

from mkt_search.search.boxes import boxes_of
from mkt_search.search.search import Found, patches_used
from mkt_search.store.records import PhotoRecord
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Box, Filters, Hit, ImageSpec, Vector


def hits_of(
    index: LocalSnapshot,
    found: Found,
    filters: Filters,
    *,
    label: Vector | None = None,
    seen: ImageSpec | None = None,
) -> list[Hit]:
    """Return a hit for every slot that still has a photo, in the order found.

    Args:
        index: the vectors that were searched.
        found: what was found.
        filters: conditions that copies must meet as well.
        label: (D,), whose local part the boxes show; None asks for no boxes.
        seen: how the student saw the photos, for the boxes.
    """
    shares = None if label is None else patches_used(index, label, found.slots)
    contents = index.contents[found.slots].tolist()
    photos = index.store.catalog.photos_of_contents(contents, filters)
    hits = []
    for i, content in enumerate(contents):
        records = photos.get(content, [])
        if not records:  # its last photo went away since the index was refreshed
            continue
        first, *copies = records
        boxes: tuple[Box, ...] = ()
        if shares is not None and seen is not None:
            boxes = _boxes(shares[i], first, index.encoding.grid, seen)
        hits.append(
            Hit(
                photo_id=first.id,
                path=first.path,
                score=float(found.scores[i]),
                global_part=float(found.global_[i]),
                local_part=float(found.local[i]),
                boxes=boxes,
                copies=tuple(copy.path for copy in copies),
            )
        )
    return hits


def _boxes(
    shares: Vector, photo: PhotoRecord, grid: tuple[int, int], seen: ImageSpec
) -> tuple[Box, ...]:
    if photo.facts is None:
        return ()
    return boxes_of(shares, grid, seen, photo.facts.width, photo.facts.height)
