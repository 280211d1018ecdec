"""A person's tags belong to contents: copies share them, and only a person removes them."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.errors import QueryError
from mkt_search.store.sql import auto_tags, hand_tags, runs, tags
from mkt_search.store.sql.schema import Photo
from tests import made
from tests.store.sql.conftest import Rows


def shown(session: Session) -> list[tuple[str, str, bool]]:
    return [(tag.path.name, tag.label, tag.is_missing) for tag in tags.current(session)]


def test_copies_share_tags_and_their_removal(session: Session, rows: Rows) -> None:
    one, copy = rows.photo("a.jpg"), rows.photo("copy.jpg", content="a.jpg")
    other = rows.photo("b.jpg")
    assert hand_tags.add(session, [one.id, other.id], "mine") == 2
    assert hand_tags.add(session, [copy.id, copy.id], "mine") == 0
    assert shown(session) == [
        ("a.jpg", "mine", False),
        ("b.jpg", "mine", False),
        ("copy.jpg", "mine", False),
    ]
    assert tags.count_by_source(session) == {"human": 3}
    assert hand_tags.remove(session, [copy.id], "mine") == 1
    assert shown(session) == [("b.jpg", "mine", False)]


def test_a_removal_takes_the_tags_of_runs_from_copies_too(session: Session, rows: Rows) -> None:
    one, copy = rows.photo("a.jpg"), rows.photo("copy.jpg", content="a.jpg")
    run = runs.start(session, "tag", {}, "test")
    label = tags.label_ids(session, ["dog"])["dog"]
    auto_tags.add(session, run, [(one.id, label, 0.5, None), (copy.id, label, 0.5, None)])
    assert hand_tags.remove(session, [one.id], "dog") == 1
    assert shown(session) == []
    assert hand_tags.remove(session, [one.id], "dog") == 0


def test_a_missing_photo_shows_tags_only_if_its_picture_is_nowhere_else(
    session: Session, rows: Rows
) -> None:
    gone = rows.photo("gone.jpg", state="missing")
    hand_tags.add(session, [gone.id], "mine")
    assert shown(session) == [("gone.jpg", "mine", True)]
    rows.photo("copy.jpg", content="gone.jpg")
    assert shown(session) == [("copy.jpg", "mine", False)]


def test_a_photo_that_could_never_be_read_is_refused(session: Session, rows: Rows) -> None:
    photo = rows.photo("a.jpg", state="failed")
    photo.content_id = None
    with pytest.raises(QueryError, match=r"a\.jpg could never be read.*mkt index --retry"):
        hand_tags.add(session, [photo.id], "mine")


def test_an_edit_gets_the_tags_and_keeps_its_own(session: Session, rows: Rows) -> None:
    old, new = rows.photo("old.jpg"), rows.photo("new.jpg")
    for photo, label in ((old, "dog"), (old, "sea"), (new, "sea"), (new, "sky")):
        hand_tags.add(session, [photo.id], label)
    assert old.content_id is not None and new.content_id is not None
    hand_tags.carry(session, old.content_id, new.content_id)
    assert [label for name, label, _ in shown(session) if name == "new.jpg"] == [
        *("dog", "sea", "sky")
    ]
    assert [label for name, label, _ in shown(session) if name == "old.jpg"] == ["dog", "sea"]


def test_it_is_known_which_contents_a_person_tagged(session: Session, rows: Rows) -> None:
    tagged, other = rows.photo("a.jpg"), rows.photo("b.jpg")
    hand_tags.add(session, [tagged.id], "mine")
    asked = {made.sha(name) for name in ("a.jpg", "b.jpg", "unknown")}
    assert hand_tags.spoken_of(session, asked) == {made.sha("a.jpg")}
    assert [hand_tags.is_tagged(session, photo.content_id or 0) for photo in (tagged, other)] == [
        True,
        False,
    ]
    found = session.scalars(
        select(Photo.path).where(Photo.content_id.in_(hand_tags.WITHOUT_MINIATURE))
    )
    assert list(found) == ["a.jpg"]
