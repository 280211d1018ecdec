"""The demo works only in a new folder or in its own."""

from pathlib import Path

from mkt_search.demo.folder import is_ours


def test_a_folder_is_ours_if_it_is_new_empty_or_marked(tmp_path: Path) -> None:
    assert is_ours(tmp_path / "new", "mark.txt")
    assert is_ours(tmp_path, "mark.txt")
    (tmp_path / "mark.txt").touch()
    (tmp_path / "other.txt").touch()
    assert is_ours(tmp_path, "mark.txt")
    assert not is_ours(tmp_path, "another.txt")
