"""The settings file that `mkt init` writes."""

import tomllib
from pathlib import Path

import pytest

from mkt_search.errors import StoreError
from mkt_search.settings import config
from mkt_search.settings.template import commented, refuse_existing, write_settings


def test_every_setting_can_be_uncommented() -> None:
    text = config.documented()
    for item in config.settings():
        assert f"\n# {item.key} = " in commented(text)
    assert commented(text).replace("\n# ", "\n").count(" = ") == text.count(" = ")


def test_a_new_file_sets_nothing_but_the_database(tmp_path: Path) -> None:
    assert write_settings(tmp_path / "new" / "mkt.toml", database="sqlite:///x.db")
    values = tomllib.loads((tmp_path / "new" / "mkt.toml").read_text())
    assert values.pop("library") == {"database": "sqlite:///x.db"}
    assert not any(values.values())


def test_an_existing_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "mkt.toml"
    file.write_text("")
    assert not write_settings(file)
    assert file.read_text() == ""
    with pytest.raises(StoreError, match=r'write `database = "sqlite:///x\.db"` under'):
        refuse_existing(file, database="sqlite:///x.db")


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_settings(tmp_path / "file" / "mkt.toml")
