"""What a run over photos tells while it works; the command line shows it."""

from dataclasses import dataclass


@dataclass
class Progress:
    """Counts of a run under way. Override the methods to show them; these only count.

    `total` photos are to be read, `done` of them are in the library or recorded as `failed`;
    `before` were there when the run began.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    before: int = 0

    def begin(self, total: int, *, before: int) -> None:
        """Learn how many photos are to be read."""
        self.total, self.before = total, before

    def advance(self, done: int, *, failed: int) -> None:
        """Take in a batch that was just committed; `done` includes its failures."""
        self.done += done
        self.failed += failed

    def step(self, name: str, done: int, total: int) -> None:
        """Learn how far a step is that goes over all photos when they are read."""

    def say(self, sentence: str) -> None:
        """Pass on a remark."""
