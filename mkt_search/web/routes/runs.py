"""Runs that indexed, tagged or evaluated, and taking a tag run back."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path
from typing_extensions import TypedDict

from mkt_search.json_forms import runs as runs_as_json
from mkt_search.json_forms.runs import RunData
from mkt_search.web.serving import WRITES, Served
from mkt_search.web.texts import RunId

router = APIRouter(tags=["runs"])


class TagReportData(TypedDict):
    """What a tag run did, or what taking it back did; `by_label` counts its automatic tags."""

    run: int | None
    photos: int
    labels: int
    added: int
    removed: int
    kept: int
    refused: int
    by_label: dict[str, int]


@router.get("/runs")
def get_runs(serving: Served) -> list[RunData]:
    """List every run, the oldest first."""
    return [runs_as_json.as_data(run) for run in serving.library.runs()]


@router.post("/runs/{run}/revert", dependencies=WRITES)
def post_revert(serving: Served, run: Annotated[RunId, Path()]) -> TagReportData:
    """Delete the tags of a run and restore those it replaced; tags set by hand stay."""
    with serving.writing:
        report: TagReportData = asdict(serving.library.untag(run))  # type: ignore[assignment]
    return report
