"""A review: proposed tags, decisions, and the way back."""

import math
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from typing_extensions import TypedDict

from mkt_search.errors import QueryError
from mkt_search.settings.setting import LARGEST
from mkt_search.store.records import Choice, Decision, Proposal
from mkt_search.web.pictures import PictureData, pictures
from mkt_search.web.serving import WRITES, Served
from mkt_search.web.texts import Body, Label, PhotoId, RunId, Text

MAX_PAGE = 500  # photos
MAX_DECISIONS = 2_000  # of one request

router = APIRouter(prefix="/review", tags=["review"])


class QueueData(TypedDict):
    """The tags of a label that a run proposes: counts of pictures, copies counted once."""

    label: str
    run: int | None
    undecided: int
    accepted: int
    rejected: int


class ProposalData(PictureData):
    """A photo that a run gave the label. `content`, if sent with the decision, guards it."""

    photo: int
    content: str
    run: int | None
    score: float
    p: float | None


class ProposalPage(TypedDict):
    """Undecided photos, best first; `next` is the `after` of the next page."""

    photos: list[ProposalData]
    next: str | None


class DecisionGiven(Body):
    """What a person decided of a photo.

    With `content`, the SHA-256 of the bytes that were shown, it does not count if the photo has
    others now.
    """

    photo: PhotoId
    decision: Choice
    content: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None


class DecisionsGiven(Body):
    """What a person decided of photos and a label."""

    label: Label
    decisions: Annotated[list[DecisionGiven], Field(min_length=1, max_length=MAX_DECISIONS)]


class DecidedData(TypedDict):
    """How many pictures changed; `id` takes the decisions back, null if none counted."""

    id: int | None
    changed: int


class UndoGiven(Body):
    """The `id` of decisions."""

    id: Annotated[int, Field(ge=1, le=LARGEST)]


class UndoneData(TypedDict):
    """How many pictures changed."""

    changed: int


class OneDecision(TypedDict):
    """A photo, and what was decided of it."""

    photo: int
    decision: Choice


class LastDecision(TypedDict):
    """The last decisions that were not taken back."""

    id: int
    label: str
    decisions: list[OneDecision]


@router.get("")
def get_review(serving: Served) -> list[QueueData]:
    """Count what is to review, by label and run."""
    return [
        {
            "label": queue.label,
            "run": queue.run,
            "undecided": queue.undecided,
            "accepted": queue.accepted,
            "rejected": queue.rejected,
        }
        for queue in serving.library.review_queues()
    ]


@router.get("/photos")
def get_review_photos(
    serving: Served,
    label: Annotated[Label, Query()],
    run: Annotated[RunId | None, Query()] = None,
    after: Annotated[Text | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> ProposalPage:
    """Return photos of a label that nobody has decided, best first."""
    place = None if after is None else _place(after)
    found = serving.library.review_photos(label, run=run, after=place, count=limit)
    shown = pictures(serving, [one.photo for one in found])
    photos: list[ProposalData] = [
        {
            **shown[one.photo],
            "photo": one.photo,
            "content": one.content,
            "run": one.run,
            "score": one.score,
            "p": one.p,
        }
        for one in found
        if one.photo in shown
    ]
    return {"photos": photos, "next": _cursor(found[-1]) if len(found) == limit else None}


@router.post("/decisions", dependencies=WRITES)
def post_decisions(serving: Served, given: DecisionsGiven) -> DecidedData:
    """Accept a label on photos (a tag by hand) or reject it (a refusal).

    The answer comes when everything is committed. The last of several decisions on a photo counts.
    """
    decisions = [Decision(one.photo, one.decision, one.content) for one in given.decisions]
    with serving.writing:
        id_, changed = serving.library.decide(given.label, decisions)
    return {"id": id_, "changed": changed}


@router.post("/undo", dependencies=WRITES)
def post_undo(serving: Served, given: UndoGiven) -> UndoneData:
    """Put back what decisions replaced: tags with their scores, and words of a person."""
    with serving.writing:
        return {"changed": serving.library.undo_decision(given.id)}


@router.get("/last")
def get_last(serving: Served) -> LastDecision | None:
    """Return the last decisions that were not taken back; null if there are none."""
    found = serving.library.last_decision()
    if found is None:
        return None
    return {
        "id": found.id,
        "label": found.label,
        "decisions": [{"photo": one.photo, "decision": one.verdict} for one in found.decisions],
    }


def _cursor(last: Proposal) -> str:
    return f"{last.score!r}:{last.photo}"


def _place(cursor: str) -> tuple[float, int]:
    """Undo `_cursor`. Raises QueryError."""
    score, _, photo = cursor.partition(":")
    try:
        place = float(score), int(photo)
    except ValueError:
        place = math.nan, 0
    if not math.isfinite(place[0]) or not 0 <= place[1] <= LARGEST:
        raise QueryError(f'"{cursor[:40]}" is not the `next` of a page of the review.')
    return place
