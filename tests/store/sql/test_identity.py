"""The id of the library that a database belongs to."""

from sqlalchemy.orm import Session

from mkt_search.store.sql import identity


def test_a_database_belongs_to_the_first_library_that_takes_it(session: Session) -> None:
    assert identity.read(session) is None
    identity.write(session, "one")
    identity.write(session, "another")
    assert identity.read(session) == "one"
