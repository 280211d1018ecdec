"""Show the progress of a long job on stderr, and let Ctrl-C stop it between two batches."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol

from mkt_search.display import duration, printable
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.terminal.output import say

EXIT_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
SECONDS_BETWEEN_LINES = 5.0
STOPPING = "stopping after this batch; Ctrl-C again stops at once"


@contextmanager
def show_progress(
    step: str = "",
    *,
    on_stop: Callable[[Progress], str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ProgressCallback]:
    """Give a callback that shows progress: a bar on a terminal, else a line every few seconds.

    A message is printed above the bar. The rate of a step counts from its first event. Ctrl-C asks
    the job to stop: the callback raises KeyboardInterrupt at the next count, when the running batch
    is committed. A second Ctrl-C stops at once, as does one before the first count.

    Args:
        step: shown until the first event.
        on_stop: returns the sentence to print after Ctrl-C, given the last count; the command
            then exits with `EXIT_INTERRUPTED`. Otherwise KeyboardInterrupt propagates.
        clock: seconds of a monotonic clock.
    """
    view = _Bar(step) if sys.stderr.isatty() else _Lines(clock)
    display = _Display(view, clock)
    try:
        with _on_interrupt(display.interrupt):
            yield display.show
    except KeyboardInterrupt:
        view.end()
        if on_stop is None or display.last is None:
            raise
        say(printable(on_stop(display.last)))
        raise SystemExit(EXIT_INTERRUPTED) from None
    finally:
        view.end()


class _View(Protocol):
    """Where progress is drawn."""

    def count(self, event: Progress, text: str) -> None:
        """Show a count; `text` is the count, rate and time left in words."""

    def message(self, sentence: str) -> None:
        """Print a sentence on its own line."""

    def end(self) -> None:
        """Remove what is temporary; may be called twice."""


class _Display:
    """Passes events to a view, and raises KeyboardInterrupt once a stop is requested."""

    def __init__(self, view: _View, clock: Callable[[], float]) -> None:
        self.last: Progress | None = None
        self._view = view
        self._clock = clock
        self._first = Progress("")  # of the current step
        self._began = 0.0
        self._is_stopping = False

    def show(self, event: Progress) -> None:
        """Show an event; the `ProgressCallback` that jobs receive."""
        if event.message:
            self._view.message(printable(event.message))
            return
        now = self._clock()
        if self.last is None or event.step != self.last.step:
            self._first, self._began = event, now
        self.last = event
        self._view.count(event, self._text(event, now - self._began))
        if self._is_stopping:
            raise KeyboardInterrupt

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT."""
        if self._is_stopping or self.last is None:
            raise KeyboardInterrupt
        self._is_stopping = True
        with suppress(RuntimeError):  # the signal came while stderr was being written
            self._view.message(STOPPING)

    def _text(self, event: Progress, seconds: float) -> str:
        parts = [f"{event.done:,} of {event.total:,}" if event.total else f"{event.done:,}"]
        advanced = event.done - self._first.done
        if advanced > 0 and seconds > 0:
            rate = advanced / seconds
            parts.append(f"{rate:,.1f}/s" if rate < 100 else f"{rate:,.0f}/s")
            if event.total > event.done:
                parts.append(f"{duration((event.total - event.done) / rate)} left")
        if event.failed:
            parts.append(f"{event.failed:,} failed")
        return ", ".join(parts)


class _Lines:
    """Plain lines for a log, at most one every `SECONDS_BETWEEN_LINES`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()

    def count(self, event: Progress, text: str) -> None:
        now = self._clock()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            say(f"{printable(event.step)}: {text}")

    def message(self, sentence: str) -> None:
        say(sentence)

    def end(self) -> None:
        pass


class _Bar:
    """A bar that disappears at the end."""

    def __init__(self, step: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(stderr=True, highlight=False, soft_wrap=True),
            redirect_stdout=False,  # stdout is data, even while the bar is shown
            transient=True,
        )
        if step:
            self._begin(step)

    def count(self, event: Progress, text: str) -> None:
        step = printable(event.step)
        if not self._bar.tasks or self._bar.tasks[0].description != step:
            self._begin(step)
        task = self._bar.task_ids[0]
        self._bar.update(task, completed=event.done, total=event.total or None, text=text)

    def message(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False)

    def end(self) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def _begin(self, step: str) -> None:
        """Show another step; a task of its own, as rich cannot make a total unknown again."""
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        self._bar.add_task(step, total=None, text="")
        self._bar.start()


@contextmanager
def _on_interrupt(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle Ctrl-C for a while; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
