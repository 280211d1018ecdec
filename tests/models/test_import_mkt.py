"""The authors' release becomes a checkpoint with the same scores; wrong files are refused."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import PROMPT, STUDENT, TOWER, hash_file, read_meta
from tests.command_line import mkt
from tests.odd_photos import noise
from tests.released_mkt import TINY, Release, full_release, reference_scores, tiny_release
from tests.tiny import tiny_clip

LABELS = ["dog", "polar bear", "There", "the scene", "Schwarzwälder Kirschtorte", "DOG!", "a"]
Names = Literal["clip", "tuned"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return tiny_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module", params=["clip", "tuned"])
def imported(
    release: Release, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Names, Path]:
    out = tmp_path_factory.mktemp(request.param) / "mkt"
    mkt("import-mkt", *release.options, "--names", request.param, "--out", out)
    return request.param, out


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    smooth = noise(9, 7, seed=0).resize((180, 140), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def scores(photo: Path, model: Path, labels: Sequence[str] = LABELS) -> dict[str, float]:
    """Return the scores of `mkt score` by label."""
    file = photo.with_name("labels.txt")
    file.write_text("\n".join(labels), encoding="utf-8")
    options = ("--fuse", "vocabulary", "--dtype", "float32", "--device", "cpu", "--json")
    result = mkt("score", photo, "--labels", file, "--model", model, *options)
    return {item["label"]: item["score"] for item in json.loads(result.stdout)[0]["labels"]}


def copied(checkpoint: Path, to: Path) -> Path:
    shutil.copytree(checkpoint, to)
    return to


def as_large_jpeg(photo: Path) -> Path:
    """Return the photo as a JPEG that a decoder could reduce by four."""
    target = photo.with_suffix(".jpg")
    with Image.open(photo) as image:
        image.resize((720, 560)).save(target, quality=90)
    return target


@pytest.mark.parametrize("change", [lambda photo: photo, as_large_jpeg], ids=["png", "jpeg"])
def test_scores_equal_the_reference(
    release: Release, imported: tuple[Names, Path], photo: Path, change: Callable[[Path], Path]
) -> None:
    names, out = imported
    photo = change(photo)
    expected = reference_scores(release, photo, LABELS, names=names)
    assert np.ptp(list(expected.values())) > 0.1
    assert scores(photo, out) == pytest.approx(expected, abs=1e-5)


def test_embeddings_of_clip_and_tuned_ones_give_different_scores(
    release: Release, photo: Path
) -> None:
    clip = reference_scores(release, photo, LABELS, names="clip")
    tuned = reference_scores(release, photo, LABELS, names="tuned")
    assert max(abs(clip[label] - tuned[label]) for label in LABELS) > 0.01


@pytest.mark.soak
def test_scores_equal_the_reference_at_full_size(tmp_path: Path) -> None:
    release = full_release(tmp_path)
    noise(300, 280, seed=0).save(tmp_path / "photo.png")
    mkt("import-mkt", *release.options, "--out", tmp_path / "mkt")
    expected = reference_scores(release, tmp_path / "photo.png", LABELS, names="clip")
    assert scores(tmp_path / "photo.png", tmp_path / "mkt") == pytest.approx(expected, abs=1e-5)


def test_the_checkpoint_records_its_use_and_provenance(
    release: Release, imported: tuple[Names, Path]
) -> None:
    names, out = imported
    meta = read_meta(out)
    assert meta.backbone == "vit_base_patch16_clip_quickgelu_224"
    assert (meta.heads, meta.top_k, meta.dim, meta.grid) == ("shared", 18, 16, (6, 6))
    assert (meta.image.height, meta.image.shorter_side) == (48, 54)
    assert meta.image.mean == (0.485, 0.456, 0.406)
    assert meta.prompt is not None
    assert (meta.prompt.model, meta.prompt.template) == (TINY, "There is a {} in the scene")
    assert meta.trained["names"] == names
    assert meta.trained["top_k"] == 16
    assert meta.trained["image"] == hash_file(release.folder / "first.pth")
    assert set(meta.files) == {STUDENT, TOWER} | ({PROMPT} if names == "clip" else set())


def test_an_import_does_not_need_its_source_files(
    imported: tuple[Names, Path], photo: Path, tmp_path: Path
) -> None:
    _, out = imported
    assert scores(photo, copied(out, tmp_path / "elsewhere")) == scores(photo, out)


def test_label_vectors_have_lengths_near_one(imported: tuple[Names, Path]) -> None:
    vectors = open_model(imported[1]).label_encoder().encode(["label", *LABELS])
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[0] == pytest.approx(1)
    assert lengths[1:] == pytest.approx(1, abs=0.5)
    assert np.ptp(lengths) > 0.01


def test_a_replaced_text_tower_is_refused(
    imported: tuple[Names, Path], photo: Path, tmp_path: Path
) -> None:
    copy = copied(imported[1], tmp_path / "copy")
    data = bytearray((copy / TOWER).read_bytes())
    data[-1] ^= 1
    (copy / TOWER).write_bytes(data)
    result = mkt("score", photo, "--labels", __file__, "--model", copy, code=1)
    assert f"{copy / TOWER} is not the file that meta.json describes" in result.stderr


# ------------------------------------------------------------------------------ what can be wrong


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def complaint(release: Release, out: Path, *changes: str | Path) -> str:
    """Return the error of `mkt import-mkt`; later options override earlier ones."""
    result = mkt("import-mkt", *release.options, "--out", out, *changes, code=1)
    assert not out.exists()
    assert result.stderr.startswith("Error: ")
    return result.stderr


@pytest.mark.parametrize("option", ["--image-checkpoint", "--text-checkpoint", "--clip-weights"])
def test_code_in_a_file_is_refused_and_never_run(
    release: Release, tmp_path: Path, option: str
) -> None:
    trap, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"projection_dist": Trap(sprung)}, trap)
    assert str(trap) in complaint(release, tmp_path / "mkt", option, trap)
    assert not sprung.exists()
    torch.load(trap, weights_only=False)
    assert sprung.exists()


@pytest.mark.parametrize("option", ["--image-checkpoint", "--text-checkpoint", "--clip-weights"])
def test_a_file_that_is_missing_or_not_a_state_dict_is_named(
    release: Release, tmp_path: Path, option: str
) -> None:
    torch.save([1, 2, 3], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("not weights")
    for name in ("list.pth", "text.pth", "nothing.pth"):
        assert str(tmp_path / name) in complaint(release, tmp_path / "mkt", option, tmp_path / name)


def test_swapped_files_are_recognized(release: Release, tmp_path: Path) -> None:
    first, second = release.folder / "first.pth", release.folder / "second.pth"
    output = complaint(release, tmp_path / "mkt", "--image-checkpoint", second)
    assert f"{second} is not the image checkpoint of MKT: it has no projection_dist" in output
    assert "--image-checkpoint and --text-checkpoint swapped?" in output
    output = complaint(release, tmp_path / "mkt", "--text-checkpoint", first)
    assert f"{first} is not the text checkpoint of MKT: it has no token_embedding.weight" in output
    assert "it looks like the image checkpoint" in output
    clip = release.folder / "clip.safetensors"
    assert "is not the image checkpoint" in complaint(
        release, tmp_path / "mkt", "--image-checkpoint", clip
    )


@pytest.mark.parametrize(
    ("lost", "option"),
    [
        ("ln_post.bias", "--image-checkpoint"),
        ("transformer.resblocks.1.mlp.c_fc.weight", "--image-checkpoint"),
        ("text_projection", "--text-checkpoint"),
    ],
)
def test_a_missing_tensor_is_named(
    release: Release, tmp_path: Path, lost: str, option: str
) -> None:
    state = dict(release.image if option == "--image-checkpoint" else release.text)
    del state[lost]
    torch.save(state, tmp_path / "less.pth")
    output = complaint(release, tmp_path / "mkt", option, tmp_path / "less.pth")
    assert "1 of its " in output
    assert output.endswith(f"tensors are missing, such as {lost}\n")


def test_weights_of_another_size_are_refused(release: Release, tmp_path: Path) -> None:
    state = dict(release.image)
    state["conv1.weight"] = state["conv1.weight"][:, :, :4, :4]
    torch.save(state, tmp_path / "other.pth")
    output = complaint(release, tmp_path / "mkt", "--image-checkpoint", tmp_path / "other.pth")
    assert "conv1.weight: (32, 3, 4, 4) instead of (32, 3, 8, 8)" in output


def blocks(width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of twelve transformer blocks."""
    block = {
        **{"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)},
        **{"attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,)},
        **{"mlp.c_fc.weight": (4 * width, width), "mlp.c_fc.bias": (4 * width,)},
        **{"mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,)},
        **{f"ln_{n}.{part}": (width,) for n in (1, 2) for part in ("weight", "bias")},
    }
    return {
        f"transformer.resblocks.{n}.{k}": shape for n in range(12) for k, shape in block.items()
    }


RELEASED_IMAGE = {
    **{"conv1.weight": (768, 3, 16, 16), "class_embedding": (768,)},
    **{"positional_embedding": (197, 768), "projection_dist": (768, 512)},
    **{f"ln_{n}.{part}": (768,) for n in ("pre", "post") for part in ("weight", "bias")},
    **{"projection.fc1.weight": (512, 768), "projection.fc1.bias": (512,)},
    **{"projection.fc2.weight": (512, 512), "projection.fc2.bias": (512,)},
    **blocks(768),
}
RELEASED_TEXT = {
    **{"token_embedding.weight": (49408, 512), "positional_embedding": (77, 512)},
    **{"text_projection": (512, 512), "ln_final.weight": (512,), "ln_final.bias": (512,)},
    **blocks(512),
}


@pytest.mark.slow
def test_a_release_of_full_size_has_exactly_the_expected_tensors(tmp_path: Path) -> None:
    for name, shapes in (("first.pth", RELEASED_IMAGE), ("second.pth", RELEASED_TEXT)):
        state = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
        state.pop("ln_final.bias", None)
        torch.save(state, tmp_path / name)
    given = Release(tmp_path, {}, {}, torch.empty(0), model="ViT-B-16")
    output = complaint(given, tmp_path / "mkt", "--names", "tuned")
    assert output == (
        f"Error: {tmp_path / 'second.pth'} does not hold the text tower of ViT-B-16-quickgelu:"
        f" 1 of its {len(RELEASED_TEXT)} tensors are missing, such as ln_final.bias\n"
    )


@pytest.mark.parametrize(
    ("tower", "why"),
    [("vit", "tiny-vit has no QuickGELU"), ("resnet", "it is a ModifiedResNet")],
)
def test_a_clip_that_mkt_does_not_start_from_is_refused(
    release: Release, tmp_path: Path, tower: str, why: str
) -> None:
    name, _, weights = tiny_clip(tmp_path, tower).partition("/")
    output = complaint(release, tmp_path / "mkt", "--clip", name, "--clip-weights", weights)
    assert why in output
    assert "ViT-B-16" in output


def test_an_unknown_clip_is_refused_with_the_nearest(release: Release, tmp_path: Path) -> None:
    for names in ("clip", "tuned"):
        output = complaint(release, tmp_path / "mkt", "--clip", "ViT-B16", "--names", names)
        assert 'no model "ViT-B16"; did you mean ViT-B-16' in output


def test_embeddings_of_clip_need_its_weights_and_tuned_ones_do_not(
    release: Release, tmp_path: Path
) -> None:
    options = [*release.options[:2], *release.options[4:], "--out", tmp_path / "mkt"]
    output = mkt("import-mkt", *options, code=1).stderr
    assert "name the weights of tiny-mkt with --clip-weights" in output
    assert "--names tuned" in output
    output = mkt("import-mkt", *options, "--names", "tuned").stderr
    assert f"wrote {tmp_path / 'mkt'}" in output
    assert "mkt index --model" in output


def test_weights_of_another_clip_are_reported(release: Release, tmp_path: Path) -> None:
    remark = "differs from .* in more than its embeddings, such as"
    output = mkt("import-mkt", *release.options, "--out", tmp_path / "same").stderr
    assert not re.search(remark, output)
    other = load_file(release.folder / "clip.safetensors")
    other["transformer.resblocks.1.mlp.c_fc.bias"] += 1
    save_file(other, tmp_path / "other.safetensors")
    weights = ("--clip-weights", tmp_path / "other.safetensors")
    output = mkt("import-mkt", *release.options, *weights, "--out", tmp_path / "mkt").stderr
    assert re.search(rf"{remark} transformer\.resblocks\.1\.mlp\.c_fc\.bias", output)


def test_an_existing_directory_is_not_replaced(
    release: Release, imported: tuple[Names, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("mine")
    for out in (folder, folder / "file", imported[1]):
        before = sorted(out.parent.rglob("*"))
        output = mkt("import-mkt", *release.options, "--out", out, code=1).stderr
        assert f"{out} already exists; name another directory with --out" in output
        assert sorted(out.parent.rglob("*")) == before


def test_an_empty_directory_is_filled(release: Release, tmp_path: Path) -> None:
    mkt("import-mkt", *release.options, "--out", tmp_path)
    assert read_meta(tmp_path).top_k == 18


def test_an_unknown_choice_of_names_is_a_usage_error(release: Release, tmp_path: Path) -> None:
    mkt("import-mkt", *release.options, "--out", tmp_path / "mkt", "--names", "both", code=2)
