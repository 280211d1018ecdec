"""Listings of photos: text, CSV and Parquet."""

from pathlib import Path

import pytest

from indexer.shards.listing import read_listing
from mkt_search.errors import PlanError
from mkt_search.paths import path_to_text

NAMES = ["a b/1.jpg", "Köln.jpg", 'x,"y".jpg']


def test_a_text_file_has_a_path_a_line_in_any_bytes(tmp_path: Path) -> None:
    names = [b"a b/1.jpg", "Köln.jpg".encode(), b"old-\xff.jpg"]
    (tmp_path / "list.txt").write_bytes(b"\n".join(names) + b"\n\n")
    assert list(read_listing(tmp_path / "list.txt")) == [path_to_text(name) for name in names]


def test_a_table_has_a_column_path(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"size": [1, 2, 3], "path": NAMES})
    parquet.write_table(table, tmp_path / "list.parquet")
    quoted = "\n".join('1,"' + name.replace('"', '""') + '"' for name in NAMES)
    (tmp_path / "list.csv").write_text(f"size,path\n{quoted}\n", "utf-8")
    for name in ("list.parquet", "list.csv"):
        assert list(read_listing(tmp_path / name)) == NAMES


def test_what_is_no_listing_is_refused_with_its_name(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"file": NAMES}), tmp_path / "file.parquet")
    (tmp_path / "file.csv").write_text("file\na.jpg\n")
    (tmp_path / "bytes.csv").write_bytes(b"path\n\xff\xfe")
    (tmp_path / "bytes.parquet").write_bytes(b"PAR1 and no more")
    for name, why in [
        ("file.parquet", "has no column `path`"),
        ("file.csv", "has no column `path`"),
        ("bytes.csv", "not a CSV file"),
        ("bytes.parquet", "not a Parquet file"),
        ("none.txt", "cannot be read"),
    ]:
        with pytest.raises(PlanError, match=f"{name}: {why}"):
            list(read_listing(tmp_path / name))
