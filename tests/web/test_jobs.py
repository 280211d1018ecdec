"""Jobs: one at a time, watched, cancelled, and never in the way of another process."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from mkt_search import Library
from mkt_search.errors import LibraryLocked, QueryError
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.store.records import PruneReport
from mkt_search.web.jobs import MAX_LOG, Jobs, Work
from mkt_search.web.problems import Refused

WAIT = 60  # seconds


@pytest.fixture
def jobs(own_library: Path) -> Iterator[Jobs]:
    with Library.open(own_library) as library:
        found = Jobs(library)
        yield found
        found.close()


def ended(jobs: Jobs, work: Work) -> tuple[str, str]:
    job = jobs.start("test", {}, work)
    job.wait(WAIT)
    assert job.state.is_over
    return job.state.state, job.state.message


def test_a_job_tells_how_far_it_is_and_what_came_of_it(jobs: Jobs) -> None:
    begun, go = Event(), Event()

    def work(progress: ProgressCallback) -> PruneReport:
        progress(Progress("reading", message="A remark."))
        progress(Progress("reading", 3, 10, 1))
        begun.set()
        go.wait(WAIT)
        return PruneReport(photos=7)

    job = jobs.start("test", {"a": 1}, work)
    assert begun.wait(WAIT)
    state = job.state
    assert (state.state, state.step, state.done, state.total) == ("running", "reading", 3, 10)
    assert (state.failed, state.messages, state.is_over) == (1, ("A remark.",), False)
    go.set()
    job.wait(WAIT)
    assert (job.state.state, job.state.report["photos"]) == ("done", 7)
    assert jobs.all() == [job.state] and jobs.get(job.state.id) is job


def test_how_a_job_fails_is_a_sentence(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    def known(_: ProgressCallback) -> None:
        raise QueryError("Name a folder.")

    def unknown(_: ProgressCallback) -> None:
        raise ZeroDivisionError

    assert ended(jobs, known) == ("failed", "Name a folder.")
    state, message = ended(jobs, unknown)
    assert (state, "terminal" in message, "ZeroDivisionError" in caplog.text) == (
        *("failed", True, True),
    )
    assert ended(jobs, lambda _: None) == ("done", "")


def test_a_job_is_cancelled_where_it_tells_how_far_it_is(jobs: Jobs) -> None:
    begun = Event()

    def work(progress: ProgressCallback) -> None:
        while True:
            progress(Progress("going"))
            begun.set()

    job = jobs.start("test", {}, work)
    assert begun.wait(WAIT)
    job.cancel()
    job.wait(WAIT)
    assert (job.state.state, "stays" in job.state.message) == ("cancelled", True)
    job.cancel()
    assert job.state.state == "cancelled"


def test_closing_cancels_what_runs_and_waits_for_it(jobs: Jobs) -> None:
    def work(progress: ProgressCallback) -> None:
        while True:
            progress(Progress("going"))

    job = jobs.start("test", {}, work)
    jobs.close()
    assert job.state.state == "cancelled"


def test_one_job_runs_at_a_time_and_nothing_else_changes_the_library(jobs: Jobs) -> None:
    go = Event()
    job = jobs.start("index", {}, lambda _: go.wait(WAIT))
    with pytest.raises(Refused, match=r"A job is changing the library \(index\)") as refused:
        jobs.start("tag", {}, lambda _: None)
    assert refused.value.status == 409
    with pytest.raises(Refused, match="searching works meanwhile"), jobs.editing():
        pass
    go.set()
    job.wait(WAIT)
    with jobs.editing():
        pass
    assert ended(jobs, lambda _: None)[0] == "done"


def test_a_job_is_refused_while_another_process_writes(jobs: Jobs, own_library: Path) -> None:
    with Library.open(own_library) as other, other.store.writing("mkt index"):
        with pytest.raises(LibraryLocked, match=r"being written by `mkt index` \(pid"):
            jobs.start("tag", {}, lambda _: None)
    assert jobs.all() == []


def test_the_log_of_a_job_is_bounded_and_unknown_jobs_are_not_there(jobs: Jobs) -> None:
    def work(progress: ProgressCallback) -> None:
        for number in range(MAX_LOG + 5):
            progress(Progress("going", message=f"{number}"))

    ended(jobs, work)
    assert len(jobs.all()[0].messages) == MAX_LOG
    with pytest.raises(Refused, match="no job 9") as refused:
        jobs.get(9)
    assert refused.value.status == 404
