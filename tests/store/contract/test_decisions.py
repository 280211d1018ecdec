"""A review: what is proposed, what a decision does, and that it can be taken back exactly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from mkt_search.errors import QueryError
from mkt_search.store.records import Batch, Choice, Decision, Proposal, ReviewQueue
from mkt_search.store.store import Store
from mkt_search.types import NO_FILTERS
from tests import made
from tests.store.contract.test_tags import SHAS, fill, ids_of, run_of, tag

TABLES = {
    "tag": "photo_id, label_id, source, score, p, run_id, superseded_by, created_at",
    "hand_tag": "content_id, label_id, source, created_at",
    "refusal": "content_id, label_id, created_at",
}


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    """Photos a, b and c with the tag dog of run 2, b also of run 1; "copy of a" is a's copy."""
    fill(store, root)
    tag(store, ["dog", "cat"], [(1, "dog"), (2, "cat")])
    tag(store, ["dog"], [(0, "dog"), (1, "dog"), (2, "dog")])
    return store


def state(store: Store) -> dict[str, list[Any]]:
    """Return every tag and every word of a person; ids of rows mean nothing."""
    with store.catalog.engine.connect() as connection:
        return {
            table: sorted(map(str, connection.execute(text(f"SELECT {columns} FROM {table}"))))
            for table, columns in TABLES.items()
        }


def proposed(store: Store, label: str = "dog", **wanted: Any) -> list[Proposal]:
    return store.catalog.proposals(label, **{"count": 50, **wanted})


def names(store: Store, found: Sequence[Proposal]) -> list[str]:
    by_id = {photo.id: photo.relative for photo in store.catalog.photos()}
    return [by_id[one.photo] for one in found]


def decide(store: Store, verdict: Choice, *photos: str, label: str = "dog") -> int:
    decisions = [Decision(id_, verdict) for id_ in ids_of(store, *photos)]
    batch, _ = store.catalog.decide(label, decisions)
    assert batch is not None
    return batch


def human(store: Store) -> set[tuple[str, str]]:
    return {(one.path.name, one.label) for one in store.catalog.tags(source="human")}


def refused(store: Store) -> set[tuple[str, str]]:
    return {(one.path.name, one.label) for one in store.catalog.refusals(filters=NO_FILTERS)}


def test_a_queue_has_every_picture_once_and_loses_what_is_decided(filled: Store) -> None:
    assert filled.catalog.review_queues() == [
        ReviewQueue("cat", 1, undecided=1),
        ReviewQueue("dog", 2, undecided=3),
    ]
    assert names(filled, proposed(filled)) == ["a.jpg", "b.jpg", "c.jpg"]
    decide(filled, "accept", "copy of a.jpg")
    decide(filled, "reject", "c.jpg")
    assert names(filled, proposed(filled)) == ["b.jpg"]
    assert filled.catalog.review_queues()[1] == ReviewQueue("dog", 2, 1, accepted=1, rejected=1)
    assert human(filled) == {("a.jpg", "dog"), ("copy of a.jpg", "dog")}
    assert refused(filled) == {("c.jpg", "dog")}
    assert {one.path.name for one in filled.catalog.tags(label="dog", source="auto")} == {
        *("a.jpg", "copy of a.jpg", "b.jpg")
    }


def test_proposals_come_best_first_page_by_page(filled: Store) -> None:
    with filled.catalog.engine.begin() as connection:
        for photo, score in zip(ids_of(filled, "b.jpg", "c.jpg"), (0.25, 0.75), strict=True):
            connection.execute(
                text("UPDATE tag SET score = :score WHERE photo_id = :photo"),
                {"photo": photo, "score": score},
            )
    whole = proposed(filled)
    assert names(filled, whole) == ["c.jpg", "a.jpg", "b.jpg"]
    assert [one.content for one in whole] == [SHAS[2], SHAS[0], SHAS[1]]
    pages, after = [], None
    while page := proposed(filled, count=1, after=after):
        pages += page
        after = (page[0].score, page[0].photo)
    assert pages == whole
    assert proposed(filled, run=1) == [] and len(proposed(filled, "cat", run=1)) == 1


@pytest.mark.parametrize("verdict", ["accept", "reject"])
def test_undoing_restores_exactly_what_was_there(filled: Store, verdict: Choice) -> None:
    filled.catalog.add_tag(ids_of(filled, "b.jpg"), "dog")
    filled.catalog.remove_tag(ids_of(filled, "c.jpg"), "dog")
    before = state(filled)
    batch = decide(filled, verdict, "a.jpg", "b.jpg", "c.jpg")
    assert state(filled) != before
    last = filled.catalog.last_decisions()
    assert last is not None and (last.id, last.label) == (batch, "dog")
    assert {(one.photo, one.verdict) for one in last.decisions} == {
        (id_, verdict) for id_ in ids_of(filled, "a.jpg", "b.jpg", "c.jpg")
    }
    assert filled.catalog.undo_decisions(batch) == 3
    assert state(filled) == before
    assert filled.catalog.undo_decisions(batch) == 0
    assert filled.catalog.last_decisions() is None
    with pytest.raises(QueryError, match="no decision 99"):
        filled.catalog.undo_decisions(99)


