"""The machine: programs of others, room, limits."""

import os
from pathlib import Path

import pytest

from mkt_search.doctor import machine


def test_the_system_has_memory() -> None:
    assert {one.what for one in machine.system()} >= {"system", "SQLite"}
    assert machine.memory_bytes() > 10**8 or os.name == "nt"


def test_limits_are_found_on_this_system() -> None:
    assert all(one.found for one in machine.limits())


def test_room_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    found = list(machine.room({"models": tmp_path / "not" / "yet"}))
    assert [one.what for one in found] == ["disk", "disk"]
    assert f"free for models ({tmp_path / 'not' / 'yet'})" in found[0].found


def test_few_watches_come_with_the_command_that_allows_more(tmp_path: Path) -> None:
    (tmp_path / "watches").write_text("8192\n")
    (found,) = machine.watches(tmp_path / "watches")
    assert found.state == "note" and found.fix.startswith("sudo sysctl fs.inotify")
    assert not list(machine.watches(tmp_path / "of another system"))


@pytest.mark.skipif(os.name != "posix", reason="the program is a script of the shell")
@pytest.mark.parametrize(
    ("script", "state"), [("echo 13.10", "ok"), ("exit 3", "problem"), (None, "absent")]
)
def test_exiftool_is_looked_for_and_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, state: str
) -> None:
    if script is not None:
        (tmp_path / "exiftool").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "exiftool").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (found,) = machine.programs()
    assert found.state == state
    assert ("13.10" in found.found) == (state == "ok")
