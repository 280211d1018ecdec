"""open_clip models in folders: written, opened, refused when damaged."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from mkt_search.errors import ModelError
from mkt_search.models.build import open_model
from mkt_search.models.clip import (
    ClipFolder,
    ClipWeights,
    create_clip,
    is_clip_folder,
    open_clip_weights,
)
from tests.tiny import tiny_checkpoint, tiny_clip, tiny_clip_folder

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_clip_folder(tmp_path / "clip")


def edit(folder: Path, **changes: object) -> None:
    """Change parts of the description's model_cfg."""
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"].update(changes)
    (folder / CONFIG).write_text(json.dumps(config))


def test_a_written_folder_is_read_back(folder: Path) -> None:
    name, _, weights = tiny_clip(folder / "again").partition("/")
    expected = create_clip(name, pretrained=weights).state_dict()
    found = ClipFolder(folder).load()
    assert not found.training
    state = found.state_dict()
    assert set(state) == set(expected)
    assert all(torch.equal(state[key], tensor) for key, tensor in expected.items())


def test_open_clip_opens_a_written_folder(folder: Path) -> None:
    own = open_clip.create_model(f"local-dir:{folder}").eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = ClipFolder(folder).load().encode_image(images)
        torch.testing.assert_close(found, own.encode_image(images), rtol=0, atol=0)


def test_a_timm_tower_is_written_too(tmp_path: Path) -> None:
    model = open_model(tiny_clip_folder(tmp_path / "clip", "tokens"))
    assert (model.dim, model.grid) == (16, (10, 10))


def test_the_description_defines_the_pixels(folder: Path) -> None:
    model = open_model(folder)
    assert (model.dim, model.grid, model.name) == (16, (4, 4), str(folder))
    assert (model.image.mean, model.image.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert model.image.resize == "squash"
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    encoded = model.photo_encoder(device="cpu", dtype="float32").encode(pixels)
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (model.image.mean, model.image.std))
    with torch.inference_mode():
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
        expected = ClipFolder(folder).load().encode_image(images).numpy()
    np.testing.assert_allclose(encoded.global_vectors, expected, atol=1e-5)
    assert model.label_encoder().encode(["dog"]).shape == (1, 16)


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    whole = tiny_clip_folder(tmp_path / "whole")
    half = tiny_clip_folder(tmp_path / "half", half=True)
    assert (half / WEIGHTS).stat().st_size < 0.55 * (whole / WEIGHTS).stat().st_size
    found, expected = (ClipFolder(path).load().state_dict() for path in (half, whole))
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype
        torch.testing.assert_close(found[key], tensor, rtol=1e-3, atol=1e-4)


def test_a_spec_is_a_folder_or_a_name(folder: Path) -> None:
    assert is_clip_folder(folder)
    assert isinstance(open_clip_weights(str(folder)), ClipFolder)
    assert isinstance(open_clip_weights(tiny_clip(folder / "parts")), ClipWeights)
    assert not is_clip_folder(folder / "parts")


@pytest.mark.parametrize("spec", ["ViT-B-16", "", "/nowhere/x.pt", "./nowhere", "{tmp}"])
def test_a_spec_without_a_model_is_refused_with_a_reason(tmp_path: Path, spec: str) -> None:
    with pytest.raises(ModelError, match=r"is not a model of open_clip; .*NAME/TAG"):
        open_clip_weights(spec.replace("{tmp}", str(tmp_path)))


def test_a_checkpoint_is_not_a_model_of_open_clip(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a checkpoint; name a model of open_clip"):
        open_clip_weights(str(tiny_checkpoint(tmp_path / "made")))


@pytest.mark.slow
def test_weights_of_a_larger_model_are_refused_with_a_reason(tmp_path: Path) -> None:
    weights = tiny_clip(tmp_path).partition("/")[2]
    with pytest.raises(ModelError, match="does not hold the weights of ViT-B-32: text pos_embed"):
        open_clip_weights(f"ViT-B-32/{weights}").load()


def test_the_fingerprint_depends_on_the_content_only(folder: Path, tmp_path: Path) -> None:
    before = ClipFolder(folder).fingerprint
    assert len(before) == 12
    copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert ClipFolder(copy).fingerprint == before
    state = load_file(copy / WEIGHTS)
    save_file({**state, "logit_scale": state["logit_scale"] + 1}, copy / WEIGHTS)
    assert ClipFolder(copy).fingerprint != before
    shutil.copy(folder / WEIGHTS, copy / WEIGHTS)
    assert ClipFolder(copy).fingerprint == before
    config = json.loads((copy / CONFIG).read_text())
    config["preprocess_cfg"]["mean"] = [0.1, 0.1, 0.1]
    (copy / CONFIG).write_text(json.dumps(config))
    assert ClipFolder(copy).fingerprint != before


def test_a_folder_without_a_description_is_refused_with_a_reason(folder: Path) -> None:
    (folder / CONFIG).unlink()
    with pytest.raises(ModelError, match=r"open_clip_config\.json: cannot be read \(No such"):
        ClipFolder(folder)


@pytest.mark.parametrize("text", ["", "{", "\xff\xfe"])
def test_a_description_that_is_not_json_is_refused_with_a_reason(folder: Path, text: str) -> None:
    (folder / CONFIG).write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"open_clip_config\.json( cannot be read|:1: not UTF-8)"):
        open_model(folder)


@pytest.mark.parametrize("text", ["[]", "{}", '"model_cfg"', '{"model": 1}'])
def test_json_that_does_not_describe_a_model_is_refused_with_a_reason(
    folder: Path, text: str
) -> None:
    (folder / CONFIG).write_text(text)
    with pytest.raises(ModelError, match="does not describe a model"):
        open_model(folder)


def test_missing_weights_are_refused_with_a_reason(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    model = open_model(folder)
    for use in (lambda: model.fingerprint, model.photo_encoder, model.label_encoder):
        with pytest.raises(ModelError, match=r"is incomplete: .*open_clip_model\.safetensors"):
            use()


def test_damaged_weights_are_refused_with_a_reason(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for damaged in (b"", b"no weights", whole[: len(whole) // 2]):
        (folder / WEIGHTS).write_bytes(damaged)
        with pytest.raises(ModelError, match=r"safetensors does not hold the weights of .*clip"):
            open_model(folder).photo_encoder()


@pytest.mark.parametrize(
    "changes",
    [
        {"embed_dim": 24},
        {"embed_dim": "many"},
        {"vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 3}},
        {"vision_cfg": {"timm_model_name": "vit_of_nobody", "image_size": 32}},
        {"text_cfg": None},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_description_that_the_weights_do_not_fit_is_refused_with_a_reason(
    folder: Path, changes: dict[str, object]
) -> None:
    edit(folder, **changes)
    message = r"safetensors does not hold the weights of|timm_model_name cannot be 'vit_of_nobody'"
    with pytest.raises(ModelError, match=message):
        open_model(folder).photo_encoder()
