"""Which library a command opens, and with which settings."""

from pathlib import Path

import pytest

from mkt_search.commands.open_library import library_folder, open_library
from mkt_search.errors import ConfigError, LibraryNotFound


def test_the_named_folder_holds_the_library_or_is_it(library: Path) -> None:
    assert library_folder(library) == library_folder(library / ".mkt") == library / ".mkt"


def test_without_a_name_the_nearest_library_upward_is_taken(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library / "photos" / "trip")
    assert library_folder(None) == library / ".mkt"


def test_a_folder_without_a_library_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound, match="mkt init"):
        open_library(tmp_path, {})


def test_flags_win_over_the_settings_of_the_library(own_library: Path) -> None:
    (own_library / "mkt.toml").write_text("[search]\nk = 7\nrecall = 0.5\n")
    with open_library(own_library, {"search.k": 3}) as opened:
        assert (opened.config.search.k, opened.config.search.recall) == (3, 0.5)
        assert len(opened) == 6


def test_a_wrong_setting_is_reported_before_the_library_is_opened(own_library: Path) -> None:
    (own_library / "mkt.toml").write_text("[search]\nk = 0\n")
    (own_library / ".mkt" / "mkt.db").write_bytes(b"no database")
    with pytest.raises(ConfigError, match=r"k in \[search\]"):
        open_library(own_library, {})
