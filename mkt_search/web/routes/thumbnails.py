"""Thumbnails, by the SHA-256 of the photo: what an address shows never changes."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Response
from starlette.concurrency import run_in_threadpool

from mkt_search.web.serving import Served

IMMUTABLE = "private, max-age=31536000, immutable"
WEBP = "image/webp"

router = APIRouter(prefix="/thumbnails", tags=["photos"])
Content = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@router.get(
    "/{content}/{side}.webp",
    response_class=Response,
    responses={
        200: {"content": {WEBP: {}}, "description": "The thumbnail."},
        304: {"description": "The thumbnail is the one that the client has."},
    },
)
async def get_thumbnail(
    serving: Served,
    content: Content,
    side: Literal["256", "512", "2048"],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Return a thumbnail whose longer side has at most as many pixels.

    It is made if it is not kept. 404 if the library has no such photo, 410 if the file is gone, has
    changed since it was indexed, or cannot be decoded.
    """
    thumbnails, pixels = serving.thumbnails, int(side)
    photos = await run_in_threadpool(thumbnails.photos, content)
    headers = {"ETag": f'"{content}-{side}"', "Cache-Control": IMMUTABLE}
    if _is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    data = await run_in_threadpool(thumbnails.kept, content, pixels)
    if data is None:
        # Waiting here takes no thread, of which searches need some; and who leaves stops no one.
        made = thumbnails.make(photos, pixels)
        data = await asyncio.shield(asyncio.wrap_future(made))
    return Response(data, media_type=WEBP, headers=headers)


def _is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the client has what an ETag names (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return "*" in known or etag in known
