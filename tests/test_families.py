"""Every family of the recommended models, shrunken and random: from photos to hits with boxes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mkt_search import Library
from mkt_search.models.build import open_model
from mkt_search.models.recommended import RECOMMENDED
from mkt_search.scoring import scale
from mkt_search.search.score_photo import encode_photo
from mkt_search.settings.config import Config, ModelConfig
from mkt_search.types import Box, Hit, Term
from tests.tiny import paint, tiny_clip

FAMILIES = {  # of the recommended models, and the tower of `tests.tiny` that stands for it
    "ViT-B-16/datacomp_xl_s13b_b90k": "vit",
    "ViT-B-16/openai": "openai",
    "ViT-B-16-SigLIP2-256/webli": "sig-lip2",
    "PE-Core-B-16/meta": "pe-core",
    "ViT-B-16/dfn2b": "openai",
    "MobileCLIP2-S2/dfndr2b": "mobileclip2",
}
COLOURS = ("red", "green", "blue", "white")
LABEL = "a dog on the beach"
PLAIN = Config(model=ModelConfig(dtype="float32", device="cpu", templates=()))


def test_every_recommended_model_has_a_family() -> None:
    assert list(FAMILIES) == [model.name for model in RECOMMENDED]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of four colours, each with patches of two others."""
    for first, colour in enumerate(COLOURS):
        second, third = COLOURS[first - 1], COLOURS[first - 2]
        patches = {(first, 1): second, (first, 2): third, (3 - first, 3): second}
        paint(tmp_path / "photos" / f"{colour}.png", colour, patches)
    return tmp_path / "photos"


every_family = pytest.mark.parametrize("tower", dict.fromkeys(FAMILIES.values()))


def scores_of(hit: Hit, spec: str) -> tuple[float, NDArray[np.float32], tuple[int, int]]:
    """Return the scores of the global vector and of every patch (P,), computed plainly."""
    model = open_model(spec)
    encoded = scale(encode_photo(hit.path, model, PLAIN))
    (label,) = model.label_encoder().encode([LABEL])
    return float(encoded.global_vectors[0] @ label), encoded.patches[0] @ label, model.grid


def cell(box: Box, grid: tuple[int, int]) -> int:
    """Return the patch that a box is, and check that it is one."""
    rows, columns = grid
    row, column = round(box.top * rows), round(box.left * columns)
    expected = (column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx(expected)
    return row * columns + column


@pytest.mark.slow
@every_family
def test_the_family_draws_its_box_around_the_best_patch(tower: str, photos: Path) -> None:
    spec = tiny_clip(photos.parent / "clip", tower)
    with Library.create(photos.parent, config=PLAIN) as library:
        library.index(photos, model=spec, pooling="all", top_k=1)
        hits = library.search([Term(label=LABEL)])
    assert len(hits) == len(COLOURS)
    for hit in hits:
        whole, patches, grid = scores_of(hit, spec)
        (box,) = hit.boxes
        assert patches[cell(box, grid)] == pytest.approx(patches.max(), abs=2e-3)
        assert hit.global_part == pytest.approx(whole, abs=2e-3)
        assert hit.local_part == pytest.approx(float(patches.max()), abs=2e-3)


@pytest.mark.slow
@every_family
def test_the_family_is_pooled_searched_and_tagged(tower: str, photos: Path) -> None:
    spec = tiny_clip(photos.parent / "clip", tower)
    with Library.create(photos.parent, config=PLAIN) as library:
        library.index(photos, model=spec, m=4, top_k=2)
        hits = library.search([Term(label=LABEL)])
        assert [hit.score for hit in hits] == sorted([hit.score for hit in hits], reverse=True)
        assert len(hits) == len(COLOURS) and all(hit.boxes for hit in hits)
        for hit in hits:
            assert hit.score == pytest.approx(hit.global_part + hit.local_part, abs=1e-5)
            assert all(0 <= b.left < b.right <= 1 and 0 <= b.top < b.bottom <= 1 for b in hit.boxes)
        stored = library.snapshot().vectors(library.snapshot().content_ids())
        assert stored.vectors.shape[:2] == (len(COLOURS), 1 + 4)
        library.tag(["red", "green", LABEL], top=1)
        assert len(list(library.tags())) == len(COLOURS)
