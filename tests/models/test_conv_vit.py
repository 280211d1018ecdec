"""The small ViT with a convolutional stem: a timm architecture like any other."""

import open_clip
import pytest
import timm
import torch
from torch import Tensor

from mkt_search.models.build import create_student
from mkt_search.models.conv_vit import NAME, Residual, conv_stem
from mkt_search.models.student import create_backbone, measure_backbone


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_the_name_is_registered_with_timm() -> None:
    assert timm.is_model(NAME)
    model = timm.create_model(NAME, num_classes=0)
    assert model.pretrained_cfg["architecture"] == NAME


def test_pretrained_weights_are_refused() -> None:
    with pytest.raises(RuntimeError, match="No pretrained weights exist"):
        timm.create_model(NAME, pretrained=True)


@torch.inference_mode()
def test_an_image_becomes_a_class_token_and_a_token_per_patch() -> None:
    model = timm.create_model(NAME, num_classes=0).eval()
    assert model.forward_features(images()).shape == (2, 1 + 64, 192)
    assert measure_backbone(model, (64, 64)) == (192, (8, 8))


@torch.inference_mode()
def test_size_width_and_depth_can_be_chosen() -> None:
    options = {"embed_dim": 32, "depth": 1, "num_heads": 2}
    model = create_backbone(NAME, image_size=(32, 48), **options).eval()
    assert len(model.blocks) == 1  # type: ignore[arg-type]
    assert measure_backbone(model, (32, 48)) == (32, (4, 6))


@torch.inference_mode()
def test_the_stem_reduces_by_eight_and_keeps_the_order_of_patches() -> None:
    stem = conv_stem(16).eval()
    seen = stem(images())
    assert seen.shape == (2, 16, 8, 8)
    model = create_backbone(NAME, image_size=(64, 64), embed_dim=16, num_heads=2).eval()
    cells = model.patch_embed.backbone(images())  # type: ignore[operator, union-attr]
    torch.testing.assert_close(model.patch_embed(images()), cells.flatten(2).mT)  # type: ignore[operator]


@torch.inference_mode()
def test_a_cell_of_the_stem_depends_only_on_the_pixels_around_it() -> None:
    """The stem is convolutional, so distant pixels do not affect a cell."""
    stem = conv_stem(8).eval()
    one, other = images(), images()
    other[:, :, :, 56:] = 0
    changed = (stem(one) - stem(other)).abs().amax(dim=(0, 1))  # (8, 8)
    assert changed[:, 7].min() > 0
    assert changed[:, 0].max() == 0


@torch.inference_mode()
def test_a_residual_starts_as_the_identity_of_values_above_zero() -> None:
    block = Residual(4).eval()
    x = torch.rand(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(x), x)


@torch.inference_mode()
def test_a_loaded_state_gives_the_same_model() -> None:
    one, other = (timm.create_model(NAME, num_classes=0).eval() for _ in range(2))
    assert not torch.equal(one.forward_features(images()), other.forward_features(images()))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.forward_features(images()), other.forward_features(images()))


@torch.inference_mode()
def test_a_student_can_be_built_on_it() -> None:
    student = create_student(NAME, image_size=(64, 64), dim=16, heads="shared").eval()
    assert student.grid == (8, 8)
    assert not student.is_convolutional
    vectors = student(images())
    assert (vectors.global_vectors.shape, vectors.patches.shape) == ((2, 16), (2, 64, 16))


def test_its_blocks_can_be_frozen_and_have_their_own_rates() -> None:
    student = create_student(NAME, image_size=(64, 64), dim=16)
    student.freeze(1)
    still = {name for name, p in student.named_parameters() if not p.requires_grad}
    assert any("patch_embed" in name for name in still)
    assert any("blocks.0." in name for name in still)
    assert not any("blocks.1." in name for name in still)


def test_open_clip_builds_a_model_with_it() -> None:
    vision = {
        **{"timm_model_name": NAME, "timm_pool": "token", "timm_proj": "linear"},
        "image_size": 64,
    }
    text = {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
    model = open_clip.CustomTextCLIP(embed_dim=16, vision_cfg=vision, text_cfg=text).eval()
    with torch.inference_mode():
        assert model.encode_image(images()).shape == (2, 16)
