"""Models open by directory or by name, and stay light until an encoder is built."""

import json
import logging
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from mkt_search.errors import ModelError, UnknownLabel
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import CLIP_CONFIG, META, TEMPLATE, TOWER, Prompt
from mkt_search.models.clip import create_clip, text_state
from mkt_search.models.clip_student import clip_student
from mkt_search.models.encoder import PhotoEncoder
from tests.tiny import (
    SIDE,
    colour_checkpoint,
    tiny_checkpoint,
    tiny_clip,
    tiny_clip_folder,
    tiny_meta,
    tiny_student,
)


def test_an_opened_checkpoint_encodes_like_its_student(tmp_path: Path) -> None:
    model = open_model(tiny_checkpoint(tmp_path / "c"))
    assert (model.dim, model.grid, model.top_k) == (16, (4, 4), 3)
    assert model.name == str(tmp_path / "c")
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    encoded = model.photo_encoder(device="cpu", dtype="float32").encode(pixels)
    with torch.inference_mode():
        expected = tiny_student()(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1)
    np.testing.assert_allclose(encoded.patches, expected.patches.numpy(), atol=1e-5)
    assert model.label_encoder() is model.label_encoder()
    assert model.label_encoder().encode(["polar bear"]).shape == (1, 16)
    with pytest.raises(UnknownLabel, match=f"{tmp_path / 'c'} has only its 12 labels"):
        model.label_encoder().encode(["zzz"])


def test_a_copied_checkpoint_is_the_same_model(tmp_path: Path) -> None:
    model = open_model(tiny_checkpoint(tmp_path / "c"))
    shutil.copytree(tmp_path / "c", tmp_path / "elsewhere")
    assert open_model(tmp_path / "elsewhere").fingerprint == model.fingerprint
    assert open_model(tiny_checkpoint(tmp_path / "d", seed=1)).fingerprint != model.fingerprint


def test_the_colour_checkpoint_encodes_colours(tmp_path: Path) -> None:
    model = open_model(colour_checkpoint(tmp_path / "c"))
    pixels = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    pixels[..., 0] = 255
    pixels[:, :8, 8:16] = (0, 0, 255)  # row 0, column 1
    encoded = model.photo_encoder(device="cpu", dtype="float32").encode(pixels)
    red, blue = model.label_encoder().encode(["red", "blue"])
    np.testing.assert_allclose(encoded.global_vectors @ red, [15 / 16], rtol=1e-6)
    assert (encoded.patches @ blue).argmax() == 1


def test_damaged_weights_stop_the_student(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "c")
    (folder / "student.safetensors").write_bytes(b"zeros")
    with pytest.raises(ModelError, match="replaced or damaged"):
        open_model(folder).photo_encoder()


def test_a_checkpoint_without_a_label_encoder_is_refused_when_one_is_needed(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "c", tiny_meta(), tiny_student().state())
    with pytest.raises(ModelError, match="has no label encoder"):
        open_model(tmp_path / "c").label_encoder()


@pytest.mark.parametrize("module", ["build", "checkpoint", "label_table"])
def test_importing_the_light_modules_does_not_load_torch(module: str) -> None:
    code = f"import sys, mkt_search.models.{module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_looking_up_a_label_does_not_load_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from mkt_search.models.build import open_model;"
        f"model = open_model({str(tiny_checkpoint(tmp_path / 'c'))!r});"
        "model.fingerprint, model.label_encoder().encode(['dog']);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_open_clip_model_is_a_student_and_a_label_encoder(tmp_path: Path) -> None:
    spec = tiny_clip(tmp_path)
    model = open_model(spec)
    name, _, weights = spec.partition("/")
    clip = create_clip(name, pretrained=weights)
    assert (model.dim, model.grid, model.top_k, model.name) == (16, (4, 4), 1, spec)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    mean = torch.tensor(model.image.mean).view(3, 1, 1)
    std = torch.tensor(model.image.std).view(3, 1, 1)
    with torch.inference_mode():
        images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std
        tokens = open_clip.get_tokenizer(name)([TEMPLATE.format("dog")])
        photo = clip.encode_image(images).numpy()
        label = clip.encode_text(tokens, normalize=True).numpy()
    encoded = model.photo_encoder(device="cpu", dtype="float32").encode(pixels)
    np.testing.assert_allclose(encoded.global_vectors, photo, atol=1e-5)
    np.testing.assert_allclose(model.label_encoder().encode(["dog"]), label, atol=1e-6)


