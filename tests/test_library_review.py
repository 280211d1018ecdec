"""A review from Python, and that a kill loses no decision that was answered."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.errors import QueryError
from mkt_search.store.records import Decision

DECIDES = """
import sys
from mkt_search import Library
from mkt_search.store.records import Decision
with Library.open(sys.argv[1]) as library:
    for proposal in library.review_photos("red"):
        library.decide("red", [Decision(proposal.photo, "accept")])
        print(proposal.photo, flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def tagged(own_library: Path) -> Iterator[Library]:
    """A library with six photos, five different ones, all of which have the tag red."""
    with Library.open(own_library) as library:
        library.tag(["red"], top=1, threshold=-1.0)
        yield library


def test_a_review_goes_from_the_best_photo_to_the_last(tagged: Library) -> None:
    [queue] = tagged.review_queues()
    assert (queue.label, queue.undecided) == ("red", 5)
    first, *rest = tagged.review_photos("Red")
    assert tagged.photo(first.photo).path.name in ("red.png", "copy.png")
    assert tagged.review_photos("red", after=(first.score, first.photo)) == rest
    id_, changed = tagged.decide("red", [Decision(first.photo, "accept")])
    assert changed == 1
    assert tagged.last_decision() is not None
    assert {tag.path.name for tag in tagged.tags(source="human")} == {"red.png", "copy.png"}
    assert tagged.undo_decision(id_ or 0) == 1
    assert [tagged.last_decision(), *tagged.tags(source="human")] == [None]
    assert tagged.review_photos("red") == [first, *rest]


def test_a_decision_can_be_undone_after_a_restart(tagged: Library) -> None:
    before = list(tagged.tags())
    tagged.decide("red", [Decision(one.photo, "reject") for one in tagged.review_photos("red")])
    assert list(tagged.tags()) == []
    with Library.open(tagged.directory) as again:
        last = again.last_decision()
        assert last is not None and len(last.decisions) == 5
        assert again.undo_decision(last.id) == 5
        assert list(again.tags()) == before


def test_a_verdict_that_is_none_and_an_empty_label_are_refused(tagged: Library) -> None:
    with pytest.raises(QueryError, match='no verdict "perhaps"; choose from accept, reject'):
        tagged.decide("red", [Decision(1, "perhaps")])  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="The label is empty"):
        tagged.review_photos(" ")


@pytest.mark.slow
def test_a_kill_loses_no_decision_that_was_answered(tagged: Library) -> None:
    command = [sys.executable, "-c", DECIDES, str(tagged.directory)]
    decided: set[int] = set()
    for _ in range(2):
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            decided.add(int(process.stdout.readline()))
            process.stdin.write("\n")
            process.stdin.flush()
            decided.add(int(process.stdout.readline()))
            process.kill()
        human = {tagged.photo(tag.path).id for tag in tagged.tags(source="human")}
        assert decided <= human
    assert len(decided) == 4 and len(tagged.review_photos("red")) == 1
    assert tagged.verify() == []
