"""Filters as conditions of a query."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from mkt_search.store.sql import hand_tags
from mkt_search.store.sql.filters import filtered, like_pattern
from mkt_search.store.sql.schema import Photo, Root
from mkt_search.types import Filters
from tests.store.sql.conftest import NOON, Rows


@pytest.fixture
def photos(session: Session, rows: Rows) -> Session:
    rows.photo("trip/a_1.jpg", camera="Pinhole 3000", width=400, height=300, taken_at=NOON)
    rows.photo("trip/ab1.jpg", camera="100% Cam", width=300, height=400)
    rows.photo("home/c.png", root="/Scans", taken_at=NOON + timedelta(days=1))
    tagged = rows.photo("home/d.jpg", camera="Zo\u00e9 3")
    hand_tags.add(session, [tagged.id], "dog")
    return session


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), ["home/c.png", "home/d.jpg", "trip/a_1.jpg", "trip/ab1.jpg"]),
        (Filters(path="TRIP/"), ["trip/a_1.jpg", "trip/ab1.jpg"]),
        (Filters(path="a_1"), ["trip/a_1.jpg"]),
        (Filters(path="trip/a?1.jpg"), ["trip/a_1.jpg", "trip/ab1.jpg"]),
        (Filters(path="/scans/*.png"), ["home/c.png"]),
        (Filters(path="*.jpg", min_width=400), ["trip/a_1.jpg"]),
        (Filters(min_height=301), ["trip/ab1.jpg"]),
        (Filters(camera="pinhole"), ["trip/a_1.jpg"]),
        (Filters(camera="0%"), ["trip/ab1.jpg"]),
        (Filters(camera="ZOE\u0301 3"), ["home/d.jpg"]),
        (Filters(after=NOON), ["home/c.png", "trip/a_1.jpg"]),
        (Filters(before=NOON), []),
        (Filters(after=NOON, before=NOON + timedelta(days=1)), ["trip/a_1.jpg"]),
        (Filters(tag="dog"), ["home/d.jpg"]),
        (Filters(tag="DOG\u200b"), ["home/d.jpg"]),
        (Filters(tag="do"), []),
    ],
    ids=str,
)
def test_all_conditions_must_hold(photos: Session, filters: Filters, expected: list[str]) -> None:
    query = select(Photo.path).join(Root, Root.id == Photo.root_id)
    assert sorted(photos.scalars(filtered(query, filters))) == expected


def test_a_removed_tag_does_not_count(photos: Session) -> None:
    tagged = photos.scalars(select(Photo.id).where(Photo.path == "home/d.jpg")).one()
    hand_tags.remove(photos, [tagged], "dog")
    query = select(Photo.path).join(Root, Root.id == Photo.root_id)
    assert not list(photos.scalars(filtered(query, Filters(tag="dog"))))


@pytest.mark.parametrize(
    ("glob", "pattern"),
    [
        ("trip", "%trip%"),
        ("*.jpg", "%.jpg"),
        ("a?c", "a_c"),
        ("100%", "%100\\%%"),
        ("a_b*", "a\\_b%"),
        ("", "%%"),
    ],
)
def test_globs_become_patterns(glob: str, pattern: str) -> None:
    assert like_pattern(glob) == pattern
