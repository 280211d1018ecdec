"""What a run over photos tells while it works; the command line shows it."""

from collections.abc import Callable
from dataclasses import dataclass

from mkt_search.progress import Progress as Event
from mkt_search.progress import ProgressCallback


@dataclass
class Progress:
    """Counts of a run under way. Override the methods to show them; these only count.

    `total` photos are to be read, `done` of them are in the library or recorded as `failed`;
    `before` were there when the run began. `stage` is the part of building the candidate index
    that is under way, once all are read.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    before: int = 0
    stage: str = ""

    def begin(self, total: int, *, before: int) -> None:
        """Learn how many photos are to be read."""
        self.total, self.before = total, before

    def advance(self, done: int, *, failed: int) -> None:
        """Take in a batch that was just committed; `done` includes its failures."""
        self.done += done
        self.failed += failed

    def step(self, name: str, done: int, total: int) -> None:
        """Learn how far the building of the candidate index is."""
        self.stage = name

    def say(self, sentence: str) -> None:
        """Pass on a remark."""


def steps_of(progress: Progress, should_stop: Callable[[], bool]) -> ProgressCallback:
    """Return what tells a run of the steps of `optimize`; it ends them when `should_stop` says."""

    def report(event: Event) -> None:
        progress.step(event.step, event.done, event.total)
        if should_stop():
            raise KeyboardInterrupt

    return report
