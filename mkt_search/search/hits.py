"""From content ids to hits: photos with their paths, copies and boxes."""

from mkt_search.photos.crop import PANORAMA_DECODER, views, visible_box
from mkt_search.search.boxes import boxes_of
from mkt_search.search.search import Found, patches_used
from mkt_search.store.catalog import Catalog
from mkt_search.store.interfaces import Snapshot
from mkt_search.store.records import PhotoRecord
from mkt_search.types import Box, Encoding, Filters, Hit, ImageSpec, Vector


def hits_of(
    catalog: Catalog,
    snapshot: Snapshot,
    found: Found,
    filters: Filters,
    *,
    label: Vector | None = None,
    spec: ImageSpec | None = None,
) -> list[Hit]:
    """Return a hit for every content that still has a photo, in the order found.

    Args:
        catalog: knows the photos.
        snapshot: what was searched.
        found: what was found.
        filters: conditions that copies must meet as well.
        label: (D,), whose local part the boxes show; None leaves boxes out.
        spec: how the student sees a photo, for the boxes.
    """
    weights = None  # (k, V P)
    if label is not None:
        weights = patches_used(snapshot, label, found.content_ids)
    content_ids = found.content_ids.tolist()
    photos = catalog.photos_of_contents(content_ids, filters)
    hits = []
    for i, content_id in enumerate(content_ids):
        records = photos.get(content_id, [])
        if not records:  # its last photo was removed after the snapshot
            continue
        first, *copies = records
        boxes: tuple[Box, ...] = ()
        if weights is not None and spec is not None:
            boxes = _boxes(weights[i], first, snapshot.facts.encoding, spec)
        hits.append(
            Hit(
                photo_id=first.id,
                path=first.path,
                score=float(found.scores[i]),
                global_part=float(found.global_scores[i]),
                local_part=float(found.local_scores[i]),
                boxes=boxes,
                copies=tuple(copy.path for copy in copies),
                taken_at=first.facts.taken_at if first.facts else None,
                date_source=first.facts.date_source if first.facts else None,
            )
        )
    return hits


def _boxes(
    weights: Vector, photo: PhotoRecord, encoding: Encoding, spec: ImageSpec
) -> tuple[Box, ...]:
    if photo.facts is None:
        return ()
    width, height = photo.facts.width, photo.facts.height
    if encoding.decoder < PANORAMA_DECODER:
        return boxes_of(weights, encoding.grid, [visible_box(width, height, spec)])
    return boxes_of(weights, encoding.grid, views(width, height, spec))
