"""A model whose files are those a library recorded is used without being opened."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mkt_search.errors import ModelError
from mkt_search.models import checkpoint
from mkt_search.models.build import DEMO, DEMO_CHECKPOINT, Model, open_model
from mkt_search.models.checkpoint import TOWER, Prompt, read_meta
from mkt_search.models.clip import create_clip, text_state
from mkt_search.models.record import RecordedModel, model_stamp, open_recorded, record_of
from mkt_search.types import Encoding, ModelRecord
from tests.tiny import (
    tiny_checkpoint,
    tiny_clip,
    tiny_clip_folder,
    tiny_meta,
    tiny_student,
    tiny_table,
)


def encoding_of(model: Model) -> Encoding:
    """Return an encoding for the vectors of a model."""
    return Encoding(model.fingerprint, model.dim, model.grid, "cover", 4, model.top_k, "int8")


def record_for(model: Model) -> ModelRecord | None:
    """Return the facts that a library records about a model."""
    return record_of(model, stamp=model_stamp(model.name))


def with_own_tower(folder: Path) -> Path:
    """A checkpoint with a text tower of its own and a learned prompt."""
    name, _, weights = tiny_clip(folder.parent / "clip").partition("/")
    text = text_state(create_clip(name, pretrained=weights))
    meta = tiny_meta(prompt=Prompt(name, TOWER))
    checkpoint.write(folder, meta, tiny_student().state(), text=text, context=torch.ones(6, 32))
    return folder


def with_tower_beside(folder: Path) -> Path:
    """A checkpoint whose text tower is a file outside it."""
    name, _, weights = tiny_clip(folder.parent / "clip").partition("/")
    meta = tiny_meta(prompt=Prompt(name, os.path.relpath(weights, folder), lengths="own"))
    checkpoint.write(folder, meta, tiny_student().state())
    return folder


def with_tower_folder(folder: Path) -> Path:
    """A checkpoint whose text tower is an open_clip folder beside it."""
    tiny_clip_folder(folder.parent / "tower")
    meta = tiny_meta(prompt=Prompt("../tower", ""))
    checkpoint.write(folder, meta, tiny_student().state(), context=torch.ones(6, 32))
    return folder


MODELS: list[Callable[[Path], str | Path]] = [
    tiny_checkpoint,
    with_own_tower,
    with_tower_beside,
    with_tower_folder,
    lambda folder: tiny_clip(folder.parent),
    lambda folder: tiny_clip_folder(folder),
]
NAMES = ["table", "own tower", "tower beside", "tower folder", "NAME/FILE", "clip folder"]
every_model = pytest.mark.parametrize("make", MODELS, ids=NAMES)


@every_model
def test_the_label_fingerprint_needs_no_label_encoder(
    tmp_path: Path, make: Callable[[Path], str | Path]
) -> None:
    model = open_model(make(tmp_path / "c"))
    assert model.label_fingerprint == model.label_encoder().fingerprint


@every_model
def test_a_recorded_model_has_the_facts_of_the_model(
    tmp_path: Path, make: Callable[[Path], str | Path]
) -> None:
    model = open_model(make(tmp_path / "c"))
    found = open_recorded(model.name, encoding_of(model), record_for(model))
    assert isinstance(found, RecordedModel)
    for name in ("name", "fingerprint", "dim", "grid", "image", "label_fingerprint"):
        assert getattr(found, name) == getattr(model, name)
    labels = found.label_encoder()
    assert (labels.dim, labels.fingerprint) == (16, model.label_encoder().fingerprint)
    assert "opened" not in vars(found)
    assert labels.encode(["red"]).shape == (1, 16)
    assert (found.top_k, found.local_share) == (model.top_k, model.local_share)


def test_a_recorded_model_weighs_the_streams_as_the_model_does(tmp_path: Path) -> None:
    meta = tiny_meta(local_share=0.7)
    checkpoint.write(tmp_path / "c", meta, tiny_student().state(), labels=tiny_table())
    model = open_model(tmp_path / "c")
    found = open_recorded(model.name, encoding_of(model), record_for(model))
    assert isinstance(found, RecordedModel)
    assert found.photo_encoder(device="cpu").local_share == 0.7


@every_model
def test_a_recorded_model_averages_over_the_templates_that_the_model_does(
    tmp_path: Path, make: Callable[[Path], str | Path]
) -> None:
    model, templates = open_model(make(tmp_path / "c")), ("a photo of a {}.", "{}")
    recorded = open_recorded(model.name, encoding_of(model), record_for(model))
    expected, labels = model.label_encoder(templates), recorded.label_encoder(templates)
    assert labels.fingerprint == expected.fingerprint
    assert "opened" not in vars(recorded)
    np.testing.assert_array_equal(labels.encode(["red"]), expected.encode(["red"]))


@every_model
def test_other_weights_of_the_same_size_change_the_stamp(
    tmp_path: Path, make: Callable[[Path], str | Path]
) -> None:
    spec = make(tmp_path / "c")
    before = model_stamp(spec)
    assert model_stamp(spec) == before
    replaced = [path for path in tmp_path.rglob("*.safetensors") if path.name != "student"]
    assert replaced
    for path in replaced:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    assert model_stamp(spec) != before


def test_a_moved_checkpoint_keeps_its_stamp(tmp_path: Path) -> None:
    model = open_model(with_own_tower(tmp_path / "c"))
    record, encoding = record_for(model), encoding_of(model)
    (tmp_path / "c").rename(tmp_path / "moved")
    assert isinstance(open_recorded(str(tmp_path / "moved"), encoding, record), RecordedModel)
    with pytest.raises(ModelError, match="there is no checkpoint"):
        open_recorded(model.name, encoding, record)


def test_a_copied_checkpoint_is_opened_and_is_the_same_model(tmp_path: Path) -> None:
    model = open_model(tiny_checkpoint(tmp_path / "c"))
    shutil.copytree(tmp_path / "c", tmp_path / "copy", copy_function=shutil.copyfile)
    found = open_recorded(str(tmp_path / "copy"), encoding_of(model), record_for(model))
    assert not isinstance(found, RecordedModel) and found.fingerprint == model.fingerprint


def test_a_retrained_prompt_at_the_same_path_is_another_label_encoder(tmp_path: Path) -> None:
    folder = with_own_tower(tmp_path / "c")
    old = open_model(folder)
    record, encoding = record_for(old), encoding_of(old)
    meta = replace(read_meta(folder), trained={"epochs": 1})
    checkpoint.write_tuned(tmp_path / "tuned", meta, folder, context=torch.zeros(6, 32))
    shutil.rmtree(folder)
    (tmp_path / "tuned").rename(folder)
    found = open_recorded(str(folder), encoding, record)
    assert not isinstance(found, RecordedModel) and found.fingerprint == old.fingerprint
    assert record is not None and found.label_fingerprint != record.label_encoder


def test_the_stamp_of_a_tag_is_its_name_and_of_the_demo_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = model_stamp("ViT-B-16/openai")
    (tmp_path / "openai").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model_stamp("ViT-B-16/openai") == before != model_stamp("ViT-B-16/laion2b")
    assert model_stamp(DEMO) == model_stamp(DEMO_CHECKPOINT)


def test_a_model_without_a_label_encoder_is_not_recorded(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "c", tiny_meta(), tiny_student().state())
    assert record_for(open_model(tmp_path / "c")) is None


def test_a_recorded_clip_is_opened_only_to_ask_for_patch_vectors_it_was_not_recorded_with(
    tmp_path: Path,
) -> None:
    model = open_model(tiny_clip(tmp_path))
    encoding = replace(encoding_of(model), patch_vectors="value")
    record = record_for(model)
    assert record is not None
    found = RecordedModel("no model of this name", encoding, record)
    assert found.patch_vectors("value") == "value"
    assert found.patch_vectors("own") == "own"
    with pytest.raises(ModelError):
        found.patch_vectors("kk")
