"""What a person removed from a picture: no run sets it again, whatever becomes of the photo."""

from pathlib import Path

import pytest

from mkt_search.store.prune import prune
from mkt_search.store.records import Batch
from mkt_search.store.store import Store
from mkt_search.types import Filters
from tests import made
from tests.store.contract.test_tags import current, fill, ids_of, run_of, tag


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    fill(store, root)
    return store


def refused(store: Store, label: str | None = None) -> list[tuple[str, str]]:
    found = store.catalog.refusals(label=label, filters=Filters())
    return [(one.path.name, one.label) for one in found]


def test_no_run_sets_a_removed_label_on_any_copy(filled: Store) -> None:
    tag(filled, ["Dog"], [(0, "Dog"), (1, "Dog")])
    assert filled.catalog.remove_tag(ids_of(filled, "copy of a.jpg"), "dog") >= 1
    trial = tag(filled, ["dog", "cat"], [(0, "dog"), (0, "cat"), (1, "dog")], dry=True)
    report = tag(filled, ["dog", "cat"], [(0, "dog"), (0, "cat"), (1, "dog")])
    assert (report.refused, report.by_label) == (2, {"dog": 1, "cat": 2})
    assert vars(trial) | {"run": report.run} == vars(report)
    assert current(filled) == {("b.jpg", "Dog"), ("a.jpg", "cat"), ("copy of a.jpg", "cat")}
    filled.catalog.revert_run(run_of(report))
    assert ("copy of a.jpg", "Dog") not in current(filled)


def test_a_label_may_be_removed_before_any_run_sets_it(filled: Store) -> None:
    assert filled.catalog.remove_tag(ids_of(filled, "b.jpg"), "dog") == 0
    assert refused(filled) == refused(filled, "DOG") == [("b.jpg", "dog")]
    assert refused(filled, "cat") == []
    tag(filled, ["dog"], [(1, "dog"), (2, "dog")])
    assert current(filled) == {("c.jpg", "dog")}


def test_a_person_takes_a_removal_back(filled: Store) -> None:
    photos = ids_of(filled, "a.jpg", "b.jpg")
    filled.catalog.remove_tag(photos, "dog")
    assert filled.catalog.allow_label([*ids_of(filled, "c.jpg"), photos[0]], "DOG") == 1
    assert filled.catalog.allow_label(photos, "cat") == 0
    filled.catalog.add_tag([photos[1]], "dog")
    assert refused(filled) == []
    assert tag(filled, ["dog"], [(0, "dog"), (1, "dog")]).refused == 0


def test_pruning_and_reverting_keep_removals(filled: Store) -> None:
    filled.catalog.remove_tag(ids_of(filled, "gone.jpg"), "dog")
    filled.catalog.revert_run(run_of(tag(filled, ["dog"], [(1, "dog")])))
    with filled.writing("test"):
        prune(filled)
    assert refused(filled) == []  # no photo is left to list
    stored = filled.active
    assert stored is not None
    root = filled.catalog.root_folders()[0]
    back = made.photo(root, "back.jpg", row=0, content=made.sha("content 3"))
    filled.add(made.location(filled, root), stored, Batch([back], (), made.vectors(1, 3)))
    assert refused(filled) == [("back.jpg", "dog")]


def test_words_are_what_a_person_set_or_removed(filled: Store) -> None:
    tag(filled, ["cat"], [(0, "cat")])  # by a run
    filled.catalog.add_tag(ids_of(filled, "a.jpg", "copy of a.jpg", "b.jpg"), "dog")
    filled.catalog.remove_tag(ids_of(filled, "b.jpg"), "dog")
    words = list(filled.catalog.words())
    assert [(label, is_set) for _, label, is_set in words] == [("dog", True), ("dog", False)]
    assert words[0][0] != words[1][0]
