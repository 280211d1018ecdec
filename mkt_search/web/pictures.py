"""What a page needs to show photos in a grid."""

from collections.abc import Sequence

from typing_extensions import TypedDict

from mkt_search.display import path_as_text
from mkt_search.store.records import PhotoRecord
from mkt_search.web.serving import Serving


class PictureData(TypedDict):
    """A photo in a grid; `thumbnail` is where its thumbnails are, without their size.

    `colour` is its mean colour as `#rrggbb`, where a thumbnail was made before. Width and height
    are those of the upright photo, in pixels.
    """

    name: str
    width: int | None
    height: int | None
    thumbnail: str | None
    colour: str | None


def picture(serving: Serving, record: PhotoRecord) -> PictureData:
    """Return how a page shows a photo."""
    facts = record.facts
    return {
        "name": path_as_text(record.path).rpartition("/")[2],
        "width": facts.width if facts else None,
        "height": facts.height if facts else None,
        "thumbnail": f"/thumbnails/{record.content}" if record.content else None,
        "colour": serving.thumbnails.colours.of(record.content),
    }


def pictures(serving: Serving, ids: Sequence[int]) -> dict[int, PictureData]:
    """Return how a page shows photos, by id; those that the library lost are left out."""
    records = serving.library.store.catalog.photos_of_ids(ids)
    return {id_: picture(serving, record) for id_, record in records.items()}
