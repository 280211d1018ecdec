"""The health of a library: what a person has to do, without reading every byte."""

import shutil
from pathlib import Path

import pytest

from mkt_search.doctor.health import folder_of, health
from mkt_search.errors import ConfigError, LibraryDamaged, LibraryNotFound


def test_a_library_is_reported_with_what_is_open(library: Path) -> None:
    found = [(one.what, one.state) for one in health(library)]
    names = ("library", "photos", "photos", "vectors", "model")
    assert found == list(zip(names, ("ok", "ok", "note", "ok", "ok"), strict=True))
    assert folder_of(library) == library / ".mkt"


def test_a_folder_that_is_away_and_photos_that_are_missing_are_notes(own_library: Path) -> None:
    (own_library / "photos").rename(own_library / "elsewhere")
    notes = [one for one in health(own_library) if one.state == "note"]
    assert any("does not exist" in one.found and "mkt root" in one.fix for one in notes)


def test_a_segment_that_is_gone_is_an_error_of_the_library(own_library: Path) -> None:
    shutil.rmtree(own_library / ".mkt" / "segments")
    with pytest.raises(LibraryDamaged, match="mkt repair"):
        list(health(own_library))


def test_a_wrong_setting_is_an_error_with_its_line(own_library: Path) -> None:
    (own_library / "mkt.toml").write_text("[index]\nbacth_size = 3\n")
    with pytest.raises(ConfigError, match=r"mkt\.toml:2"):
        list(health(own_library))


def test_no_library_is_nothing_wrong_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [(one.state, one.fix) for one in health(None)] == [("absent", "mkt init")]
    with pytest.raises(LibraryNotFound, match="no library in"):
        list(health(tmp_path))
