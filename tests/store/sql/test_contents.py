"""Contents: ids of bytes, which of them have vectors, and what is known of copies."""

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged
from mkt_search.store.sql import contents
from mkt_search.store.sql.schema import Content
from mkt_search.store.sql.statements import VALUES_PER_LIST
from mkt_search.types import Filters, PhotoFacts
from tests import made
from tests.store.sql.conftest import NOON, Rows

A, B, C = (made.sha(name) for name in "abc")


def test_ids_rise_in_the_order_given_and_stay(session: Session) -> None:
    first = contents.add(session, [B, A, B])
    assert first[B] < first[A]
    second = contents.add(session, [A, C])
    assert second[A] == first[A] and second[C] > first[A]
    assert contents.ids_of(session, [A, B, made.sha("unknown")]) == first


def test_the_id_of_a_deleted_content_is_never_given_again(session: Session) -> None:
    first = contents.add(session, [A, B])
    session.execute(delete(Content))
    assert contents.add(session, [C])[C] > max(first.values())


def test_the_hashes_of_contents_are_checked(session: Session) -> None:
    ids = contents.add(session, [A, B])
    assert contents.sha256s(session, [ids[A], 999]) == {ids[A]: bytes.fromhex(A)}
    session.execute(update(Content).where(Content.id == ids[B]).values(checksum=1))
    with pytest.raises(LibraryDamaged, match=r"Restore mkt\.db"):
        contents.sha256s(session, list(ids.values()))


def test_more_contents_than_one_statement_takes(session: Session) -> None:
    many = [made.sha(str(number)) for number in range(VALUES_PER_LIST + 5)]
    assert contents.ids_of(session, many) == {}
    added = contents.add(session, many)
    assert contents.ids_of(session, many) == added
    assert list(added.values()) == sorted(added.values())


def test_vectors_belong_to_an_encoding(session: Session, rows: Rows) -> None:
    first, second = rows.encoding(), rows.encoding(state="building", m=3)
    ids = contents.add(session, [A, B])
    rows.segment(first, "one", [ids[A]])
    assert contents.with_vectors(session, [A, B, C], [first]) == {A}
    assert contents.with_vectors(session, [A, B, C], [second]) == set()


def test_only_indexed_photos_match(session: Session, rows: Rows) -> None:
    kept = rows.photo("a.jpg", camera="Pinhole")
    rows.photo("copy/a.jpg", content="a.jpg")
    rows.photo("b.jpg", state="missing", camera="Pinhole")
    other = rows.photo("c.jpg")
    assert set(contents.matching(session, Filters())) == {kept.content_id, other.content_id}
    assert contents.matching(session, Filters(camera="pin")) == [kept.content_id]


def test_contents_of_photos_in_any_state(session: Session, rows: Rows) -> None:
    first = rows.photo("a.jpg", state="failed")
    second = rows.photo("b.jpg", state="missing")
    rows.photo("c.jpg")
    found = contents.of_photos(session, [first.id, second.id, 999])
    assert found == {first.content_id, second.content_id}


def test_copies_have_the_facts_of_the_oldest_readable_photo(session: Session, rows: Rows) -> None:
    encoding = rows.encoding()
    facts = {"width": 40, "height": 30, "format": "PNG", "orientation": 6, "taken_at": NOON}
    rows.photo("failed.jpg", content="a", state="failed", width=1, height=1, format="PNG")
    gone = rows.photo("gone.jpg", content="a", state="missing", **facts)
    rows.photo("newer.jpg", content="a", **{**facts, "width": 99})
    rows.segment(encoding, "one", [gone.content_id])
    found = contents.copies(session, [A, B], encoding)
    assert found.encoded == {A}
    assert found.facts == {A: PhotoFacts(40, 30, "PNG", orientation=6, taken_at=NOON)}
    assert found.missing == {A: [(gone.id, "gone.jpg")]}
