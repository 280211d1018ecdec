"""Show a run: a bar on a terminal, a line every few seconds elsewhere; its summary in words."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from indexer.progress import Progress
from indexer.repair import Repaired
from mkt_search.display import count_noun, duration, printable
from mkt_search.terminal.progress import EXIT_INTERRUPTED
from mkt_search.types import Summary

EVERY = 5.0  # seconds between two lines
REASONS = 5  # reasons of failure that a summary names

Say = Callable[[str], None]


class Lines(Progress):
    """Plain lines for a log: rate, time left, failures."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say
        self._started = self._last = time.monotonic()

    def begin(self, total: int, *, before: int) -> None:
        """Start the clock."""
        super().begin(total, before=before)
        self._started = self._last = time.monotonic()

    def advance(self, done: int, *, failed: int) -> None:
        """Print a line if the last is some seconds old."""
        super().advance(done, failed=failed)
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            self._say(self._line(now - self._started))

    def step(self, name: str, done: int, total: int) -> None:
        """Print a line if the last is some seconds old."""
        super().step(name, done, total)
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            self._say(f"{name}: {done:,} of {total:,}")

    def _line(self, seconds: float) -> str:
        rate = self.done / seconds
        left = duration((self.total - self.done) / rate)
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.done:,} of {self.total:,} photos, {rate:.1f}/s, {left} left{failed}"

    def say(self, sentence: str) -> None:
        """Print it."""
        self._say(printable(sentence))

    def end(self) -> None:
        """Nothing is left on the screen."""


class Bar(Progress):
    """A bar on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        super().__init__()
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[failed]}"),
            console=Console(stderr=True, highlight=False, soft_wrap=True),
            transient=True,
        )
        self._task = self._bar.add_task("indexing", total=None, rate="", failed="")
        self._started = time.monotonic()

    def begin(self, total: int, *, before: int) -> None:
        """Show the bar."""
        super().begin(total, before=before)
        self._started = time.monotonic()
        self._bar.update(self._task, total=total)
        self._bar.start()

    def advance(self, done: int, *, failed: int) -> None:
        """Move it."""
        super().advance(done, failed=failed)
        rate = self.done / max(time.monotonic() - self._started, 1e-6)
        told = f"{self.failed:,} failed" if self.failed else ""
        self._bar.update(self._task, completed=self.done, rate=f"{rate:.1f}/s", failed=told)

    def step(self, name: str, done: int, total: int) -> None:
        """Let the bar be that of the step."""
        if name != self.stage:
            self._bar.reset(self._task, total=total, description=name, rate="", failed="")
            self._bar.start()
        super().step(name, done, total)
        self._bar.update(self._task, completed=done)

    def say(self, sentence: str) -> None:
        """Print it above the bar."""
        self._bar.console.print(printable(sentence), markup=False)

    def end(self) -> None:
        """Take the bar away."""
        self._bar.stop()


@contextmanager
def shown(say: Say) -> Iterator[tuple[Progress, Callable[[], bool]]]:
    """Show a run on stderr, and let Ctrl-C end it between two batches; a second ends it at once."""
    display = Bar() if sys.stderr.isatty() else Lines(say)
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set() or not (display.total or display.stage):
            raise KeyboardInterrupt
        stop.set()
        after = "" if display.stage else " after this batch"
        display.say(f"stopping{after}; Ctrl-C again stops at once")

    try:
        with _on_interrupt(ask):
            yield display, stop.is_set
    except KeyboardInterrupt:
        display.end()
        if display.stage:
            say("stopped: the candidate index is not built; `mkt optimize` builds it")
            raise SystemExit(EXIT_INTERRUPTED) from None
        if not display.total:
            raise
        there = display.before + display.done - display.failed
        say(
            f"stopped: {there:,} of {display.before + display.total:,} photos are in the library; "
            "run the same command to go on"
        )
        raise SystemExit(EXIT_INTERRUPTED) from None
    finally:
        display.end()


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle Ctrl-C otherwise for a while; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def tell(summary: Summary, say: Say, *, dry_run: bool = False) -> None:
    """Say what a run did, or would do."""
    told = [f"{summary.renamed:,} renamed"] if summary.renamed else []
    told += [count_noun(summary.duplicates, "copy", "copies")] if summary.duplicates else []
    sentence = "would index " if dry_run else "indexed "
    sentence += count_noun(summary.indexed, "photo") + (f" ({', '.join(told)})" if told else "")
    if not dry_run:
        sentence += f" in {duration(summary.seconds)}"
    rest = [f"{summary.failed:,} failed"] if summary.failed else []
    rest += [f"{summary.unchanged:,} unchanged"] if summary.unchanged else []
    say(f"{'; '.join([sentence, ', '.join(rest)]) if rest else sentence}.")
    if summary.missing:
        would = "would be marked" if dry_run else "marked"
        say(f"{would} missing: {count_noun(summary.missing, 'photo')}; `mkt prune` forgets them.")
    if summary.failed:
        say(f"{summary.failed:,} failed; see them with `mkt status --failed`:")
        for line in _listed(summary.reasons):
            say(f"  {line}")
    if summary.skipped:
        say(f"left out: {_left_out(summary.skipped)}.")
    if dry_run:
        say("Nothing was changed.")


def _listed(reasons: Mapping[str, int]) -> list[str]:
    """Name the most frequent reasons and count the rest."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count:>6,}  {printable(why)}" for why, count in ordered[:REASONS]]
    rest = sum(count for _, count in ordered[REASONS:])
    return [*named, f"{rest:>6,}  for other reasons"] if rest else named


def _left_out(skipped: Mapping[str, int]) -> str:
    flags = {"hidden": "--hidden", "failed before": "--retry"}
    told = []
    for why, count in sorted(skipped.items()):
        flag = next((flag for start, flag in flags.items() if why.startswith(start)), "")
        told.append(f"{count:,} x {why}{f' ({flag} takes them in)' if flag else ''}")
    return ", ".join(told)


def as_data(summary: Any) -> dict[str, Any]:
    """Return a summary as JSON has it."""
    return dict(vars(summary))


def tell_repaired(done: Repaired, say: Say) -> None:
    """Say what a repair did."""
    if done.index:
        say("the candidate index was damaged and is made anew.")
    if not (done.segments or done.encoded or done.failed or done.missing or done.away):
        if not done.index:
            say("nothing to repair: every photo has its vectors.")
        return
    say(
        f"encoded {count_noun(done.encoded, 'photo')} again in {duration(done.seconds)}; "
        f"{count_noun(done.segments, 'damaged segment')} let go."
    )
    if done.failed:
        say(f"{count_noun(done.failed, 'photo')} can no longer be read: `mkt status --failed`.")
    if done.missing:
        say(f"marked missing: {count_noun(done.missing, 'photo')}; `mkt prune` forgets them.")
    if done.away:
        say(
            f"{count_noun(done.away, 'photo')} lie in folders that are not there now; run `mkt "
            "repair` "
            "again when their disk is."
        )
