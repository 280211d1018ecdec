"""A folder of hostile and odd files through `mkt index`: the good are found, the bad explained."""

import re
from pathlib import Path

import pytest

from mkt_search.library import Library
from tests.command_line import mkt
from tests.odd_photos import OddPhoto, make_odd_photos
from tests.tiny import tiny_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[OddPhoto], str]:
    """A library with the odd folder indexed: its place, what is in the folder, what was said."""
    home = tmp_path_factory.mktemp("home")
    odd = home / "odd"
    odd.mkdir()
    made = make_odd_photos(odd)
    tiny_checkpoint(home / "student")
    mkt("init", home)
    result = mkt("index", odd, "--library", home, "--model", home / "student")
    return home, made, result.stderr


def test_every_good_photo_is_indexed(home: tuple[Path, list[OddPhoto], str]) -> None:
    folder, made, _ = home
    with Library.open(folder) as library:
        indexed = {photo.path for photo in library}
    good = {odd.path for odd in made if odd.is_photo}
    assert len(made) >= 40 and len(good) >= 20
    assert good - indexed == set()
    assert indexed - good == set()


def test_every_bad_one_is_a_row_with_a_reason(home: tuple[Path, list[OddPhoto], str]) -> None:
    folder, made, _ = home
    with Library.open(folder) as library:
        reasons = {photo.path: photo.error or "" for photo in library.photos(state="failed")}
    bad = {odd.path for odd in made if not odd.is_photo and not odd.path.is_dir()}
    photos = {path for path in bad if path in reasons}
    left_out = bad - photos
    assert all(path.suffix.lower() != ".jpg" for path in left_out), left_out
    for path, why in reasons.items():
        assert re.fullmatch(r"[^\n]{8,200}", why), (path, why)
        assert not re.search(r"0x[0-9a-f]{6}|Traceback|Error\(|object at|errno", why), (path, why)
        assert str(folder) not in why


def test_the_summary_counts_them_and_says_where_to_look(
    home: tuple[Path, list[OddPhoto], str],
) -> None:
    folder, made, said = home
    with Library.open(folder) as library:
        failed = len(list(library.photos(state="failed")))
        indexed = len(library)
    assert f"indexed {indexed:,} photos" in said
    assert f"{failed} failed; see them with `mkt status --failed`:\n" in said
    assert "truncated JPEG" in said and "for other reasons" in said
    assert made


def test_the_library_is_sound_and_a_second_run_reads_nothing(
    home: tuple[Path, list[OddPhoto], str],
) -> None:
    folder, made, _ = home
    mkt("verify", "--library", folder)
    result = mkt("index", folder / "odd", "--library", folder)
    good = sum(odd.is_photo for odd in made)
    assert re.search(rf"indexed 0 photos in .* s; {good} unchanged", result.stderr)
