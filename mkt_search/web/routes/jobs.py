"""Jobs: index, tag, map and optimize the library, with their progress as server-sent events."""

import asyncio
from collections.abc import AsyncIterable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Path
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field
from typing_extensions import TypedDict

from mkt_search.errors import QueryError
from mkt_search.library import Library
from mkt_search.models.vocabulary import read_vocabulary, shipped_vocabularies
from mkt_search.progress import ProgressCallback
from mkt_search.settings.setting import LARGEST
from mkt_search.settings.tag_rules import RULES, asked_of_tags
from mkt_search.web.jobs import Job, JobState, State, Work
from mkt_search.web.serving import WRITES, Served
from mkt_search.web.texts import Body, Label, Text

MAX_LABELS = 10_000
SECONDS_BETWEEN_LOOKS = 0.2

router = APIRouter(prefix="/jobs", tags=["jobs"])


class IndexJob(Body):
    """Bring the library up to date with its folders; as `mkt index` without a folder."""

    kind: Literal["index"]
    retry: bool = False
    check_content: bool = False


class TagJob(Body):
    """Tag every photo with labels, or with a vocabulary that ships; as `mkt tag --vocabulary`.

    What is not named is by default as the settings have it.
    """

    kind: Literal["tag"]
    vocabulary: Text | None = None
    labels: Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)] | None = None
    precision: Annotated[float, Field(gt=0, le=1)] | None = None
    min_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    threshold: Annotated[float, Field(ge=-1, le=1)] | None = None


class OptimizeJob(Body):
    """Build the candidate index, which makes searches of large libraries faster."""

    kind: Literal["optimize"]


class MapJob(Body):
    """Make the map, or place new photos on it; `again` makes a new one. As `mkt map`."""

    kind: Literal["map"]
    again: bool = False


AnyJob = Annotated[IndexJob | TagJob | OptimizeJob | MapJob, Field(discriminator="kind")]


class JobData(TypedDict):
    """A job: how far it is, what it said (`log`) and, once it has ended, what came of it."""

    id: int
    kind: str
    settings: dict[str, Any]
    state: State
    step: str
    done: int
    total: int
    failed: int
    message: str
    log: list[str]
    report: dict[str, Any]
    started_at: str
    ended_at: str | None


def _job(serving: Served, job: Annotated[int, Path(ge=1, le=LARGEST)]) -> Job:
    return serving.jobs.get(job)


OneJob = Annotated[Job, Depends(_job)]


@router.get("")
def get_jobs(serving: Served) -> list[JobData]:
    """List the jobs since the server started, the oldest first."""
    return [as_data(state) for state in serving.jobs.all()]


@router.post("", status_code=202, dependencies=WRITES)
def post_job(serving: Served, wanted: AnyJob) -> JobData:
    """Start a job; 409 if one runs, here or in another process."""
    settings = wanted.model_dump(exclude_none=True, exclude={"kind"})
    job = serving.jobs.start(wanted.kind, settings, _work(serving.library, wanted))
    return as_data(job.state)


@router.get("/{job}")
def get_job(found: OneJob) -> JobData:
    """Return how far a job is."""
    return as_data(found.state)


@router.post("/{job}/cancel", dependencies=WRITES)
def post_cancel(found: OneJob) -> JobData:
    """Stop a job at the next place where nothing is lost."""
    found.cancel()
    return as_data(found.state)


@router.get("/{job}/events", response_class=EventSourceResponse)
async def get_job_events(
    found: OneJob, last_event_id: Annotated[str | None, Header()] = None
) -> AsyncIterable[ServerSentEvent]:
    """Watch a job: `progress` whenever it advances, `message` for each remark, then how it ended.

    The last event is `done`, `failed` or `cancelled`. Data of all but `message` is the job without
    its log; a client that connects again gets the messages that it has missed.
    """
    sent = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    seen: JobState | None = None
    while True:
        state = found.state
        for message in state.messages[sent:]:
            sent += 1
            yield ServerSentEvent(event="message", id=str(sent), data={"message": message})
        if state is not seen:
            data = {key: value for key, value in as_data(state).items() if key != "log"}
            yield ServerSentEvent(event=state.state if state.is_over else "progress", data=data)
        if state.is_over:
            return
        seen = state
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


def _work(library: Library, wanted: IndexJob | TagJob | OptimizeJob | MapJob) -> Work:
    """Return the work of a job. Raises QueryError if its labels cannot be had."""
    if isinstance(wanted, OptimizeJob):
        return lambda progress: library.optimize(progress=progress)
    if isinstance(wanted, MapJob):
        return lambda progress: _mapped(library, wanted, progress)
    if isinstance(wanted, IndexJob):
        return lambda progress: library.index(
            retry=wanted.retry, check_content=wanted.check_content, progress=progress
        )
    if (wanted.vocabulary is None) == (wanted.labels is None):
        raise QueryError("Give either labels or a vocabulary.")
    labels: list[str] = wanted.labels or []
    if wanted.vocabulary is not None:
        known = shipped_vocabularies()
        if wanted.vocabulary not in known:  # a name, never the path of a file
            raise QueryError(
                f'No vocabulary "{wanted.vocabulary}" ships; choose from {", ".join(known)}, or '
                "send labels."
            )
        labels = read_vocabulary(wanted.vocabulary)
    asked = asked_of_tags(library.config.tag, {name: getattr(wanted, name) for name in RULES})
    if wanted.top is not None:
        asked["top"] = wanted.top
    tag = partial(library.tag, labels, **asked)
    return lambda progress: tag(progress=progress)


def _mapped(library: Library, wanted: MapJob, progress: ProgressCallback) -> None:
    library.project(again=wanted.again, progress=progress)


def as_data(state: JobState) -> JobData:
    """Return a job as JSON values."""
    return {
        "id": state.id,
        "kind": state.kind,
        "settings": state.settings,
        "state": state.state,
        "step": state.step,
        "done": state.done,
        "total": state.total,
        "failed": state.failed,
        "message": state.message,
        "log": list(state.messages),
        "report": state.report,
        "started_at": state.started_at.isoformat(),
        "ended_at": state.ended_at.isoformat() if state.ended_at else None,
    }
