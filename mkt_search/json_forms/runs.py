"""Recorded runs as JSON."""

from typing import Any

from typing_extensions import TypedDict

from mkt_search.store.records import RunInfo


class RunData(TypedDict):
    """A recorded run: times are UTC."""

    run: int
    kind: str
    started_at: str
    ended_at: str | None
    outcome: str
    settings: dict[str, Any]
    summary: dict[str, Any]


def as_data(run: RunInfo) -> RunData:
    """Return a run as JSON values."""
    return {
        "run": run.id,
        "kind": run.kind,
        "started_at": run.started_at.isoformat() + "Z",
        "ended_at": run.ended_at.isoformat() + "Z" if run.ended_at else None,
        "outcome": run.outcome,
        "settings": run.settings,
        "summary": run.summary,
    }
