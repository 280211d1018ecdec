"""Automatic tags: runs replace them, and reverting restores what a run replaced."""

import pytest
from sqlalchemy.orm import Session

from mkt_search.store.sql import auto_tags, runs, tags
from mkt_search.store.sql.auto_tags import TagChange
from tests.store.sql.conftest import Rows


class Tagger:
    """Applies runs to three photos, with labels a and b."""

    def __init__(self, session: Session, rows: Rows) -> None:
        self.session = session
        self.photos = [rows.photo(f"{name}.jpg").id for name in "xyz"]
        self.labels = tags.label_ids(session, ["a", "b"])
        self.spoken: dict[int, set[int]] = {}

    def run(self, label: str, photos: str) -> int:
        """Apply a run whose vocabulary is a label, with tags on some photos; return its id."""
        run = runs.start(self.session, "tag", {}, "test")
        id_ = self.labels[label]
        auto_tags.supersede(self.session, [id_], run)
        new = [(self.photos["xyz".index(name)], id_, 0.5, None) for name in photos]
        auto_tags.add(self.session, run, new)
        self.spoken[run] = {id_}
        return run

    def revert(self, run: int) -> TagChange:
        del self.spoken[run]
        later = {other: theirs for other, theirs in self.spoken.items() if other > run}
        return auto_tags.revert(self.session, run, later)

    def current(self, label: str) -> str:
        found = tags.current(self.session, label=label, source="auto")
        return "".join(tag.path.stem for tag in found)


@pytest.fixture
def tagger(session: Session, rows: Rows) -> Tagger:
    return Tagger(session, rows)


def test_a_run_replaces_the_tags_of_its_labels_only(tagger: Tagger) -> None:
    tagger.run("a", "xy")
    tagger.run("b", "z")
    tagger.run("a", "yz")
    assert (tagger.current("a"), tagger.current("b")) == ("yz", "z")
    assert auto_tags.count(tagger.session, tagger.labels.values()) == 3


def test_reverting_restores_what_the_run_replaced(tagger: Tagger) -> None:
    tagger.run("a", "xy")
    second = tagger.run("a", "yz")
    assert tagger.revert(second) == TagChange(added=1, removed=1, kept=1)
    assert tagger.current("a") == "xy"


def test_a_later_run_inherits_what_a_reverted_one_replaced(tagger: Tagger) -> None:
    first = tagger.run("a", "x")
    second = tagger.run("a", "y")
    third = tagger.run("a", "z")
    assert tagger.revert(second) == TagChange()
    assert tagger.current("a") == "z"
    assert tagger.revert(third) == TagChange(added=1, removed=1)
    assert tagger.current("a") == "x"
    assert tagger.revert(first) == TagChange(removed=1)
    assert tagger.current("a") == ""


def test_pairs_are_those_a_run_replaced_or_the_current_ones(tagger: Tagger) -> None:
    tagger.run("a", "xy")
    second = tagger.run("a", "z")
    x, y, z = tagger.photos
    label = tagger.labels["a"]
    replaced = auto_tags.pairs(tagger.session, tagger.photos, superseded_by=second)
    assert set(replaced) == {(x, label), (y, label)}
    now = auto_tags.pairs(tagger.session, [x, z], superseded_by=None)
    assert set(now) == {(z, label)}


def test_photos_that_are_not_indexed_keep_their_tags(tagger: Tagger, rows: Rows) -> None:
    missing = rows.photo("missing.jpg", state="missing").id
    label = tagger.labels["a"]
    first = runs.start(tagger.session, "tag", {}, "test")
    auto_tags.add(tagger.session, first, [(missing, label, 0.5, None)])
    tagger.run("a", "x")
    assert tagger.current("a") == "missingx"
