"""CLIP's image towers as timm backbones give the same tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.models.build import create_student
from mkt_search.models.clip import create_clip
from mkt_search.models.clip_student import clip_student
from mkt_search.models.student import create_backbone
from mkt_search.models.towers import projection, timm_backbone_of, timm_state
from tests.tiny import tiny_clip

SHAPE = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "heads": 2, "mlp_ratio": 4.0}


def tower(**changes: Any) -> VisionTransformer:
    """Return a random ViT of open_clip whose biases and norms are not at their initial values."""
    generator = torch.Generator().manual_seed(0)
    visual = VisionTransformer(**{**SHAPE, "output_dim": 16, **changes})
    for parameter in visual.parameters():
        spread = 0.1 if parameter.ndim > 1 else 0.5
        nn.init.normal_(parameter, std=spread, generator=generator)
    return visual.eval()


def tokens(visual: VisionTransformer, images: Tensor) -> Tensor:
    """Return [cls | patches] after the last norm, computed step by step."""
    patches = visual.conv1(images).flatten(2).mT
    cls = visual.class_embedding.expand(len(images), 1, -1)
    embedded = visual.ln_pre(torch.cat([cls, patches], dim=1) + visual.positional_embedding)
    return visual.ln_post(visual.transformer(embedded))  # type: ignore[no-any-return]


def images_for(visual: Any) -> Tensor:
    return torch.randn(2, 3, *visual.image_size, generator=torch.Generator().manual_seed(1))


def as_timm(visual: Any) -> Any:
    name, options = timm_backbone_of(visual)
    backbone = create_backbone(name, image_size=visual.image_size, **options)
    backbone.load_state_dict(timm_state(visual))
    return backbone.eval()


@pytest.mark.parametrize("act", [nn.GELU, QuickGELU])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch_size": 16, "width": 48, "heads": 3},
        {"image_size": 64, "patch_size": 32, "layers": 3},
        {"image_size": (32, 48), "heads": 1},
        {"mlp_ratio": 4.3637, "width": 88},  # hidden layers of 383
        {"ls_init_value": 0.1},
    ],
    ids=str,
)
@torch.inference_mode()
def test_the_timm_backbone_gives_the_tower_tokens(
    changes: dict[str, Any], act: type[nn.Module]
) -> None:
    visual = tower(act_layer=act, **changes)
    images = images_for(visual)
    found = as_timm(visual).forward_features(images)
    torch.testing.assert_close(found, tokens(visual, images), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_activation_is_kept() -> None:
    usual, quick = tower(), tower(act_layer=QuickGELU)
    images = images_for(usual)
    assert (timm_backbone_of(usual)[0], timm_backbone_of(quick)[0]) == (
        "vit_base_patch16_clip_224",
        "vit_base_patch16_clip_quickgelu_224",
    )
    difference = as_timm(usual).forward_features(images) - as_timm(quick).forward_features(images)
    assert difference.abs().max() > 1e-3


@torch.inference_mode()
def test_a_student_initialized_from_tower_and_projection_equals_the_tower() -> None:
    visual = tower()
    visual.preprocess_cfg = {"size": 32, "mean": [0] * 3, "std": [1] * 3, "resize_mode": "shortest"}
    name, options = timm_backbone_of(visual)
    student = create_student(name, image_size=(32, 32), dim=16, heads="shared", **options).eval()
    student.backbone.load_state_dict(timm_state(visual))
    head = student.global_head
    assert isinstance(head, nn.Linear)
    head.weight.copy_(projection(visual))
    assert head.bias is None
    images = images_for(visual)
    expected = clip_student(create_model_of(visual), "own")(images)
    torch.testing.assert_close(student(images).global_vectors, visual(images), rtol=0, atol=1e-5)
    torch.testing.assert_close(student(images).patches, expected.patches, rtol=0, atol=1e-5)


def create_model_of(visual: VisionTransformer) -> nn.Module:
    model = nn.Module()
    model.visual = visual
    return model


def test_the_shape_of_clip_needs_no_options() -> None:
    big = {"image_size": 224, "patch_size": 16, "width": 768, "layers": 12, "heads": 12}
    with torch.device("meta"):
        visual = VisionTransformer(**{**SHAPE, **big}, act_layer=QuickGELU)
    assert timm_backbone_of(visual) == ("vit_base_patch16_clip_quickgelu_224", {})
    with torch.device("meta"):
        backbone = create_backbone("vit_base_patch16_clip_quickgelu_224", image_size=(224, 224))
    backbone.load_state_dict(timm_state(visual), assign=True)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"attentional_pool": True, "attn_pooler_heads": 2}, r"with queries \(CoCa\)"),
        ({"pool_type": "avg"}, "a mean of patches"),
        ({"no_ln_pre": True}, "no norm before its blocks"),
        ({"norm_layer": lambda width: nn.LayerNorm(width, eps=1e-6)}, "its norms"),
        ({"block_type": "custom"}, "CustomResidualAttentionBlock"),
        ({"act_layer": nn.SiLU}, r"its activation is SiLU\(\)"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_tower_that_no_timm_vit_matches_is_refused(changes: dict[str, Any], why: str) -> None:
    visual = tower(**changes)
    for use in (timm_backbone_of, timm_state, projection):
        with pytest.raises(ModelError, match=f"{why}.*ViT-B-16"):
            use(visual)


def test_a_resnet_is_refused(tmp_path: Path) -> None:
    name, _, _ = tiny_clip(tmp_path, "resnet").partition("/")
    with pytest.raises(ModelError, match="it is a ModifiedResNet"):
        timm_backbone_of(create_clip(name).visual)


@pytest.mark.parametrize("kind", ["map", "tokens", "convnext"])
@torch.inference_mode()
def test_a_timm_backbone_inside_open_clip_keeps_its_name(tmp_path: Path, kind: str) -> None:
    name, _, weights = tiny_clip(tmp_path, kind).partition("/")
    visual = create_clip(name, pretrained=weights).visual
    images = images_for(visual)
    backbone = as_timm(visual)
    expected = visual.trunk.forward_features(images)
    torch.testing.assert_close(backbone.forward_features(images), expected, rtol=0, atol=1e-5)
    assert timm_backbone_of(visual)[0].startswith("test_")


@pytest.mark.parametrize("kind", ["map", "convnext"])
def test_a_timm_backbone_with_another_pooling_gives_no_projection(
    tmp_path: Path, kind: str
) -> None:
    name, _, _ = tiny_clip(tmp_path, kind).partition("/")
    with pytest.raises(ModelError, match="pools its tokens before it projects"):
        projection(create_clip(name).visual)


def test_a_timm_backbone_that_was_altered_is_refused(tmp_path: Path) -> None:
    name, _, _ = tiny_clip(tmp_path, "tokens").partition("/")
    visual = create_clip(name).visual
    del visual.trunk.blocks[-1]
    with pytest.raises(ModelError, match="timm's test_vit is not the backbone inside this tower"):
        timm_backbone_of(visual)


def timm_tower(**changes: Any) -> TimmModel:
    """Return a random timm ViT in open_clip, with biases and norms away from their start."""
    given: dict[str, Any] = {"pool": "token", "proj": "linear", "image_size": 160, "embed_dim": 16}
    visual = TimmModel("test_vit", **{**given, **changes})
    generator = torch.Generator().manual_seed(0)
    for parameter in visual.parameters():
        spread = 0.1 if parameter.ndim > 1 else 0.5
        nn.init.normal_(parameter, std=spread, generator=generator)
    return visual.eval()


@torch.inference_mode()
def test_the_projected_class_token_of_a_timm_vit_has_a_projection() -> None:
    visual = timm_tower()
    images = images_for(visual)
    found = as_timm(visual).forward_features(images)[:, 0] @ projection(visual).T
    assert projection(visual).shape == (16, 64)
    torch.testing.assert_close(found, visual(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [{"pool": "avg"}, {"proj": "mlp"}, {"proj_bias": True}, {"proj": None, "embed_dim": 64}],
    ids=str,
)
def test_more_than_a_projected_token_gives_no_projection(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="pools its tokens before it projects"):
        projection(timm_tower(**changes))