def test_encoding_photos_in_bfloat16_does_not_change_the_label_encoder(tmp_path: Path) -> None:
    model = open_model(tiny_clip(tmp_path))
    before = model.label_encoder().encode(["dog"])
    model.photo_encoder(device="cpu", dtype="bfloat16")
    np.testing.assert_array_equal(model.label_encoder().encode(["dog"]), before)
    assert model.photo_encoder(device="cpu", dtype="float32").dtype == "float32"


def test_the_fingerprint_of_a_file_depends_on_its_content_only(tmp_path: Path) -> None:
    model = open_model(tiny_clip(tmp_path / "a"))
    assert open_model(tiny_clip(tmp_path / "b")).fingerprint == model.fingerprint
    assert open_model(tiny_clip(tmp_path / "c", seed=1)).fingerprint != model.fingerprint
    assert model.label_encoder().fingerprint != model.fingerprint


def test_a_checkpoint_can_hold_a_clip_tower_and_a_learned_prompt(tmp_path: Path) -> None:
    name, _, weights = tiny_clip(tmp_path / "clip").partition("/")
    plain = open_model(f"{name}/{weights}")
    student = clip_student(create_clip(name, pretrained=weights))
    meta = tiny_meta(
        library="open_clip",
        backbone=name,
        options={},
        image=student.image,
        prompt=Prompt(name, weights),
    )
    for folder, context in (("plain", None), ("learned", torch.ones(6, 32))):
        checkpoint.write(tmp_path / folder, meta, student.state(), context=context)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    model = open_model(tmp_path / "learned")
    np.testing.assert_array_equal(
        model.photo_encoder(device="cpu").encode(pixels).patches,
        plain.photo_encoder(device="cpu", patch_vectors="own").encode(pixels).patches,
    )
    assert model.fingerprint == open_model(tmp_path / "plain").fingerprint  # the same photos
    own = open_model(tmp_path / "plain").label_encoder()
    np.testing.assert_array_equal(own.encode(["dog"]), plain.label_encoder().encode(["dog"]))
    assert own.fingerprint == plain.label_encoder().fingerprint
    assert np.abs(model.label_encoder().encode(["dog"]) - own.encode(["dog"])).max() > 1e-3
    assert model.label_encoder().fingerprint != own.fingerprint


def test_a_text_tower_beside_the_checkpoint_moves_with_it(tmp_path: Path) -> None:
    name, _, weights = tiny_clip(tmp_path / "clip").partition("/")
    meta = tiny_meta(prompt=Prompt(name, "text.safetensors"))
    checkpoint.write(tmp_path / "c", meta, tiny_student().state())
    shutil.copy(weights, tmp_path / "c/text.safetensors")
    assert open_model(tmp_path / "c").label_encoder().encode(["dog"]).shape == (1, 16)


def test_a_checkpoint_needs_only_its_text_tower(tmp_path: Path) -> None:
    name, _, weights = tiny_clip(tmp_path / "clip").partition("/")
    text = text_state(create_clip(name, pretrained=weights))
    meta = tiny_meta(prompt=Prompt(name, TOWER))
    checkpoint.write(tmp_path / "c", meta, tiny_student().state(), text=text)
    whole = open_model(f"{name}/{weights}").label_encoder()
    own = open_model(tmp_path / "c").label_encoder()
    np.testing.assert_array_equal(own.encode(["dog"]), whole.encode(["dog"]))
    del text["ln_final.bias"]
    checkpoint.write(tmp_path / "c", meta, tiny_student().state(), text=text)
    with pytest.raises(ModelError, match=f"does not hold the text tower of {name}: 1 of its"):
        open_model(tmp_path / "c").label_encoder()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("./nowhere", "there is no checkpoint at ./nowhere; name the directory of one, or a model"),
        ("ViT-B-16", "there is no checkpoint at ViT-B-16;.*NAME/TAG"),
        ("ViT-B16/openai", r'no model "ViT-B16"; did you mean ViT-B-16'),
        ("ViT-B-16/opena", r'no pretrained tag "opena".*did you mean openai\?; its tags: openai,'),
        ("ViT-B-16/gone.pt", r'no pretrained tag "gone\.pt", and there is no such file'),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        open_model(spec)


