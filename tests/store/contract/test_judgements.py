"""Judgements of hits in any database: given, replaced, withdrawn, kept by pruning."""

from pathlib import Path

import pytest

from mkt_search.store.prune import prune
from mkt_search.store.records import Batch
from mkt_search.store.store import Store
from tests import made
from tests.store.contract.test_tags import fill, ids_of


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    fill(store, root)
    return store


def give(store: Store, label: str, **photos: bool) -> None:
    answers = {ids_of(store, f"{name}.jpg")[0]: is_yes for name, is_yes in photos.items()}
    store.catalog.add_judgements(label, answers, person="ann \N{SNOWMAN}", model="1")


def judged(store: Store, label: str | None = None) -> list[tuple[str, str, bool]]:
    found = store.catalog.judgements(label)
    return [(one.label, one.path.name, one.is_yes) for one in found]


def test_the_last_judgement_of_a_picture_counts_for_its_copies(filled: Store) -> None:
    give(filled, "Dog", a=True, b=True)
    give(filled, "dog", a=False)
    assert judged(filled, "DOG") == [
        *(("Dog", "a.jpg", False), ("Dog", "b.jpg", True), ("Dog", "copy of a.jpg", False))
    ]
    [answers] = filled.catalog.judged(["dog", "cat"]).values()
    assert sorted(answers.values()) == [False, True] and list(answers.values())[-1] is False
    assert {one.person for one in filled.catalog.judgements()} == {"ann \N{SNOWMAN}"}


def test_judgements_are_withdrawn(filled: Store) -> None:
    give(filled, "dog", a=True, b=False)
    give(filled, "cat", a=True)
    assert filled.catalog.remove_judgements("dog", ids_of(filled, "copy of a.jpg")) == 1
    assert filled.catalog.remove_judgements("DOG") == 1
    assert filled.catalog.judged(["dog"]) == {}
    assert judged(filled) == [("cat", "a.jpg", True), ("cat", "copy of a.jpg", True)]


def test_pruning_keeps_judgements(filled: Store) -> None:
    give(filled, "dog", gone=False)
    with filled.writing("test"):
        prune(filled)
    assert judged(filled) == [] and len(filled.catalog.judged(["dog"])["dog"]) == 1
    stored = filled.active
    assert stored is not None
    root = filled.catalog.root_folders()[0]
    back = made.photo(root, "back.jpg", row=0, content=made.sha("content 3"))
    filled.add(made.location(filled, root), stored, Batch([back], (), made.vectors(1, 3)))
    assert judged(filled) == [("dog", "back.jpg", False)]


def test_words_are_tags_and_removals_alone(filled: Store) -> None:
    give(filled, "dog", a=True)
    assert list(filled.catalog.words()) == []
