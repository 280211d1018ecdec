"""The id that a library's folder has."""

from pathlib import Path

from mkt_search.store import identity


def test_a_folder_has_the_id_that_it_was_given(tmp_path: Path) -> None:
    assert identity.read(tmp_path) is None
    first = identity.new()
    identity.write(tmp_path, first)
    assert identity.read(tmp_path) == first != identity.new()


def test_a_file_that_cannot_be_read_is_no_id(tmp_path: Path) -> None:
    (tmp_path / identity.FILE).write_bytes(b"\xff\xfe")
    assert identity.read(tmp_path) is None
    (tmp_path / identity.FILE).write_text("")
    assert identity.read(tmp_path) is None
