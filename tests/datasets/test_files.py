"""Files of a dataset are read, or an error names the file and the line."""

from pathlib import Path

import pytest

from mkt_search.datasets.files import (
    names_on_disk,
    read_json,
    read_rows,
    read_text,
    require_folder,
    require_photos,
)
from mkt_search.errors import DatasetError
from tests.messages import Messages


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfsky")
    assert read_text(file) == "sky"
    assert list(read_rows(file)) == [(1, ["sky"])]


def test_json_that_is_malformed_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('{"a": 1,\n "b" 2}')
    with pytest.raises(DatasetError, match=r"a\.json:2: not JSON: Expecting"):
        read_json(file)


def test_rows_of_a_csv_carry_their_line_number(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('a,"b\nc"\nd,e\n')
    assert list(read_rows(file)) == [(2, ["a", "b\nc"]), (3, ["d", "e"])]
    with pytest.raises(DatasetError, match=r"none\.csv: cannot be read \(No such file"):
        list(read_rows(tmp_path / "none.csv"))


def test_missing_folders_and_photos_are_named(tmp_path: Path) -> None:
    require_folder(tmp_path)
    with pytest.raises(DatasetError, match=r"no folder .*nowhere.*--photos"):
        require_folder(tmp_path / "nowhere")
    (tmp_path / "a.jpg").touch()
    require_photos(tmp_path, ["a.jpg"], named_by=Path("l.json"))
    with pytest.raises(DatasetError, match=r"1 of the 2 photos that l\.json names .*'b\.jpg'"):
        require_photos(tmp_path, ["a.jpg", "b.jpg"], named_by=Path("l.json"))


def test_photos_on_disk_are_kept_and_the_others_reported(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    messages = Messages()
    names = {"a.jpg": "first", "b.jpg": "second"}
    assert names_on_disk(tmp_path, names, named_by=Path("l"), progress=messages) == ["first"]
    assert messages == [f"left out 1 photo not in {tmp_path}: b.jpg"]
    with pytest.raises(DatasetError, match="none of the 1 photos that l names"):
        names_on_disk(tmp_path, {"b.jpg": "second"}, named_by=Path("l"), progress=messages)
