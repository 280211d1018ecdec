"""Values of a database become objects only if some version of mkt could have written them."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, insert, select

from mkt_search.errors import LibraryDamaged
from mkt_search.store.sql import columns

GOOD: tuple[tuple[columns.Checked, Any], ...] = (
    (columns.Whole, 7),
    (columns.Big, 2**62),
    (columns.Number, 0.5),
    (columns.Text, "näme"),
    (columns.BytewiseText, "näme"),
    (columns.Bytes, b"\x00\xff"),
    (columns.Sha256, bytes(32)),
    (columns.Miniature, bytes((8, 9)) + bytes(72)),
    (columns.Side, 1),
    (columns.Time, datetime(2024, 5, 17)),
    (columns.Data, {"a": [1, None]}),
    (columns.DataOrNull, None),
    (columns.FolderPath, "/photos/\\xff"),
    (columns.PathBelow, "trip/..a/b..jpg"),
    (columns.FileName, "1-0a.safetensors"),
)
BAD: tuple[tuple[columns.Checked, Any], ...] = (
    *((columns.Whole, value) for value in ("x", b"1", 1.5)),
    *((columns.Number, value) for value in ("x", b"1")),
    *((columns.Text, value) for value in (b"x",)),
    *((columns.Bytes, value) for value in ("x", 7)),
    *((columns.Sha256, value) for value in ("x", b"", bytes(33))),
    *((columns.Miniature, value) for value in ("x", b"", bytes(2), bytes((8, 9)) + bytes(71))),
    *((columns.Side, value) for value in (0, -1, 1.5)),
    *((columns.Time, value) for value in ("x", b"\xff", 7)),
    *((columns.Data, value) for value in ("{", "[]", "7", b"\xff", "[" * 100_000, "9" * 5_000)),
    *((columns.FolderPath, value) for value in ("a\0", "a\\q", b"x")),
    *((columns.PathBelow, value) for value in ("/a", "..", "a/../b", "../a", "a\0", b"x")),
    *((columns.FileName, value) for value in ("/a", "..", "a/b", "", b"a", ".a")),
)


def stored(kind: columns.Checked, value: Any, *, raw: bool) -> Any:
    """Write a value, past the type of the column if `raw`, and read it."""
    engine = create_engine("sqlite://")
    table = Table("t", MetaData(), Column("a", kind))
    with engine.connect() as connection:
        table.create(connection)
        if raw:
            connection.exec_driver_sql("INSERT INTO t VALUES (?)", (value,))
        else:
            connection.execute(insert(table), {"a": value})
        found = connection.execute(select(table.c.a)).scalar()
    engine.dispose()
    return found


@pytest.mark.parametrize(("kind", "value"), GOOD)
def test_a_value_comes_back(kind: columns.Checked, value: Any) -> None:
    assert stored(kind, value, raw=False) == value
    assert stored(kind, None, raw=True) is None


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_a_value_of_another_kind_is_refused(kind: columns.Checked, value: Any) -> None:
    with pytest.raises(LibraryDamaged, match=r"^The database has an impossible value \("):
        stored(kind, value, raw=True)
