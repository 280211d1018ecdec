"""`mkt init`: a library and a settings file, never over what is there."""

import tomllib
from pathlib import Path

import pytest

from mkt_search.settings import config
from tests.command_line import mkt


def test_makes_a_library_here_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = mkt("init")
    assert (tmp_path / ".mkt" / "mkt.db").is_file()
    assert "created the library .mkt" in result.stderr
    assert "mkt index FOLDER" in result.stderr
    assert result.stdout == ""


def test_makes_the_folder_too(tmp_path: Path) -> None:
    mkt("init", tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / ".mkt").is_dir()


def test_settings_file_changes_nothing_until_edited(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    text = (tmp_path / "mkt.toml").read_text()
    assert list(tomllib.loads(text)) == list(config.SECTIONS)
    assert not any(tomllib.loads(text).values())
    assert "# batch_size = 32" in text


def test_settings_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "mkt.toml").write_text("[search]\nk = 3\n")
    mkt("init", tmp_path)
    assert (tmp_path / "mkt.toml").read_text() == "[search]\nk = 3\n"


def test_second_time_changes_nothing_and_says_so(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    assert "found the library" in mkt("init", tmp_path).stderr


def test_database_goes_into_the_settings_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    mkt("init", tmp_path / "home", "--database", url)
    assert (tmp_path / "elsewhere.db").is_file()
    assert config.load(tmp_path / "home", environ={}).library.database == url
    assert mkt("status", "--library", tmp_path / "home").stdout


def test_database_beside_a_settings_file_is_refused_with_the_line_to_write(tmp_path: Path) -> None:
    (tmp_path / "mkt.toml").write_text("")
    result = mkt("init", tmp_path, "--database", "sqlite:///x.db", code=1)
    assert 'write `database = "sqlite:///x.db"` under [library]' in result.stderr
    assert not (tmp_path / ".mkt").exists()


def test_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = mkt("init", tmp_path / "file", code=1)
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("url", ["nonsense", "nonsense://here"])
def test_database_url_that_means_nothing_is_refused(tmp_path: Path, url: str) -> None:
    result = mkt("init", tmp_path, "--database", url, code=1)
    assert result.stderr.startswith("Error: The database URL cannot be used (")
    assert not (tmp_path / "mkt.toml").exists()


def test_damaged_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    (tmp_path / ".mkt" / "mkt.db").write_bytes(b"garbage" * 100)
    assert "The database file is damaged" in mkt("init", tmp_path, code=1).stderr


def test_file_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("milk")
    result = mkt("status", "--library", tmp_path / "notes", code=1)
    assert (
        result.stderr
        == f"Error: {tmp_path / 'notes'} is not a folder; name the folder of a library.\n"
    )


def test_database_in_no_folder_is_told_with_what_it_needs(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nowhere/mkt.db"
    result = mkt("init", tmp_path, "--database", url, code=1)
    assert "Its folder must exist and be writable" in result.stderr
