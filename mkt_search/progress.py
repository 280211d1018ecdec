"""How far a long job is: one event type and one callback for every long job."""

from collections.abc import Callable
from dataclasses import dataclass

INDEXING = "indexing photos"
"""The step of an index run in which photos are committed."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` items of a named `step`, `failed` of them.

    `message` is a remark to show instead of a count. `total` is 0 while it is unknown.
    """

    step: str
    done: int = 0
    total: int = 0
    failed: int = 0
    message: str = ""


ProgressCallback = Callable[[Progress], None]
"""Receives events in order, in the thread that does the work.

It may raise, for example KeyboardInterrupt, to stop the job: everything up to the last commit is
kept.
"""


def no_progress(event: Progress) -> None:
    """Ignore progress."""
