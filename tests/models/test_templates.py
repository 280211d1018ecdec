"""The mean over templates: that of the unit vectors in each, under a fingerprint of its own."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import ModelError
from mkt_search.models.build import ClipModel, Model, open_model
from mkt_search.models.templates import TemplatesEncoder, templates_fingerprint
from mkt_search.scoring import unit
from tests.tiny import tiny_checkpoint, tiny_clip

TEMPLATES = ("a photo of a {}.", "There is a {} in the scene", "{}")
LABELS = ["dog", "polar bear", "dog"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    model = open_model(tiny_clip(tmp_path_factory.mktemp("clip")))
    assert isinstance(model, ClipModel)
    return model


def test_the_vector_is_the_mean_of_the_unit_vectors_in_each_template(clip: ClipModel) -> None:
    found = TemplatesEncoder(clip.plain_encoder, TEMPLATES).encode(LABELS)
    alone = [clip.plain_encoder.with_template(each).encode(LABELS) for each in TEMPLATES]
    np.testing.assert_allclose(found, unit(np.mean(alone, axis=0)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.abs(found - alone[0]).max() > 0.01
    assert TemplatesEncoder(clip.plain_encoder, TEMPLATES).encode([]).shape == (0, 16)


def test_every_change_of_the_templates_changes_the_fingerprint(clip: ClipModel) -> None:
    plain = clip.plain_encoder.fingerprint
    others = [TEMPLATES, TEMPLATES[:2], (*TEMPLATES[:2], "the {}"), ("a {}, b", "{}"), ("a {}",)]
    found = {TemplatesEncoder(clip.plain_encoder, each).fingerprint for each in others}
    assert len(found | {plain}) == len(others) + 1
    assert templates_fingerprint(plain, TEMPLATES) in found


def test_a_clip_gives_an_encoder_of_its_templates_and_always_the_same(clip: ClipModel) -> None:
    encoder = clip.label_encoder(TEMPLATES)
    assert clip.label_encoder(list(TEMPLATES)) is encoder
    assert clip.label_encoder() is clip.plain_encoder
    assert encoder.fingerprint == templates_fingerprint(clip.label_fingerprint, TEMPLATES)


def test_a_trained_checkpoint_keeps_what_it_was_trained_with(tmp_path: Path) -> None:
    model: Model = open_model(tiny_checkpoint(tmp_path / "student"))
    assert model.label_encoder(TEMPLATES) is model.label_encoder()


@pytest.mark.parametrize("template", ["a photo", "{} and {}", ""])
def test_a_template_needs_one_place_for_the_label(clip: ClipModel, template: str) -> None:
    with pytest.raises(ModelError, match=r"needs exactly one \{\} for the label"):
        clip.label_encoder(["a {}", template])
