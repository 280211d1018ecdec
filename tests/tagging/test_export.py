"""Tags out of the library, in three forms with the same columns."""

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from mkt_search.errors import MktError, StoreError
from mkt_search.tagging import export
from mkt_search.types import Tag

TAGS = [
    Tag(Path("/p/a.jpg"), "dog", 0.25, "auto", 3, parents=("animal",), p=0.75),
    Tag(Path("/p/a.jpg"), 'my "dog", Rex', None, "human", is_missing=True),
    Tag(Path("/p/two\nlines é.jpg"), "beach", -0.5, "auto", 4),
]


def test_csv_reads_back_as_written() -> None:
    text = io.StringIO()
    assert export.write_csv(TAGS, text) == 3
    rows = list(csv.reader(io.StringIO(text.getvalue())))
    assert rows == [
        ["path", "label", "score", "source", "run", "is_missing", "hierarchy", "p"],
        ["/p/a.jpg", "dog", "0.25", "auto", "3", "False", "animal|dog", "0.75"],
        ["/p/a.jpg", 'my "dog", Rex', "", "human", "", "True", 'my "dog", Rex', ""],
        ["/p/two\nlines é.jpg", "beach", "-0.5", "auto", "4", "False", "beach", ""],
    ]


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_text_that_a_spreadsheet_would_compute_is_made_harmless(sign: str) -> None:
    tag = Tag(Path(f"{sign}a.jpg"), f"{sign}1+1", -0.5, "auto", 1)
    written = []
    for raw in (False, True):
        text = io.StringIO(newline="")
        export.write_csv([tag], text, raw=raw)
        written.append(list(csv.reader(io.StringIO(text.getvalue(), newline="")))[1])
    assert written == [
        [f"'{sign}a.jpg", f"'{sign}1+1", "-0.5", "auto", "1", "False", f"'{sign}1+1", ""],
        [f"{sign}a.jpg", f"{sign}1+1", "-0.5", "auto", "1", "False", f"{sign}1+1", ""],
    ]


def test_csv_of_nothing_is_the_headings() -> None:
    text = io.StringIO()
    assert export.write_csv([], text) == 0
    assert text.getvalue() == "path,label,score,source,run,is_missing,hierarchy,p\n"


def test_json_is_one_array() -> None:
    text = io.StringIO()
    assert export.write_json(TAGS, text) == 3
    assert json.loads(text.getvalue()) == [export.as_data(tag) for tag in TAGS]
    assert json.loads(text.getvalue())[1]["score"] is None


def test_json_of_nothing_is_an_empty_array() -> None:
    text = io.StringIO()
    assert export.write_json([], text) == 0
    assert json.loads(text.getvalue()) == []


def test_name_that_is_not_text_does_not_break_an_export() -> None:
    text = io.StringIO()
    export.write_json([Tag(Path(os.fsdecode(b"/p/\xff.jpg")), "dog", None, "human")], text)
    assert json.loads(text.getvalue().encode("utf-8"))[0]["path"] == "/p/\\xff.jpg"


def test_parquet_reads_back_as_written(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "tags.parquet"
    assert export.write_parquet(TAGS, file, tags_per_row_group=2) == 3
    assert parquet.read_table(file).to_pylist() == [export.as_data(tag) for tag in TAGS]
    assert os.listdir(tmp_path) == ["tags.parquet"]


def test_parquet_of_nothing_keeps_its_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert export.write_parquet([], tmp_path / "tags.parquet") == 0
    assert parquet.read_table(tmp_path / "tags.parquet").column_names == list(export.COLUMNS)


def test_export_that_fails_leaves_the_earlier_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "tags.parquet"
    file.write_bytes(b"earlier")

    def broken() -> object:
        yield TAGS[0]
        raise RuntimeError("the database went away")

    with pytest.raises(RuntimeError):
        export.write_parquet(broken(), file)  # type: ignore[arg-type]
    assert file.read_bytes() == b"earlier"
    assert os.listdir(tmp_path) == ["tags.parquet"]


def test_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet")
    with pytest.raises(StoreError, match=r"tags\.parquet: cannot be written \(No such file"):
        export.write_parquet(TAGS, tmp_path / "absent" / "tags.parquet")


def test_without_pyarrow_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MktError, match=r"pip install 'mkt-search\[parquet\]'"):
        export.write_parquet(TAGS, tmp_path / "tags.parquet")
