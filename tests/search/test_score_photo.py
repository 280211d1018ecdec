"""One photo against a list of labels, with a student that sees colours."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import QueryError
from mkt_search.models.build import open_model
from mkt_search.scoring import unit
from mkt_search.search.score_photo import fused, score_photo
from mkt_search.settings.config import Config
from mkt_search.types import Encoded
from tests.tiny import colour_checkpoint, paint


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_model(colour_checkpoint(tmp_path_factory.mktemp("colours") / "student"))


def test_cosine_scores_are_those_of_the_head(model, tmp_path: Path) -> None:
    photo = paint(tmp_path / "a.png", "blue", {(0, 0): "red"})
    found = {
        item.label: item
        for item in score_photo(
            photo, ["red", "green", "blue"], model, config=Config(), fuse="cosine"
        )
    }
    length = np.hypot(1 / 16, 15 / 16)
    assert found["blue"].score == pytest.approx((15 / 16 / length + 1) / 2, abs=1e-3)
    assert found["red"].global_part == pytest.approx(1 / 16 / length / 2, abs=1e-3)
    assert found["red"].local_part == pytest.approx(1 / 2, abs=1e-3)
    assert list(found) == ["blue", "red", "green"]


@pytest.mark.parametrize("local_share", [0.5, 0.7])
@pytest.mark.parametrize("fuse", ["vocabulary", "cosine", "none"])
def test_every_way_of_fusing_is_a_mean_of_two_streams(fuse, local_share: float) -> None:
    """Against a version written with loops over photos and labels."""
    rng = np.random.default_rng(0)
    encoded = Encoded(
        rng.standard_normal((2, 6)).astype(np.float32),
        rng.standard_normal((2, 5, 6)).astype(np.float32),
        local_share,
    )
    labels = unit(rng.standard_normal((4, 6)).astype(np.float32))
    found = fused(encoded, labels, k=2, fuse=fuse)
    for n in range(2):
        e_cls, e_patch = encoded.global_vectors[n], encoded.patches[n]
        if fuse == "cosine":
            e_cls, e_patch = unit(e_cls), unit(e_patch)
        global_scores = np.array([z @ e_cls for z in labels])
        local_scores = np.array([np.mean(sorted(p @ z for p in e_patch)[-2:]) for z in labels])
        if fuse == "vocabulary":
            global_scores, local_scores = unit(global_scores), unit(local_scores)
        expected = (1 - local_share) * global_scores + local_share * local_scores
        np.testing.assert_allclose(found.fused[n], expected, rtol=1e-5, atol=1e-6)


def test_a_photo_that_cannot_be_read_is_named_with_its_reason(model, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not a photo at all")
    with pytest.raises(QueryError, match=r"bad\.jpg: "):
        score_photo(bad, ["red"], model, config=Config(), fuse="cosine")
    with pytest.raises(QueryError, match=r"gone\.jpg: "):
        score_photo(tmp_path / "gone.jpg", ["red"], model, config=Config(), fuse="cosine")
