"""Tags: runs speak for their labels, can be taken back whole, and never touch a person's."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql import runs, tags
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.store import Store
from tests import made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    made.fill(store, tmp_path / "photos", 3)
    return store


def run_tags(store: Store, chosen: dict[str, list[int]]) -> int:
    """Record a tag run over the given labels: label -> numbers of the photos it is put on."""
    with transaction(store.engine) as session:
        photos = [record.id for record in photo_queries.photos(session)]
        run = runs.start_run(session, "tag", {"labels": list(chosen)}, "test")
        ids = tags.label_ids(session, list(chosen))
        tags.supersede(session, ids.values(), run)
        rows = [(photos[n], ids[label], 0.5) for label, who in chosen.items() for n in who]
        tags.add_auto(session, run, rows)
        runs.end_run(session, run, "done", {})
    return run


def take_back(store: Store, run: int, later: dict[int, list[str]] | None = None) -> tags.TagChange:
    with transaction(store.engine) as session:
        covered = {
            other: set(tags.label_ids(session, labels).values())
            for other, labels in (later or {}).items()
        }
        return tags.take_back(session, run, covered)


def current(store: Store) -> set[tuple[str, str, str]]:
    with reading(store.engine) as session:
        return {(tag.path.name, tag.label, tag.source) for tag in tags.listed(session)}


def test_a_run_replaces_the_automatic_tags_of_its_labels_only(store: Store) -> None:
    run_tags(store, {"dog": [0, 1], "cat": [2]})
    run_tags(store, {"dog": [1, 2]})
    assert current(store) == {
        ("p001.jpg", "dog", "auto"),
        ("p002.jpg", "dog", "auto"),
        ("p002.jpg", "cat", "auto"),
    }


def test_taking_a_run_back_restores_what_it_replaced(store: Store) -> None:
    run_tags(store, {"dog": [0, 1]})
    before = current(store)
    run = run_tags(store, {"dog": [1, 2]})
    assert take_back(store, run) == tags.TagChange(added=1, removed=1, kept=1)
    assert current(store) == before


def test_taking_back_an_older_run_leaves_the_newer_one(store: Store) -> None:
    first = run_tags(store, {"dog": [0]})
    second = run_tags(store, {"dog": [1]})
    third = run_tags(store, {"dog": [2]})
    take_back(store, second, {third: ["dog"]})
    assert current(store) == {("p002.jpg", "dog", "auto")}
    take_back(store, third)
    assert current(store) == {("p000.jpg", "dog", "auto")}
    take_back(store, first)
    assert current(store) == set()


def test_taking_back_a_run_gives_each_label_to_the_next_run_that_speaks_for_it(
    store: Store,
) -> None:
    run_tags(store, {"dog": [0], "cat": [0], "sea": [0]})
    second = run_tags(store, {"dog": [1], "cat": [1], "sea": [1]})
    third = run_tags(store, {"cat": [2]})
    fourth = run_tags(store, {"dog": [2], "cat": [2]})
    later = {fourth: ["dog", "cat"], third: ["cat"]}
    assert take_back(store, second, later) == tags.TagChange(added=1, removed=1, kept=0)
    assert current(store) == {
        (f"p00{n}.jpg", name, "auto") for n, name in ((2, "dog"), (2, "cat"), (0, "sea"))
    }
    take_back(store, fourth)
    assert ("p000.jpg", "dog", "auto") in current(store)
    take_back(store, third)
    assert current(store) == {("p000.jpg", label, "auto") for label in ("dog", "cat", "sea")}


def test_a_run_never_touches_human_tags(store: Store) -> None:
    with transaction(store.engine) as session:
        photo = next(photo_queries.photos(session)).id
        assert tags.add_by_hand(session, [photo], "dog") == 1
        assert tags.add_by_hand(session, [photo, photo], "dog") == 0
    run = run_tags(store, {"dog": [1]})
    assert ("p000.jpg", "dog", "human") in current(store)
    take_back(store, run)
    assert current(store) == {("p000.jpg", "dog", "human")}


def test_a_person_can_remove_a_tag_whoever_set_it(store: Store) -> None:
    run_tags(store, {"dog": [0, 1]})
    with transaction(store.engine) as session:
        photo = next(photo_queries.photos(session)).id
        assert tags.remove_by_hand(session, [photo], "dog") == 1
        assert tags.remove_by_hand(session, [photo], "dog") == 0
    assert current(store) == {("p001.jpg", "dog", "auto")}


def test_a_tag_a_person_removed_does_not_come_back_with_an_older_run(store: Store) -> None:
    run_tags(store, {"dog": [0]})
    second = run_tags(store, {"dog": [0, 1]})
    with transaction(store.engine) as session:
        photo = next(photo_queries.photos(session)).id
        assert tags.remove_by_hand(session, [photo], "dog") == 1
    take_back(store, second)
    assert current(store) == set()


def test_tags_are_listed_by_label_source_and_run(store: Store) -> None:
    first = run_tags(store, {"dog": [0]})
    run_tags(store, {"cat": [0]})
    with reading(store.engine) as session:
        assert [tag.label for tag in tags.listed(session, run=first)] == ["dog"]
        assert [tag.label for tag in tags.listed(session, label="cat")] == ["cat"]
        assert list(tags.listed(session, source="human")) == []
        assert tags.counts(session) == {"auto": 2}


@given(
    steps=st.lists(
        st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 2), unique=True)),
        min_size=1,
        max_size=4,
    ),
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=15, deadline=None)
def test_taking_every_run_back_in_any_order_leaves_nothing(tmp_path_factory, steps, order) -> None:
    """And after each, the current tags are those of the newest remaining run of every label."""
    folder = tmp_path_factory.mktemp("tags")
    (folder / "photos").mkdir()
    store = Store.create(folder / ".mkt")
    made.fill(store, folder / "photos", 3)
    done = {run_tags(store, step): step for step in steps}
    runs_left = list(done)
    for run in order.sample(runs_left, len(runs_left)):
        runs_left.remove(run)
        take_back(store, run, {r: list(done[r]) for r in runs_left if r > run})
        newest = {label: numbers for r in runs_left for label, numbers in done[r].items()}
        expected = {(f"p{n:03}.jpg", label, "auto") for label, who in newest.items() for n in who}
        assert current(store) == expected
    store.close()
