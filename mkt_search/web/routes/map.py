"""The map: its clusters as JSON, and its points, ids and colours as bytes, by rising photo id."""

from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from mkt_search.errors import QueryError
from mkt_search.library_map import NO_MAP
from mkt_search.projection.shown import PhotoMap
from mkt_search.web.problems import Refused
from mkt_search.web.serving import Served
from mkt_search.web.texts import Label, Text

BYTES = "application/octet-stream"
LOWEST, HIGHEST = "X-Lowest", "X-Highest"

router = APIRouter(prefix="/map", tags=["map"])
Version = Annotated[
    Text | None, Query(description="Of a map that was answered before; by default that of now.")
]


def _bytes(description: str) -> dict[int | str, dict[str, object]]:
    """Return what the OpenAPI says of a response of bytes."""
    return {200: {"content": {BYTES: {}}, "description": description}}


class MapClusterData(TypedDict):
    """A group of photos: level 0 from afar, 1 near; its center, and a label that tells it apart."""

    level: int
    x: float
    y: float
    name: str | None
    photos: int


class MapData(TypedDict):
    """The map; `photos` are on it and `missing` are not yet. `stale` says why it is out of date."""

    version: str
    photos: int
    missing: int
    stale: str | None
    encoding: str
    revision: int
    seed: int
    clusters: list[MapClusterData]


@router.get("")
def get_map(serving: Served) -> MapData | None:
    """Describe the map; null if the library has none: start a job of the kind `map`."""
    found = serving.library.map()
    if found is None:
        return None
    return {
        "version": found.version,
        "photos": len(found),
        "missing": found.missing,
        "stale": found.stale or None,
        "encoding": found.encoding,
        "revision": found.revision,
        "seed": found.seed,
        "clusters": [
            {
                "level": cluster.level,
                "x": cluster.x,
                "y": cluster.y,
                "name": cluster.name or None,
                "photos": cluster.photos,
            }
            for cluster in found.clusters
        ],
    }


@router.get(
    "/points",
    response_class=Response,
    responses=_bytes("x and y of each photo: little-endian float32, from -1 to 1."),
)
def get_points(serving: Served, version: Version = None) -> Response:
    """Return the points, 8 bytes a photo. 409 if the map of that version is gone."""
    return Response(_map(serving, version).points.astype("<f4").tobytes(), media_type=BYTES)


@router.get(
    "/ids", response_class=Response, responses=_bytes("Photo ids: little-endian uint32, rising.")
)
def get_ids(serving: Served, version: Version = None) -> Response:
    """Return the ids of the photos at the points, 4 bytes each. 409 as for the points."""
    ids = _map(serving, version).photo_ids
    if len(ids) and ids[-1] > np.iinfo(np.uint32).max:
        raise Refused(501, "A photo has a number beyond 4,294,967,295.")
    return Response(ids.astype("<u4").tobytes(), media_type=BYTES)


@router.get(
    "/colours",
    response_class=Response,
    responses={
        200: {
            "content": {BYTES: {}},
            "description": "A byte for each photo; the headers say what 0 (of months 1) and 255 "
            "stand for.",
            "headers": {name: {"schema": {"type": "string"}} for name in (LOWEST, HIGHEST)},
        }
    },
)
def get_colours(
    serving: Served,
    by: Annotated[Label, Query(examples=["month", "tag:dog", "score:dog"])],
    version: Version = None,
) -> Response:
    """Return the colours of the points by month, by a tag, or by the score for a label.

    `month`: 0 without a date, 1 the earliest month, 255 the latest. `tag:LABEL`: 255 with the tag.
    `score:LABEL`: 0 the lowest score, 255 the highest. 409 as for the points.
    """
    found = serving.library.map_colours(by, _map(serving, version))
    headers = {LOWEST: found.lowest, HIGHEST: found.highest}
    return Response(found.values.tobytes(), media_type=BYTES, headers=headers)


def _map(serving: Served, version: str | None = None) -> PhotoMap:
    try:
        found = serving.library.map(version=version)
    except QueryError as gone:
        raise Refused(409, str(gone)) from gone
    if found is None:
        raise Refused(404, NO_MAP)
    return found
