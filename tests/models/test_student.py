"""The student over real timm backbones: shapes, streams, heads, frozen blocks, local weights."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from mkt_search.errors import ModelError
from mkt_search.models.build import create_student
from mkt_search.models.student import Student, create_backbone, create_heads, read_tensors
from tests.tiny import SIDE, colour_student, tiny_student

BACKBONES = Path(__file__).parents[2].parent / "shared/data/backbones"
MOBILENET = BACKBONES / "mobilenetv2_100_imagenet.safetensors"
needs_mobilenet = pytest.mark.skipif(not MOBILENET.exists(), reason="no ../shared/data/backbones")


@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("test_vit", (160, 160), (10, 10)),  # [cls | patches]
        ("test_vit3", (160, 160), (10, 10)),  # no class token
        ("vit_tiny_patch16_224", (64, 96), (4, 6)),
        ("test_convnext", (160, 96), (5, 3)),  # (B, C, H, W)
        ("test_efficientnet", (64, 96), (2, 3)),
        pytest.param(  # (B, H, W, C)
            *("swin_tiny_patch4_window7_224", (224, 224), (7, 7)), marks=pytest.mark.slow
        ),
    ],
)
def test_any_backbone_gives_two_streams(
    name: str, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    student = create_student(name, image_size=size, dim=8).eval()
    vectors = student(torch.zeros(2, 3, *size))
    assert student.grid == grid
    assert vectors.global_vectors.shape == (2, 8)
    assert vectors.patches.shape == (2, grid[0] * grid[1], 8)


def test_a_vit_gives_its_class_token_and_its_patches_in_order() -> None:
    student = tiny_student()
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    tokens = student.backbone.forward_features(images)
    cls, patches = student.features(images)
    assert torch.equal(cls, tokens[:, 0])
    assert torch.equal(patches, tokens[:, 1:])


def test_a_feature_map_gives_its_cells_in_row_order_and_their_mean() -> None:
    student = create_student("test_convnext", image_size=(160, 96), dim=8).eval()
    images = torch.randn(2, 3, 160, 96, generator=torch.Generator().manual_seed(1))
    cells = student.backbone.forward_features(images)
    cls, patches = student.features(images)
    assert torch.equal(patches[:, 1 * 3 + 2], cells[:, :, 1, 2])
    torch.testing.assert_close(cls, cells.mean(dim=(2, 3)))


def test_the_colour_student_encodes_mean_colours() -> None:
    images = torch.zeros(1, 3, SIDE, SIDE)
    images[:, 0] = 1
    images[:, :, 8:16, 24:32] = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1)  # row 1, column 3
    vectors = colour_student()(images)
    torch.testing.assert_close(vectors.global_vectors[0, :3], torch.tensor([15 / 16, 0, 1 / 16]))
    torch.testing.assert_close(vectors.patches[0, 7, :3], torch.tensor([0.0, 0, 1]))
    torch.testing.assert_close(vectors.patches[0, 8, :3], torch.tensor([1.0, 0, 0]))


def test_forward_is_project_of_features() -> None:
    student = tiny_student()
    images = torch.randn(2, 3, SIDE, SIDE)
    whole, parts = student(images), student.project(*student.features(images))
    assert torch.equal(whole.global_vectors, parts.global_vectors)
    assert torch.equal(whole.patches, parts.patches)


def test_heads_are_two_or_one() -> None:
    for kind, layers in (("linear", 2), ("mlp", 4), ("shared", 1)):
        student = create_student("test_vit", image_size=(160, 160), dim=8, heads=kind)  # type: ignore[arg-type]
        heads = nn.ModuleList([student.global_head, student.local_head])
        assert sum(isinstance(module, nn.Linear) for module in heads.modules()) == layers
    with pytest.raises(ModelError, match='unknown heads "deep"; take linear, mlp or shared'):
        create_heads("deep", 8, 8)  # type: ignore[arg-type]


def test_shared_heads_are_saved_once_and_loaded_as_one() -> None:
    student = colour_student()
    state = student.state()
    assert not [name for name in state if name.startswith("local_head")]
    other = colour_student()
    torch.nn.init.zeros_(other.state()["global_head.weight"])
    other.load(state, source="the test")
    loaded = other.state_dict()["local_head.weight"]
    assert torch.equal(loaded, state["global_head.weight"])


def test_a_shared_head_has_no_bias_unless_the_weights_have_one() -> None:
    def student() -> Student:
        return create_student("test_vit", image_size=(160, 160), dim=8, heads="shared")

    plain, loaded = student(), student()
    assert "global_head.bias" not in plain.state()
    state = {**plain.state(), "global_head.bias": torch.arange(8.0)}  # as in old checkpoints
    loaded.load(state, source="the test")
    cls, patches = torch.randn(2, 64), torch.randn(2, 3, 64)
    for found, without in zip(
        loaded.project(cls, patches), plain.project(cls, patches), strict=True
    ):
        torch.testing.assert_close(found, without + torch.arange(8.0))
    assert loaded.local_head is loaded.global_head
    assert set(loaded.state()) == set(state)


def test_freezing_covers_the_stem_and_the_first_blocks() -> None:
    student = create_student("vit_tiny_patch16_224", image_size=(32, 32), dim=8, depth=4)
    student.freeze(3)
    trained = {n for n, p in student.named_parameters() if p.requires_grad}
    assert not any("patch_embed" in name or "pos_embed" in name for name in trained)
    assert {name.split(".")[2] for name in trained if ".blocks." in name} == {"3"}
    assert {"global_head.weight", "local_head.weight", "backbone.norm.weight"} <= trained
    student.freeze("all")
    trained = {n for n, p in student.named_parameters() if p.requires_grad}
    assert trained == {f"{s}_head.{n}" for s in ("global", "local") for n in ("weight", "bias")}
    student.freeze(0)
    assert all(parameter.requires_grad for parameter in student.parameters())
    with pytest.raises(ModelError, match="cannot freeze 40 blocks of a backbone that has"):
        student.freeze(40)


def test_frozen_batch_norm_does_not_change_in_training() -> None:
    student = create_student("test_efficientnet", image_size=(64, 64), dim=8)
    student.freeze("all")
    student.train()
    before = {n: b.clone() for n, b in student.named_buffers()}
    student(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(b, before[n]) for n, b in student.named_buffers())
    student.freeze(0)
    student.train()
    student(torch.randn(4, 3, 64, 64))
    assert not all(torch.equal(b, before[n]) for n, b in student.named_buffers())


def test_local_weights_fit_with_their_classifier(tmp_path: Path) -> None:
    whole = timm.create_model("test_vit", num_classes=7)
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        backbone = create_backbone("test_vit", image_size=(160, 160), weights=tmp_path / name)
        assert torch.equal(backbone.state_dict()["cls_token"], whole.state_dict()["cls_token"])


def test_weights_of_another_image_size_are_resampled(tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "w.safetensors")
    weights = tmp_path / "w.safetensors"
    backbone = create_backbone("test_vit", image_size=(96, 64), weights=weights)
    assert backbone.state_dict()["pos_embed"].shape[1] == 1 + 6 * 4


def test_weights_of_another_architecture_are_refused_with_a_reason(tmp_path: Path) -> None:
    save_file(timm.create_model("test_convnext").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"w\.safetensors does not fit test_vit: \d+ of its \d+ "):
        create_backbone("test_vit", image_size=(160, 160), weights=tmp_path / "w.safetensors")
    deep = timm.create_model("vit_tiny_patch16_224", depth=3, num_classes=0)
    save_file(deep.state_dict(), tmp_path / "deep.safetensors")
    with pytest.raises(ModelError, match=r"tensors are unknown, such as blocks.2"):
        create_backbone(
            "vit_tiny_patch16_224",
            image_size=(224, 224),
            weights=tmp_path / "deep.safetensors",
            depth=2,
        )


def test_names_and_arguments_unknown_to_timm_are_refused_with_a_reason() -> None:
    with pytest.raises(ModelError, match=r'no backbone "mobilenetv2_10".*did you mean mobilenetv2'):
        create_backbone("mobilenetv2_10", image_size=(224, 224))
    with pytest.raises(
        ModelError, match="cannot build test_vit: the option 'wings' is not allowed"
    ):
        create_backbone("test_vit", image_size=(160, 160), wings=2)
    for options in ({"num_heads": 0}, {"depth": "x"}, {"embed_dim": -8}):
        with pytest.raises(ModelError, match="cannot build test_vit: the option"):
            create_backbone("test_vit", image_size=(160, 160), **options)


def test_images_smaller_than_a_patch_are_refused_with_a_reason() -> None:
    with pytest.raises(ModelError, match="test_vit cannot encode images of 160 x 7"):
        create_backbone("test_vit", image_size=(160, 7))


def test_files_that_are_not_weights_are_refused_with_a_reason(tmp_path: Path) -> None:
    for name, data in (
        ("a.safetensors", b"xx"),
        ("a.pth", b"xx"),
        ("b.pth", b""),
        ("d.pth", b"hello"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ModelError, match="cannot be read as weights"):
            read_tensors(tmp_path / name)
    torch.save({"a": [1, 2]}, tmp_path / "c.pth")
    with pytest.raises(ModelError, match="is not a file of named tensors"):
        read_tensors(tmp_path / "c.pth")
    with pytest.raises(ModelError, match="no weights at"):
        read_tensors(tmp_path / "none.safetensors")


def test_code_in_a_weights_file_never_runs(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return open, (str(tmp_path / "sprung"), "w")  # type: ignore[return-value]

    torch.save({"weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ModelError, match=r"convert it to \.safetensors") as caught:
        read_tensors(tmp_path / "trap.pth")
    assert "weights_only" not in str(caught.value)  # torch advises to run the code
    assert not (tmp_path / "sprung").exists()


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    student, state = tiny_student(), tiny_student(seed=1).state()
    state["global_head.weight"] = torch.zeros(3, 3)
    before = student.state()["global_head.bias"].clone()
    with pytest.raises(ModelError, match=r"global_head\.weight: \(3, 3\) instead of \(16, 16\)"):
        student.load(state, source="the test")
    assert torch.equal(student.state()["global_head.bias"], before)


@needs_mobilenet
def test_real_mobilenet_weights_give_seven_by_seven_patches() -> None:
    student = create_student(
        "mobilenetv2_100", image_size=(224, 224), dim=300, weights=MOBILENET, pad_type="same"
    )
    assert isinstance(student, Student)
    assert student.grid == (7, 7)
    assert student.is_convolutional
    student.freeze("all")
    cls, patches = student.eval().features(torch.zeros(1, 3, 224, 224))
    assert cls.shape == (1, 1280)
    assert patches.shape == (1, 49, 1280)
    assert len(student.parameter_groups()) == 8  # the stem and seven stages
