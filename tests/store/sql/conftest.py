"""An empty database in memory, for tests of single queries; the contract tests both databases."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session

from mkt_search.store.manifest import StoredFile
from mkt_search.store.sql import contents, encodings, vectors
from mkt_search.store.sql.database import open_engine, transaction
from mkt_search.store.sql.schema import Base, Photo, Revision, Root
from tests import made


@pytest.fixture
def session() -> Iterator[Session]:
    engine = open_engine("sqlite://")
    Base.metadata.create_all(engine)
    with transaction(engine) as session:
        session.add(Revision(number=0, since=0))
        yield session
    engine.dispose()


@dataclass
class Rows:
    """Adds rows of photos and vectors without files."""

    session: Session
    roots: dict[str, int] = field(default_factory=dict)

    def root(self, path: str = "/photos") -> int:
        """Return the id of a root, new or not."""
        if path not in self.roots:
            row = Root(path=path)
            self.session.add(row)
            self.session.flush()
            self.roots[path] = row.id
        return self.roots[path]

    def photo(self, path: str, *, root: str = "/photos", **columns: Any) -> Photo:
        """Add an indexed photo; `content` is a name for its bytes, by default the path."""
        name = columns.pop("content", path)
        sha = made.sha(name)
        values = {"size": 10, "mtime_ns": 1, "state": "indexed", **columns}
        row = Photo(root_id=self.root(root), path=path, **values)
        row.content_id = contents.add(self.session, [sha])[sha]
        self.session.add(row)
        self.session.flush()
        return row

    def encoding(self, *, state: str = "active", **changes: Any) -> int:
        """Add an encoding; return its id."""
        encoding = made.encoding(**changes)
        return encodings.add(self.session, encoding, model="made", state=state).id

    def segment(self, encoding_id: int, file: str, content_ids: list[int | None]) -> None:
        """Name a segment with the vectors of some contents."""
        ids = [id_ for id_ in content_ids if id_ is not None]
        vectors.add_segment(self.session, encoding_id, StoredFile(file, 100, b"\0" * 32), ids)


@pytest.fixture
def rows(session: Session) -> Rows:
    return Rows(session)


NOON = datetime(2024, 5, 17, 12)
