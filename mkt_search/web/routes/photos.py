"""Photos: what the library knows of them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from typing_extensions import TypedDict

from mkt_search.display import path_as_text
from mkt_search.json_forms import reasons
from mkt_search.json_forms.hits import BoxData, box_as_data
from mkt_search.json_forms.reasons import ReasonData
from mkt_search.settings.setting import LARGEST
from mkt_search.store.records import PhotoRecord
from mkt_search.types import DateSource, Source, Vector
from mkt_search.web.pictures import PictureData, picture
from mkt_search.web.serving import Served
from mkt_search.web.texts import PhotoId, Text

MAX_PAGE = 1_000  # items of a page

router = APIRouter(tags=["photos"])
State = Literal["indexed", "failed", "missing"]
OnePhoto = Annotated[PhotoId, Path()]


class TagOnPhoto(TypedDict):
    """A tag of a photo; `p` is the probability that it shows the label, as a run knew it."""

    label: str
    score: float | None
    p: float | None
    source: Source
    run: int | None


class PhotoData(PictureData):
    """A photo; `error` is why it cannot be read, `copies` are files with the same bytes."""

    photo: int
    path: str
    state: str
    error: str | None
    size: int
    format: str | None
    taken_at: str | None
    date_source: DateSource | None
    camera: str | None
    latitude: float | None
    longitude: float | None
    tags: list[TagOnPhoto]
    refused: list[str]
    copies: list[str]


class HeatData(TypedDict):
    """A heat map of the whole photo, row by row, from 0 to 1."""

    rows: int
    columns: int
    values: list[float]


class RegionData(TypedDict):
    """Where a photo shows a label; boxes are fractions of its width and height."""

    label: str
    weight: float
    boxes: list[BoxData]
    heat: HeatData


class RegionsData(TypedDict):
    """Where a photo shows each term of a query."""

    terms: list[RegionData]


class ListedPhoto(TypedDict):
    """A photo in a list."""

    photo: int
    path: str
    state: str
    error: str | None


class PhotoPage(TypedDict):
    """Photos in the order of their ids; `next` is the `after` of the next page."""

    photos: list[ListedPhoto]
    next: int | None


@router.get("/photos")
def get_photos(
    serving: Served,
    state: State | None = None,
    after: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> PhotoPage:
    """List photos: all, or those indexed, failed or missing."""
    found = serving.library.photos_after(after, state=state, count=limit)
    return {
        "photos": [_listed(record) for record in found],
        "next": found[-1].id if len(found) == limit else None,
    }


@router.get("/photos/{photo}")
def get_photo(serving: Served, photo: OnePhoto) -> PhotoData:
    """Return what the library knows of a photo."""
    library = serving.library
    record = library.photo(photo)
    facts: dict[str, Any] = vars(record.facts) if record.facts else {}
    taken_at = facts.get("taken_at")
    return {
        **picture(serving, record),
        "photo": record.id,
        "path": path_as_text(record.path),
        "state": record.state,
        "error": record.error,
        "size": record.size,
        "format": facts.get("format"),
        "taken_at": taken_at.isoformat() if taken_at else None,
        "date_source": facts.get("date_source"),
        "camera": facts.get("camera"),
        "latitude": facts.get("latitude"),
        "longitude": facts.get("longitude"),
        "tags": [
            {"label": t.label, "score": t.score, "p": t.p, "source": t.source, "run": t.run}
            for t in library.tags(photo=photo)
        ],
        "refused": [refusal.label for refusal in library.refusals(photo=photo)],
        "copies": [path_as_text(copy.path) for copy in library.copies(photo)],
    }


@router.get("/photos/{photo}/regions")
def get_regions(serving: Served, photo: OnePhoto, q: Annotated[Text, Query()]) -> RegionsData:
    """Return where a photo shows each term of a query: rectangles, and a heat map."""
    return {
        "terms": [
            {
                "label": region.term.label or "",
                "weight": region.term.weight,
                "boxes": [box_as_data(box) for box in region.boxes],
                "heat": _heat(region.heat),
            }
            for region in serving.library.regions(photo, q)
        ]
    }


@router.get("/left-out")
def get_left_out(serving: Served) -> list[ReasonData]:
    """Walk the folders; list what the last index run left out, and why."""
    return [reasons.as_data(found.path, found.reason) for found in serving.library.left_out()]


def _heat(heat: Vector) -> HeatData:
    rows, columns = heat.shape
    return {"rows": rows, "columns": columns, "values": heat.ravel().tolist()}


def _listed(record: PhotoRecord) -> ListedPhoto:
    return {
        "photo": record.id,
        "path": path_as_text(record.path),
        "state": record.state,
        "error": record.error,
    }
