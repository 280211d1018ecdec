"""A library from somebody else: nothing outside its folder is touched, and each command ends well.

Every attack is made on a copy of a small sound library. A command may work or end with exit code 1
and a sentence; `mkt` of `tests.command_line` lets any other exception through.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import make_library, mkt

pytestmark = pytest.mark.slow

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("search", "red"),
    ("verify",),
    ("repair",),
    ("prune",),
    ("tags",),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_library(tmp_path_factory.mktemp("sound"))
    mkt("tag", home / "photos/red.png", "--add", "mine", "--library", home)
    mkt("search", "red", "--library", home)
    return home


@pytest.fixture
def home(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy of the library."""
    shutil.copytree(sound / ".mkt", tmp_path / "home/.mkt")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of the user outside the library, which must be as it was at the end."""
    file = tmp_path / "victim.txt"
    file.write_text("precious")
    yield file
    assert file.read_text() == "precious" and not file.is_symlink()


def change(home: Path, statement: str, *values: Any) -> None:
    """Change the database as a stranger would, without its constraints."""
    with closing(sqlite3.connect(home / ".mkt/mkt.db")) as database:
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute(statement, values)
        database.commit()


def outcome(*arguments: str) -> str:
    """Run a command that may succeed or fail; return its sentence if it fails."""
    from click.testing import CliRunner

    from mkt_search.cli import main

    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1), result.output
    return result.stderr if result.exit_code else ""


NAMES = {
    "absolute": "{victim}",
    "upward": "../../../victim.txt",
    "through a folder": "deep/../../../../victim.txt",
    "backslashes": "..\\..\\victim.txt",
    "a folder": "..",
    "nothing": "",
    "hidden": ".victim.txt",
    "a line": "1-a.safetensors\n",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_segment_is_a_file_in_the_folder_of_segments(home: Path, victim: Path, name: str) -> None:
    change(home, "UPDATE segment SET file = ?", name.format(victim=victim))
    for command in COMMANDS:
        text = outcome(*command)
        assert not text or "impossible value" in text or "problems found" in text
    assert "is not the name of a file in its folder" in outcome("repair")


@pytest.mark.parametrize("column", ["pq_file", "rowmap_file"])
def test_a_candidate_index_is_a_file_in_the_folder_of_indexes(
    home: Path, victim: Path, column: str
) -> None:
    row = {
        **{"encoding_id": 1, "pq_file": "1-a.pq", "pq_size": 8, "pq_sha256": bytes(32)},
        **{"rowmap_file": "1-a.rows", "rowmap_size": 8, "rowmap_sha256": bytes(32)},
        **{"photos": 1, "revision": 0, "recall_curve": "{}"},
        **{"created_at": "2024-01-01 00:00:00.000000", column: str(victim)},
    }
    marks = ", ".join("?" * len(row))
    change(home, f"INSERT INTO candidate_index ({', '.join(row)}) VALUES ({marks})", *row.values())
    for command in (*COMMANDS, ("optimize",)):
        outcome(*command)
    assert "is not the name of a file in its folder" in outcome("repair")


@pytest.mark.parametrize("name", ["segments", "index", "mkt.db-wal", "writer.json", "writer.lock"])
def test_links_in_the_folder_of_a_library_are_refused(home: Path, victim: Path, name: str) -> None:
    place, target = home / ".mkt" / name, victim
    if name in ("segments", "index"):
        target = victim.parent / "documents"
        target.mkdir()
        (target / "letter.txt").write_text("precious")
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.symlink_to(target)
    for command in (*COMMANDS, ("init", "."), ("migrate",), ("index", ".")):
        assert f"{name} is a link, which a library must not have" in outcome(*command)
    if target != victim:
        assert (target / "letter.txt").read_text() == "precious"


def test_a_link_in_place_of_a_segment_is_damage_and_its_target_stays(
    home: Path, victim: Path
) -> None:
    (segment,) = (home / ".mkt/segments").iterdir()
    outside = segment.rename(victim.parent / "outside.safetensors")
    before = outside.read_bytes()
    segment.symlink_to(outside)
    assert mkt("verify", code=1).output
    assert outcome("search", "red")
    assert not outcome("repair")
    mkt("verify")
    assert outside.read_bytes() == before


def test_a_library_may_be_reached_through_a_link(home: Path, tmp_path: Path) -> None:
    moved = (home / ".mkt").rename(tmp_path / "other-disk")
    (home / ".mkt").symlink_to(moved)
    mkt("search", "red")
    mkt("verify")


ENCODING = {
    **{"checkpoint": "0" * 12, "dim": 8, "grid": [4, 4], "local": "cover", "m": 16, "top_k": 1},
    **{"precision": "int8", "dtype": "float32", "scale": "cosine", "vocabulary": ""},
}
MALFORMED: tuple[tuple[str, Any], ...] = (
    *(("encoding.settings", text) for text in ("{", "[]", "7", "{}", "[" * 100_000)),
    *(
        ("encoding.settings", json.dumps(ENCODING | changed))
        for changed in (
            *({"dim": value} for value in (10**9, 10**400, "x", -1, [8], 8.5, True, None)),
            *({"grid": value} for value in ([10**6, 10**6], [4], 4, ["4", 4], None)),
            *({"m": -1}, {"m": 10**9}, {"top_k": 0}, {"precision": "int2"}, {"checkpoint": 7}),
            *({"local": [1]}, {"scale": {}}),
        )
    ),
    ("encoding.model", b"\xff\x00"),
    ("encoding.state", 7),
    ("encoding.created_at", "yesterday"),
    ("encoding.image", "[[["),
    *(("photo.path", value) for value in (b"\xff", "../x.png", "/etc/passwd", "a\\q", "a\0b")),
    *(("photo.size", value) for value in ("many", 1.5)),
    *(("photo.taken_at", value) for value in ("soon", 2024, "9999-99-99 00:00:00.000000")),
    *(("photo.width", value) for value in ("wide", 0, -1)),
    ("photo.height", None),
    ("photo.camera", b"\x00"),
    ("photo.content_id", 2**62),
    *(("root.path", value) for value in (b"\xff", "a\0b", "a\\q", 7)),
    *(("content.sha256", value) for value in ("text", b"\x00")),
    *(("segment.count", value) for value in ("x", -1, 2**62)),
    *(("segment.size", value) for value in ("x", -1)),
    ("segment.sha256", b"\x00"),
    *(("vector.row", value) for value in (-1, 2**62, "x", 1.5)),
    ("vector.segment_id", 99),
    *(("run.settings", value) for value in ("[", "7")),
    ("run.started_at", "x"),
    ("label.name", b"\xff"),
    ("tag.score", "x"),
    ("tag.source", b"\xff"),
    *(("revision.number", value) for value in ("x", b"\xff")),
    *(("label_vector.vector", value) for value in ("text", b"", b"\x00")),
)


@pytest.mark.parametrize(
    ("column", "value"), MALFORMED, ids=[f"{c}={str(v)[:24]!r}" for c, v in MALFORMED]
)
def test_a_malformed_value_is_at_most_a_sentence(home: Path, column: str, value: Any) -> None:
    table, name = column.split(".")
    change(home, f"UPDATE OR REPLACE {table} SET {name} = ?", value)
    for command in (("status",), ("search", "red"), ("verify",), ("tags",), ("prune",)):
        assert len(outcome(*command).splitlines()) <= 20


CODE = {
    "trigger": "CREATE TRIGGER t BEFORE UPDATE ON revision BEGIN SELECT RAISE(ABORT, 'x'); END",
    "view": "CREATE VIEW v AS SELECT * FROM photo",
    "virtual table": "CREATE VIRTUAL TABLE t USING fts5(a)",
}


@pytest.mark.parametrize("kind", CODE)
def test_a_database_with_code_in_it_is_refused(home: Path, kind: str) -> None:
    change(home, CODE[kind])
    for command in (*COMMANDS, ("migrate",)):
        assert f"The database has the {kind} " in outcome(*command)


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_pipe_in_place_of_a_segment_is_damage(home: Path) -> None:
    (segment,) = (home / ".mkt/segments").iterdir()
    segment.unlink()
    os.mkfifo(segment)
    assert mkt("verify", code=1).output
    assert outcome("search", "red")
