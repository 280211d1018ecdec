"""A picture of hits: a row for each query, photos in squares, boxes drawn where they are."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mkt_search.pages.picture import CAPTION, MARGIN, Row, hits_as_png, with_boxes
from mkt_search.types import Box, Hit
from tests.tiny import paint


def hit(path: Path, *boxes: Box) -> Hit:
    return Hit(1, path, 0.5, 0.25, 0.25, boxes)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return paint(tmp_path / "red.png", "red", size=(200, 100))


def test_every_query_has_a_row_as_wide_as_the_longest(red: Path) -> None:
    data = hits_as_png([Row("red", [hit(red), hit(red)]), Row("red + sea", [hit(red)])], side=100)
    image = Image.open(io.BytesIO(data))
    assert image.size == (3 * MARGIN + 2 * 100, 3 * MARGIN + 2 * (CAPTION + 100))


def test_a_box_is_drawn_on_its_edges_only(red: Path) -> None:
    pixels = np.asarray(with_boxes(hit(red, Box(0.5, 0.0, 1.0, 1.0)), 100))
    assert pixels.shape == (50, 100, 3)
    assert (pixels[:, :45] == (255, 0, 0)).all()
    assert (pixels[1, 60:90] == (255, 255, 255)).all()
    assert (pixels[20:30, 60:90] == (255, 0, 0)).all()


def test_a_photo_keeps_its_aspect_and_is_never_enlarged(red: Path) -> None:
    assert with_boxes(hit(red), 400).size == (200, 100)
