"""A check that fails is a finding, never an error."""

from collections.abc import Iterator

from mkt_search.doctor.finding import Finding, gathered
from mkt_search.errors import StoreError

FINE = Finding("a", "ok", "fine")


def half() -> Iterator[Finding]:
    yield FINE
    raise ImportError("no libgomp")


def ours() -> Iterator[Finding]:
    raise StoreError("the disk is full; free some space.")
    yield FINE


def test_checks_after_one_that_fails_are_made() -> None:
    assert list(gathered([("half", half), ("ours", ours), ("whole", lambda: [FINE])])) == [
        FINE,
        Finding("half", "problem", "ImportError: no libgomp"),
        Finding("ours", "problem", "the disk is full; free some space."),
        FINE,
    ]
