"""One library for each test, with its catalog in each database that the program supports."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mkt_search.store.store import Store
from tests.postgres import PostgresServer, postgres

__all__ = ["postgres"]

# A server costs many seconds: the fast tests use SQLite alone.
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]
NewStore = Callable[[Path], Store]


@pytest.fixture(params=DATABASES)
def new_url(request: pytest.FixtureRequest) -> Callable[[], str | None]:
    """Return the URL of an empty database; None is SQLite in the library's folder."""
    if request.param == "sqlite":
        return lambda: None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_url


@pytest.fixture
def url(new_url: Callable[[], str | None]) -> str | None:
    """The URL of the test's database."""
    return new_url()


@pytest.fixture
def store(tmp_path: Path, url: str | None) -> Iterator[Store]:
    """An empty library in tmp_path/.mkt."""
    store = Store.create(tmp_path / ".mkt", url=url)
    yield store
    store.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for photos."""
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"
