"""Judgements belong to contents, and of two on one picture the later counts."""

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.sql import hand_tags, judgements
from mkt_search.store.sql.schema import JudgementRow, LabelRow, Photo
from tests import made
from tests.store.sql.conftest import Rows


def give(session: Session, label: str, **photos: tuple[Photo, bool]) -> None:
    """Judge photos as Ann did by model 1."""
    answers = {photo.id: is_yes for photo, is_yes in photos.values()}
    judgements.add(session, label, answers, person="ann", model="1")


def judged(session: Session, label: str | None = None) -> list[tuple[str, str, bool, bool]]:
    found = judgements.listed(session, label=label)
    return [(one.label, one.path.name, one.is_yes, one.is_missing) for one in found]


def test_copies_share_a_judgement(session: Session, rows: Rows) -> None:
    one, copy = rows.photo("a.jpg"), rows.photo("copy.jpg", content="a.jpg")
    give(session, "dog", one=(one, True))
    assert judged(session) == [("dog", "a.jpg", True, False), ("dog", "copy.jpg", True, False)]
    give(session, "DOG", copy=(copy, False))
    assert [is_yes for _, _, is_yes, _ in judged(session, "Dog")] == [False, False]
    [found, _] = judgements.listed(session, label="dog")
    assert (found.person, found.model) == ("ann", "1")


def test_answers_are_found_by_any_spelling_of_a_label(session: Session, rows: Rows) -> None:
    one, other = rows.photo("a.jpg"), rows.photo("b.jpg")
    give(session, "dog", one=(one, True), other=(other, False))
    assert judgements.of_labels(session, ["Dog", "cat"]) == {
        "Dog": {one.content_id: True, other.content_id: False}
    }


def test_judgements_are_withdrawn_of_some_photos_or_all(session: Session, rows: Rows) -> None:
    one, other = rows.photo("a.jpg"), rows.photo("b.jpg")
    give(session, "dog", one=(one, True), other=(other, False))
    give(session, "cat", one=(one, False))
    assert judgements.remove(session, "dog", [one.id]) == 1
    assert judgements.remove(session, "dog", [one.id]) == 0
    assert judgements.remove(session, "bird", None) == 0
    assert judgements.remove(session, "dog", None) == 1
    assert judged(session) == [("cat", "a.jpg", False, False)]
    assert list(session.scalars(select(LabelRow.name))) == ["cat"]


def test_an_edit_gets_the_judgements_and_the_later_ones_count(session: Session, rows: Rows) -> None:
    old, new = rows.photo("old.jpg"), rows.photo("new.jpg")
    give(session, "dog", old=(old, True), new=(new, False))
    give(session, "cat", old=(old, True), new=(new, False))
    give(session, "sea", old=(old, True))
    dog = select(LabelRow.id).where(LabelRow.name == "dog").scalar_subquery()
    is_old_dog = (JudgementRow.content_id == old.content_id, JudgementRow.label_id == dog)
    [row] = session.scalars(select(JudgementRow).where(*is_old_dog))
    row.created_at += timedelta(hours=1)
    session.flush()
    assert old.content_id is not None and new.content_id is not None
    judgements.carry(session, old.content_id, new.content_id)
    found = {(label, name): is_yes for label, name, is_yes, _ in judged(session)}
    assert found["dog", "new.jpg"] and found["sea", "new.jpg"] and not found["cat", "new.jpg"]
    assert found["dog", "old.jpg"] and found["cat", "old.jpg"]


def test_a_judged_picture_is_one_that_a_person_spoke_of(session: Session, rows: Rows) -> None:
    one = rows.photo("a.jpg")
    rows.photo("b.jpg")
    give(session, "dog", one=(one, True))
    asked = {made.sha(name) for name in ("a.jpg", "b.jpg")}
    assert hand_tags.spoken_of(session, asked) == {made.sha("a.jpg")}


def test_a_judgement_waits_for_a_photo_that_is_missing(session: Session, rows: Rows) -> None:
    gone = rows.photo("gone.jpg", state="missing")
    give(session, "dog", gone=(gone, True))
    assert judged(session) == [("dog", "gone.jpg", True, True)]
    rows.photo("copy.jpg", content="gone.jpg")
    assert judged(session) == [("dog", "copy.jpg", True, False)]
