"""The photos of the library by time: where each month begins, and pages of photos."""

from typing import Annotated

from fastapi import APIRouter, Query
from typing_extensions import TypedDict

from mkt_search.errors import QueryError
from mkt_search.settings.setting import LARGEST
from mkt_search.store.records import PhotoRecord
from mkt_search.web.pictures import PictureData, picture
from mkt_search.web.problems import Refused
from mkt_search.web.routes.search import PhotoFilters
from mkt_search.web.serving import Served, Serving

MAX_PAGE = 500  # photos

router = APIRouter(tags=["photos"])


class MonthData(TypedDict):
    """The `count` photos of a month (null without a date), from number `first` of the timeline."""

    month: str | None
    first: int
    count: int


class TimelineData(TypedDict):
    """The photos by month, the newest first; `revision` names this order of photos."""

    revision: str
    total: int
    months: list[MonthData]


class PhotoInTime(PictureData):
    """A photo of the timeline; one that the library lost since has the state `missing`."""

    photo: int
    taken_at: str | None
    state: str


class PhotosInTime(TypedDict):
    """Photos in the order of the timeline."""

    photos: list[PhotoInTime]


@router.get("/timeline")
def get_timeline(serving: Served, filters: PhotoFilters) -> TimelineData:
    """Count the photos of each month, the newest first; photos without a date are last."""
    found = serving.library.timeline(filters)
    return {
        "revision": str(found.revision),
        "total": len(found),
        "months": [{"month": m.month, "first": m.first, "count": m.count} for m in found.months],
    }


@router.get("/timeline/photos")
def get_timeline_photos(
    serving: Served,
    filters: PhotoFilters,
    revision: Annotated[int, Query(ge=0, le=LARGEST)],
    first: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    count: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> PhotosInTime:
    """Return `count` photos of a timeline, given its revision and the same filters.

    A revision that is no longer kept is refused with 409: ask for the timeline again.
    """
    try:
        timeline = serving.library.timeline(filters, revision=revision)
    except QueryError as gone:
        raise Refused(409, str(gone)) from gone
    ids = timeline.ids[first : first + count].tolist()
    records = serving.library.store.catalog.photos_of_ids(ids)
    return {"photos": [_in_time(serving, id_, records.get(id_)) for id_ in ids]}


def _in_time(serving: Serving, photo: int, record: PhotoRecord | None) -> PhotoInTime:
    if record is None:
        return {**NOTHING, "photo": photo, "taken_at": None, "state": "missing"}
    taken_at = record.facts.taken_at if record.facts else None
    return {
        **picture(serving, record),
        "photo": photo,
        "taken_at": taken_at.isoformat() if taken_at else None,
        "state": record.state,
    }


NOTHING: PictureData = {
    "name": "",
    "width": None,
    "height": None,
    "thumbnail": None,
    "colour": None,
}
