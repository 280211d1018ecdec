"""The built pages are those of the sources, and small enough."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from mkt_search.web.app import STATIC
from tests.require import npm

SOURCES = Path(__file__).parents[2] / "web"
LARGEST = 150_000  # bytes of the script, compressed
ON_ITS_WAY = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]


@pytest.mark.slow
def test_the_built_files_are_those_of_the_sources(tmp_path: Path) -> None:
    command = npm()
    ignored = shutil.ignore_patterns("node_modules")
    shutil.copytree(SOURCES, tmp_path / "web", ignore=ignored)
    run(tmp_path / "web", command, "ci", *ON_ITS_WAY)
    run(tmp_path / "web", command, "run", "check")
    run(tmp_path / "web", "node", "build.mjs", str(tmp_path / "built"))
    built = {file.name: file.read_bytes() for file in (tmp_path / "built").iterdir()}
    shipped = {file.name: file.read_bytes() for file in STATIC.iterdir()}
    assert built == shipped, "run `make web`"


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_script_is_small() -> None:
    script = (STATIC / "app.js").read_bytes()
    assert len(gzip.compress(script)) < LARGEST


def test_the_pages_name_nothing_outside() -> None:
    for file in (*STATIC.glob("*.*s"), STATIC / "index.html"):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
        assert "http://" not in text and "https://" not in text, file.name
