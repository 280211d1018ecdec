"""A library in PostgreSQL and one in SQLite give the same answers, from `mkt init` on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from mkt_search import Library
from tests.command_line import make_photos, mkt
from tests.postgres import PostgresServer
from tests.tiny import colour_checkpoint, paint

pytestmark = pytest.mark.slow

SEARCHES = [
    ("red",),
    ("red + blue - green", "-k", "3"),
    ("blue", "--exact"),
    ("--like", "photos/red.png"),
    ("red", "--path", "trip/*"),
    ("yellow", "--camera", "pinhole"),
    ("yellow", "--after", "2024-05-17", "--before", "2024-05-18"),
    ("blue", "--min-width", "200"),
    ("red", "--tag", "warm"),
]


class Home:
    """A library made and filled by the command line."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.student = str(folder / "student")
        colour_checkpoint(folder / "student")
        make_photos(folder / "photos")
        mkt("init", folder, *(("--database", url) if url else ()))
        self.run("index", folder / "photos", "--model", self.student)
        (folder / "labels.txt").write_text("red\nblue\n")
        self.run("tag", "--vocabulary", folder / "labels.txt", "--top", "1")

    def run(self, command: str, *arguments: str | Path) -> Result:
        """Run a command on this library."""
        return mkt(command, *arguments, "--library", self.folder)

    def read(self, command: str, *arguments: str) -> Any:
        """Return the JSON that a command prints, with HOME for the folder."""
        printed = self.run(command, *arguments, "--json").stdout
        return json.loads(printed.replace(str(self.folder), "HOME"))


@pytest.fixture(scope="module")
def homes(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> list[Home]:
    """Two libraries of the same photos: in SQLite, and in PostgreSQL."""
    urls = {"sqlite": None, "postgres": postgres.new_url()}
    return [Home(tmp_path_factory.mktemp(name), url) for name, url in urls.items()]


def both(homes: list[Home], command: str, *arguments: str) -> Any:
    """Return what both libraries print."""
    one, other = (home.read(command, *arguments) for home in homes)
    assert one == other
    return one


def test_segments_lie_in_the_library_and_the_catalog_in_the_database(homes: list[Home]) -> None:
    sqlite, postgres = (home.folder / ".mkt" for home in homes)
    assert (sqlite / "mkt.db").exists() and not (postgres / "mkt.db").exists()
    names = [
        sorted(path.name for path in (home / "segments").iterdir()) for home in (sqlite, postgres)
    ]
    assert names[0] == names[1] and len(names[0]) == 1
    assert "postgresql+psycopg://" in (homes[1].folder / "mkt.toml").read_text()


@pytest.mark.parametrize("search", SEARCHES, ids=" ".join)
def test_the_same_hits(homes: list[Home], search: tuple[str, ...], monkeypatch: Any) -> None:
    for home in homes:
        monkeypatch.chdir(home.folder)
        if "warm" in search:
            home.run("tag", "--add", "warm", "photos/red.png")
    found = []
    for home in homes:
        monkeypatch.chdir(home.folder)
        found.append(home.read("search", *search, "--model", home.student))
    assert found[0] == found[1] and len(found[0]) > 0


def test_the_same_tags_and_status(homes: list[Home]) -> None:
    assert len(both(homes, "tags")) >= 5
    statuses = [home.read("status") for home in homes]
    for status in statuses:
        assert status.pop("bytes_database") > 10_000
    assert statuses[0] == statuses[1]
    both(homes, "status", "--failed")


def test_the_library_is_sound_and_follows_the_photos(
    homes: list[Home], tmp_path: Path, postgres: PostgresServer
) -> None:
    home = Home(tmp_path, postgres.new_url())
    with Library.open(tmp_path, model=home.student) as library:
        before = {hit.path.name for hit in library.search("red", k=100)}
        paint(tmp_path / "photos" / "sunset.png", "orange")
        shutil.move(tmp_path / "photos" / "green.png", tmp_path / "photos" / "meadow.png")
        (tmp_path / "photos" / "blue.png").unlink()
        done = home.read("index", "--model", home.student)
        assert (done["indexed"], done["renamed"], done["missing"]) == (2, 1, 1)
        after = {hit.path.name for hit in library.search("red", k=100)}
        assert after == before - {"green.png", "blue.png"} | {"meadow.png", "sunset.png"}
        run = library.tag(["red", "green"], top=1).run
        assert run is not None and library.untag(run).run == run
        assert library.verify() == []
    home.run("prune")
    assert "sound" in home.run("verify").stderr
