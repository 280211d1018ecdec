"""Recommended models exist in open_clip and have the sizes stated; everyone may use the default."""

import json
from pathlib import Path

import open_clip
import pytest
import torch

from mkt_search.models.recommended import DEFAULT, RECOMMENDED, Recommended, find_recommended


def test_open_clip_has_every_recommended_model() -> None:
    for model in RECOMMENDED:
        assert tuple(model.name.split("/")) in open_clip.list_pretrained()


@pytest.mark.parametrize("model", RECOMMENDED, ids=lambda model: model.name)
def test_the_size_is_that_of_its_weights_in_float32(model: Recommended) -> None:
    with torch.device("meta"):  # shapes without memory
        built = open_clip.create_model(model.name.partition("/")[0], device="meta")
    size = sum(4 * tensor.numel() for tensor in built.state_dict().values())
    assert round(size / 1e6) == model.megabytes


def test_the_speed_is_the_one_that_was_measured() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "model_speed.json"
    rows = json.loads(results.read_text())["tables"]["speed"]["rows"]
    measured = {name: speed for name, *_, speed in rows}
    for model in RECOMMENDED:
        assert model.speed == pytest.approx(measured[model.name.partition("/")[0]], abs=0.005)


def test_the_default_allows_commercial_use() -> None:
    default = find_recommended(DEFAULT)
    assert default is not None and default.commercial
    assert find_recommended("ViT-B-16/unheard-of") is None


def test_the_default_comes_first_and_every_fact_names_its_source() -> None:
    assert RECOMMENDED[0].name == DEFAULT
    for model in RECOMMENDED:
        for address in (model.source.address, model.license_source):
            assert address.startswith("https://")