def test_of_two_decisions_on_a_photo_the_last_counts(filled: Store) -> None:
    [photo] = ids_of(filled, "a.jpg")
    decisions = [Decision(photo, "reject"), Decision(photo, "accept"), Decision(10**6, "accept")]
    assert filled.catalog.decide("dog", decisions) == (1, 1)
    assert human(filled) == {("a.jpg", "dog"), ("copy of a.jpg", "dog")}
    assert filled.catalog.decide("dog", decisions[:1]) == (2, 1)
    assert filled.catalog.decide("dog", decisions[:1]) == (3, 0)
    assert (human(filled), refused(filled)) == (
        set(),
        {("a.jpg", "dog"), ("copy of a.jpg", "dog")},
    )
    assert filled.catalog.review_queues()[1] == ReviewQueue("dog", 2, 2, rejected=1)
    assert filled.catalog.decide("dog", decisions[2:]) == (None, 0)


def test_a_decision_on_bytes_that_the_photo_no_longer_has_does_not_count(filled: Store) -> None:
    [photo] = ids_of(filled, "a.jpg")
    other = Decision(photo, "accept", content=SHAS[1])
    assert filled.catalog.decide("dog", [other]) == (None, 0)
    assert filled.catalog.decide("dog", [Decision(photo, "accept", content=SHAS[0])])[1] == 1


def test_what_a_person_said_after_a_decision_stays(filled: Store) -> None:
    batch = decide(filled, "accept", "a.jpg", "b.jpg")
    filled.catalog.remove_tag(ids_of(filled, "a.jpg"), "dog")
    assert filled.catalog.undo_decisions(batch) == 1
    assert ("a.jpg", "dog") in refused(filled) and human(filled) == set()


def test_tags_of_a_run_that_was_taken_back_do_not_return(filled: Store) -> None:
    batch = decide(filled, "reject", "a.jpg", "b.jpg")
    filled.catalog.revert_run(2)
    filled.catalog.undo_decisions(batch)
    assert {one.path.name for one in filled.catalog.tags(label="dog")} == {"b.jpg"}  # of run 1


def test_a_later_run_replaces_what_undoing_restores(filled: Store) -> None:
    batch = decide(filled, "reject", "a.jpg", "b.jpg")
    third = run_of(tag(filled, ["dog"], [(0, "dog"), (2, "dog")]))
    filled.catalog.undo_decisions(batch)
    assert {one.path.name for one in filled.catalog.tags(label="dog")} == {"c.jpg"}
    filled.catalog.revert_run(third)
    assert {one.path.name for one in filled.catalog.tags(label="dog")} == {
        *("a.jpg", "copy of a.jpg", "b.jpg", "c.jpg")
    }


def test_a_photo_that_shows_something_else_now_gets_no_old_tags(filled: Store, root: Path) -> None:
    batch = decide(filled, "reject", "b.jpg")
    assert filled.active is not None
    other = made.photo(root, "b.jpg", row=0, content=made.sha("other"))
    filled.add(made.location(filled, root), filled.active, Batch([other], (), made.vectors(1, 9)))
    filled.catalog.undo_decisions(batch)
    shown = filled.catalog.tags(photo=ids_of(filled, "b.jpg")[0])
    assert [one.label for one in shown] == []


def test_a_label_that_only_a_decision_names_is_kept_for_its_undoing(filled: Store) -> None:
    before = state(filled)
    batch = decide(filled, "reject", "c.jpg", label="cat")
    filled.catalog.allow_label(ids_of(filled, "c.jpg"), "cat")
    decide(filled, "reject", "c.jpg", label="cat")
    filled.catalog.undo_decisions(2)
    filled.catalog.undo_decisions(batch)
    assert state(filled)["tag"] != before["tag"]  # the person allowed it since: their later word
    batch = decide(filled, "accept", "c.jpg", label="new")
    filled.catalog.undo_decisions(batch)
    assert {one.label for one in filled.catalog.tags()} == {"dog"}


def test_pruning_a_picture_takes_its_decisions_along(filled: Store) -> None:
    batch = decide(filled, "accept", "c.jpg")
    filled.catalog.mark_missing(ids_of(filled, "c.jpg"))
    with filled.writing("test"):
        filled.vectors.prune(tagged=True)
    last = filled.catalog.last_decisions()
    assert last is None or last.decisions == ()
    assert list(filled.vectors.integrity_problems()) == []
    with pytest.raises(QueryError, match=f"no decision {batch}"):
        filled.catalog.undo_decisions(batch)


photos = st.sampled_from(["a.jpg", "copy of a.jpg", "b.jpg", "c.jpg"])
verdicts = st.sampled_from(["accept", "reject"])
batches = st.lists(
    st.tuples(st.sampled_from(["dog", "cat"]), st.dictionaries(photos, verdicts, min_size=1)),
    min_size=1,
    max_size=5,
)


@pytest.mark.slow
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches, st.randoms(use_true_random=False))
def test_undoing_all_decisions_in_any_order_ends_where_they_began(
    filled: Store, made_: list[tuple[str, dict[str, Choice]]], random: Any
) -> None:
    before = state(filled)
    ids = []
    for label, decided in made_:
        decisions = [
            Decision(ids_of(filled, name)[0], verdict) for name, verdict in decided.items()
        ]
        ids.append(filled.catalog.decide(label, decisions)[0])
    random.shuffle(ids)
    for id_ in ids:
        filled.catalog.undo_decisions(id_ or 0)
    assert state(filled) == before
