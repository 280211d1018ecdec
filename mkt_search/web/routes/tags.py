"""Tags: those of photos, set and removed by hand, and how many photos have each."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from mkt_search.web.serving import WRITES, Served
from mkt_search.web.texts import Label, PhotoId, Text

MAX_TAGGED = 10_000  # photos of one request
MAX_HINTS = 100

router = APIRouter(tags=["tags"])
OnePhoto = Annotated[PhotoId, Path()]


class LabelGiven(BaseModel):
    """A label for a photo."""

    label: Label


class LabelForPhotos(LabelGiven):
    """A label for several photos."""

    photos: Annotated[list[PhotoId], Field(min_length=1, max_length=MAX_TAGGED)]


class Changed(TypedDict):
    """How many photos were changed."""

    changed: int


class LabelCountData(TypedDict):
    """How many photos have a label as a tag, by source; from `refused` a person removed it."""

    label: str
    photos: int
    auto: int
    human: int
    imported: int
    refused: int


class LabelHintData(TypedDict):
    """A label that begins as asked: a tag, one that was searched for, or one of a vocabulary."""

    label: str
    kind: str


@router.get("/tags")
def get_tags(serving: Served) -> list[LabelCountData]:
    """Count the photos that have each label as a tag, in the order of the labels."""
    return [
        {
            "label": found.label,
            "photos": found.photos,
            "auto": found.auto,
            "human": found.human,
            "imported": found.imported,
            "refused": found.refused,
        }
        for found in serving.library.tag_counts()
    ]


@router.get("/labels")
def get_labels(
    serving: Served,
    prefix: Annotated[Text, Query()] = "",
    limit: Annotated[int, Query(ge=1, le=MAX_HINTS)] = 20,
) -> list[LabelHintData]:
    """Complete a label: from tags, then earlier searches, then vocabularies."""
    found = serving.library.complete(prefix, count=limit)
    return [{"label": hint.label, "kind": hint.kind} for hint in found]


@router.post("/photos/{photo}/tags", dependencies=WRITES)
def post_photo_tag(serving: Served, photo: OnePhoto, given: LabelGiven) -> Changed:
    """Tag a photo by hand; the tag stays with the picture, and its copies have it, too."""
    with serving.writing:
        return {"changed": serving.library.add_tag(photo, given.label)}


@router.post("/photos/{photo}/refusals", dependencies=WRITES)
def post_photo_refusal(serving: Served, photo: OnePhoto, given: LabelGiven) -> Changed:
    """Remove a tag from a photo, whoever set it; no run sets it there again."""
    with serving.writing:
        return {"changed": serving.library.remove_tag(photo, given.label)}


@router.delete("/photos/{photo}/refusals", dependencies=WRITES)
def delete_photo_refusal(
    serving: Served, photo: OnePhoto, label: Annotated[Label, Query()]
) -> Changed:
    """Let runs set a tag again that was removed by hand."""
    with serving.writing:
        return {"changed": serving.library.allow_tag(photo, label)}


@router.post("/tags", dependencies=WRITES)
def post_tag(serving: Served, given: LabelForPhotos) -> Changed:
    """Tag several photos by hand."""
    with serving.writing:
        return {"changed": serving.library.add_tag(given.photos, given.label)}
