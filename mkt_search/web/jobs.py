"""Jobs: long work on the library, one at a time, in a thread that pages can watch and cancel.

While a job runs, requests that would change the library are refused, with a sentence.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from datetime import UTC, datetime
from threading import Event, Lock, Thread
from typing import Any, Literal

from mkt_search.errors import LibraryLocked, MktError
from mkt_search.library import Library
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.web.problems import Refused

log = logging.getLogger(__name__)

MAX_LOG = 1_000  # messages of a job that are kept: its first
MAX_JOBS = 100  # that are remembered
CANCELLED = "Stopped. What was finished before stays."
UNEXPECTED = "The job failed; the terminal of the server shows where."

State = Literal["running", "cancelling", "done", "failed", "cancelled"]
Work = Callable[[ProgressCallback], object]
"""Does the work of a job and returns its report: a dataclass, or None for nothing to do."""


@dataclass(frozen=True)
class JobState:
    """A job as it is at one time; times are UTC.

    `step`, `done`, `total` and `failed` are as in `Progress`; `message` is the newest one
    or, once the job has ended, what came of it. `report` is what the work returned.
    """

    id: int
    kind: str
    settings: dict[str, Any]
    started_at: datetime
    state: State = "running"
    step: str = ""
    done: int = 0
    total: int = 0
    failed: int = 0
    message: str = ""
    messages: tuple[str, ...] = ()
    ended_at: datetime | None = None
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.ended_at is not None


class Job:
    """A job; its thread changes `state`, whose value never changes in itself."""

    def __init__(self, state: JobState, work: Work) -> None:
        self.state = state
        self._work = work
        self._is_cancelled = Event()
        self._lock = Lock()
        self._thread = Thread(target=self._run, name=f"job {state.id}: {state.kind}")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def cancel(self) -> None:
        """Stop at the next place where nothing is lost; a job that has ended stays as it is."""
        self._is_cancelled.set()
        with self._lock:
            if not self.state.is_over:
                self.state = replace(self.state, state="cancelling")

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    def _progress(self, event: Progress) -> None:
        if event.message:
            messages = (*self.state.messages, event.message)[:MAX_LOG]
            self._change(step=event.step, message=event.message, messages=messages)
        else:
            counts = {"done": event.done, "total": event.total, "failed": event.failed}
            self._change(step=event.step, **counts)
        if self._is_cancelled.is_set():
            raise KeyboardInterrupt

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self.state = replace(self.state, **changes)

    def _run(self) -> None:
        try:
            found = self._work(self._progress)
        except KeyboardInterrupt:
            self._end("cancelled", CANCELLED)
        except MktError as error:
            self._end("failed", str(error))
        except Exception:
            log.exception("a job failed")
            self._end("failed", UNEXPECTED)
        else:
            report = asdict(found) if is_dataclass(found) and not isinstance(found, type) else {}
            self._end("done", "", report)

    def _end(self, state: State, message: str, report: dict[str, Any] | None = None) -> None:
        self._change(state=state, message=message, report=report or {}, ended_at=datetime.now(UTC))


class Jobs:
    """The jobs of a server, and the one writer at a time."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._jobs: dict[int, Job] = {}
        self._newest = 0
        self._writing = Lock()

    def start(self, kind: str, settings: dict[str, Any], work: Work) -> Job:
        """Start a job.

        Raises:
            Refused: 409, another job runs.
            LibraryLocked: another process writes to the library.
        """
        with self.editing():
            if (writer := self._library.store.writer()) is not None:
                raise LibraryLocked(
                    f"The library is being written by {writer}. Wait until it has finished, or "
                    "stop it; searching works meanwhile."
                )
            self._newest += 1
            job = Job(JobState(self._newest, kind, settings, datetime.now(UTC)), work)
            self._jobs[self._newest] = job
            self._jobs.pop(self._newest - MAX_JOBS, None)
            job.start()
            return job

    @contextmanager
    def editing(self) -> Iterator[None]:
        """Change the library for a moment, one request after the other.

        Raises:
            Refused: 409, a job runs.
        """
        with self._writing:
            for job in self._jobs.values():
                if not job.state.is_over:
                    raise Refused(
                        409,
                        f"A job is changing the library ({job.state.kind}). Wait until it is done, "
                        "or cancel it; searching works meanwhile.",
                    )
            yield

    def get(self, id_: int) -> Job:
        """Return a job. Raises Refused (404) if this server has not run it, or forgot it."""
        job = self._jobs.get(id_)
        if job is None:
            raise Refused(404, f"This server has no job {id_}; its runs are in the library.")
        return job

    def all(self) -> list[JobState]:
        """Return the jobs since the server started, the oldest first."""
        return [job.state for job in list(self._jobs.values())]

    def close(self) -> None:
        """Cancel what runs, and wait for it."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        for job in jobs:
            job.wait()