def test_weights_of_another_clip_are_refused_with_a_reason(tmp_path: Path) -> None:
    tiny_clip(tmp_path, "vit")
    _, _, weights = tiny_clip(tmp_path, "resnet").partition("/")
    with pytest.raises(ModelError, match="does not hold the weights of tiny-vit"):
        open_model(f"tiny-vit/{weights}").photo_encoder()
    for name in ("bad.pt", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(ModelError, match=f"{name} does not hold the weights of tiny-vit"):
            open_model(f"tiny-vit/{tmp_path}/{name}").label_encoder()


def test_the_archives_of_openai_are_read_as_tensors(tmp_path: Path) -> None:
    spec = tiny_clip(tmp_path)
    name, _, weights = spec.partition("/")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, OpenAI's files are not
        archive = torch.jit.script(create_clip(name, pretrained=weights))
        torch.jit.save(archive, tmp_path / "openai.pt")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    encoded = open_model(f"{name}/{tmp_path}/openai.pt").photo_encoder(device="cpu").encode(pixels)
    clip = create_clip(name, pretrained=weights, force_quick_gelu=True)
    expected = PhotoEncoder(clip_student(clip), clip_student(clip).image).encode(pixels)
    np.testing.assert_array_equal(encoded.global_vectors, expected.global_vectors)


def test_without_a_network_the_error_names_the_file_to_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_names: None)
    message = 'the weights "openai" of ViT-B-16 cannot be downloaded.*ViT-B-16-quickgelu/PATH'
    with pytest.raises(ModelError, match=message):
        _ = open_model("ViT-B-16/openai").fingerprint


def test_weights_in_the_cache_of_the_hub_need_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise AssertionError("the network was asked")

    cached = tmp_path / "open_clip_model.safetensors"
    cached.write_bytes(b"weights")
    monkeypatch.setattr("socket.getaddrinfo", unreachable)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_names: str(cached))
    assert len(open_model("ViT-B-16/openai").fingerprint) == 12


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("library", ["timm", "open_clip"])
def test_a_checkpoint_that_names_a_file_for_its_backbone_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    folder, trapped = tiny_checkpoint(tmp_path / "c"), tmp_path / "trapped"
    (folder / "weights.pth").write_bytes(pickle.dumps({"state_dict": Trap(trapped)}))
    raw = json.loads((folder / META).read_text())
    name = {"timm": "checkpoint_path", "open_clip": "pretrained_image_path"}[library]
    raw |= {"library": library, "options": {name: "weights.pth"}}
    (folder / META).write_text(json.dumps(raw))
    monkeypatch.chdir(folder)
    with pytest.raises(ModelError, match=f"the option '{name}' is not allowed in a checkpoint"):
        open_model(folder).student()
    assert not trapped.exists()


def test_a_checkpoint_is_compared_with_its_weights_before_it_takes_memory(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "c")
    raw = json.loads((folder / META).read_text())
    raw["options"] |= {"embed_dim": 16_384, "num_heads": 256}  # 6.4 GB a block
    (folder / META).write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=r"student\.safetensors does not fit this student"):
        open_model(folder).student()


def test_a_file_replaced_after_it_was_checked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tiny_checkpoint(tmp_path / "c"), tiny_checkpoint(tmp_path / "d", seed=1)
    expected = open_model(folder).student().state_dict()
    checked = checkpoint.checked_bytes

    def replaced(directory: Path, name: str, meta: checkpoint.Meta) -> bytes:
        data = checked(directory, name, meta)
        shutil.copy(other / name, directory / name)
        return data

    monkeypatch.setattr(checkpoint, "checked_bytes", replaced)
    found = open_model(folder).student().state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize(
    "change",
    [
        {"vision_cfg": {"timm_model_name": "local-dir:evil"}},
        {"vision_cfg": {"timm_model_name": "hf-hub:a/b"}},
        {"text_cfg": {"hf_model_name": "./evil"}},
        {"text_cfg": {"width": 10**9}},
        {"pretrained": "../weights.pt"},
    ],
)
def test_an_open_clip_folder_that_names_another_model_is_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tiny_clip_folder(tmp_path)
    config = json.loads((folder / CLIP_CONFIG).read_text())
    for key, value in change.items():
        old = config["model_cfg"].get(key)
        config["model_cfg"][key] = {**old, **value} if isinstance(old, dict) else value
    (folder / CLIP_CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not describe a model"):
        open_model(folder)


def test_opening_models_leaves_the_loggers_of_the_program_alone(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    open_model(tiny_clip_folder(tmp_path)).label_encoder()
    assert (root.level, list(root.handlers)) == before
