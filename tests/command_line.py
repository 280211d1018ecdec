"""Run `mkt` in a test, on a small library whose ranking you can compute in your head."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from click.testing import CliRunner, Result
from PIL import Image

from mkt_search.cli import main
from tests.tiny import colour_checkpoint, paint


def mkt(*arguments: str | Path, env: Mapping[str, str] | None = None, code: int = 0) -> Result:
    """Run `mkt` and check its exit code; its output is in `.stdout` and `.stderr`."""
    result = CliRunner().invoke(main, [os.fspath(a) for a in arguments], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def columns(result: Result) -> list[list[str]]:
    """Return the cells of a piped table."""
    return [line.split("\t") for line in result.stdout.splitlines()]


def make_photos(folder: Path) -> Path:
    """Paint four colours, a copy of red, and blue with one red patch; add a broken file.

    Yellow is dated by its EXIF block, the others by the times of their files: 2 February 2020.
    """
    paint(folder / "red.png", "red")
    paint(folder / "green.png", "green")
    paint(folder / "blue.png", "blue", size=(256, 128))
    paint(folder / "trip" / "mixed.png", "blue", {(0, 3): "red"})
    (folder / "trip" / "copy.png").write_bytes((folder / "red.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"not a photo")
    exif = Image.Exif()
    exif[0x0110] = "Pinhole 3000"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:17 08:09:10"
    Image.new("RGB", (64, 64), (255, 255, 0)).save(folder / "yellow.jpg", exif=exif, quality=95)
    painted = datetime(2020, 2, 2, 12).timestamp()
    for photo in folder.rglob("*.*"):
        os.utime(photo, (painted, painted))
    return folder


def make_library(home: Path, *options: str) -> Path:
    """Create a library in `home` that has the photos of `home`/photos; return `home`."""
    colour_checkpoint(home / "student")
    make_photos(home / "photos")
    mkt("init", home)
    model = ("--model", home / "student", "--library", home)
    mkt("index", home / "photos", *model, *options)
    return home


def paths(home: Path, found: Sequence[str]) -> list[str]:
    """Return absolute paths relative to the folder of the photos."""
    return [os.path.relpath(path, home / "photos") for path in found]


def tagged(home: Path, *options: str) -> list[tuple[str, str]]:
    """Return (path, label) of the tags in the library of the working directory."""
    rows = columns(mkt("tags", *options))
    return [(paths(home, [row[0]])[0], row[1]) for row in rows]
