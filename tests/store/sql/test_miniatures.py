"""A content has at most one miniature, which is found by its SHA-256."""

from sqlalchemy.orm import Session

from mkt_search.store.sql import miniatures
from tests import made
from tests.store.sql.conftest import Rows


def of_shade(shade: int) -> bytes:
    return bytes((8, 8)) + bytes([shade]) * 64


def test_a_content_keeps_its_first_miniature(session: Session, rows: Rows) -> None:
    one, other = (rows.photo(name).content_id or 0 for name in ("a.jpg", "b.jpg"))
    miniatures.add(session, {one: of_shade(1)})
    miniatures.add(session, {one: of_shade(3), other: of_shade(2)})
    miniatures.add(session, {})
    asked = {made.sha(name) for name in ("a.jpg", "b.jpg", "unknown")}
    expected = {made.sha("a.jpg"): of_shade(1), made.sha("b.jpg"): of_shade(2)}
    assert miniatures.of_contents(session, asked) == expected
    miniatures.delete_of(session, [one])
    assert miniatures.of_contents(session, asked).keys() == {made.sha("b.jpg")}
