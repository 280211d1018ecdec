"""A panorama is one photo, found by what any part of it shows."""

from pathlib import Path

import pytest
from PIL import Image

from mkt_search import Library, Term
from tests.tiny import COLOURS, colour_checkpoint

SIDE = 128
LENGTH = 8 * SIDE
LEFT, TOP, OBJECT = 480, 40, 32  # where the red square is, and its side, in pixels


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_checkpoint(tmp_path_factory.mktemp("model") / "colours")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve blue squares, each with a patch that is less red than the last one's."""
    for number in range(12):
        shot = Image.new("RGB", (SIDE, SIDE), COLOURS["blue"])
        shot.paste((120 - 8 * number, 0, 255), (32, 32, 64, 64))
        (tmp_path / "photos").mkdir(exist_ok=True)
        shot.save(tmp_path / "photos" / f"{number:02}.png")
    return tmp_path / "photos"


def panorama() -> Image.Image:
    """A blue strip of 8:1 with a small red square."""
    strip = Image.new("RGB", (LENGTH, SIDE), COLOURS["blue"])
    strip.paste(COLOURS["red"], (LEFT, TOP, LEFT + OBJECT, TOP + OBJECT))
    return strip


def library(folder: Path, checkpoint: Path, **settings: object) -> Library:
    """Index the photos of a folder."""
    made = Library.create(folder.parent)
    chosen = {"m": 16, "device": "cpu", "dtype": "float32", "workers": 1} | settings
    made.index(folder, model=checkpoint, **chosen)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize("pooling", ["cover", "all"])  # topk leaves out what is unlike the whole
@pytest.mark.parametrize("turn", [0, 90])
def test_a_panorama_is_found_first_where_its_crop_is_and_its_box_is_on_the_object(
    folder: Path, checkpoint: Path, pooling: str, turn: int
) -> None:
    strip = panorama()
    crop = strip.crop((LEFT - 48, 0, LEFT + 80, SIDE))
    crop.save(folder / "crop.png")
    strip.rotate(turn, expand=True).save(folder / "strip.png")
    with library(folder, checkpoint, pooling=pooling) as made:
        assert made.status().photos["indexed"] == 14
        found = made.search("red", k=14)
    assert {hit.path.name for hit in found[:2]} == {"crop.png", "strip.png"}
    hit = next(hit for hit in found if hit.path.name == "strip.png")
    box = hit.boxes[0]
    start, end = (box.left, box.right) if not turn else (1 - box.bottom, 1 - box.top)
    top, bottom = (box.top, box.bottom) if not turn else (box.left, box.right)
    assert start * LENGTH < LEFT + OBJECT / 2 < end * LENGTH
    assert top * SIDE < TOP + OBJECT / 2 < bottom * SIDE
    assert (end - start) * LENGTH < 3 * OBJECT and (bottom - top) * SIDE < 3 * OBJECT


def test_a_panorama_has_one_score_whatever_the_way(folder: Path, checkpoint: Path) -> None:
    path = folder / "strip.png"
    panorama().save(path)
    with library(folder, checkpoint) as made:
        (hit,) = (hit for hit in made.search("red", k=13) if hit.path == path)
        (alone,) = made.score(path, ["red"])[path]
        assert hit.score == pytest.approx(alone.score, abs=0.01)  # int8, and 16 of 128 patches
        copy = folder.parent / "elsewhere.png"
        copy.write_bytes(path.read_bytes() + b" ")
        stored, encoded = (
            {hit.path: hit.score for hit in made.search([Term(photo=it)], k=13)}
            for it in (path, copy)
        )
    assert stored == pytest.approx(encoded, abs=0.01)
