"""The event and the callback that every long job shares."""

from mkt_search.progress import Progress, ProgressCallback, no_progress


def test_an_event_needs_only_its_step() -> None:
    event = Progress("read photos")
    assert (event.done, event.total, event.failed, event.message) == (0, 0, 0, "")


def test_events_compare_by_value() -> None:
    assert Progress("index", 3, 10, failed=1) == Progress("index", done=3, total=10, failed=1)


def test_no_progress_is_a_callback_that_does_nothing() -> None:
    callback: ProgressCallback = no_progress
    assert callback(Progress("index", message="one photo is unreadable")) is None
