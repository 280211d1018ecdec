"""Patch vectors of every family of open_clip's towers: in their places, beside `encode_image`."""

import copy
import logging
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import timm
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import QuickGELU, VisionTransformer
from torch import Tensor, nn

from mkt_search.models.clip_student import ClipStudent, clip_student
from mkt_search.models.last_block import corrected, gaussian_window, watched
from mkt_search.types import PatchVectors

SIDE, PATCH, DIM = 32, 8, 16
FORMS = get_args(PatchVectors)
VIT = {"image_size": SIDE, "patch_size": PATCH, "width": 32, "heads": 2, "mlp_ratio": 2.0}
SMALL = {"img_size": SIDE, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 2.0}


def vit(layers: int, **changes: Any) -> VisionTransformer:
    return VisionTransformer(layers=layers, output_dim=DIM, **{**VIT, **changes})


def trunk(
    name: str, pool: str, *, proj: str = "", layers: int, grid: bool = True, **changes: Any
) -> TimmModel:
    """Return open_clip's wrapper of a timm backbone, shrunken; `proj` as open_clip has it."""
    classes = 0 if proj else DIM
    options = {**SMALL, "depth": layers, **({"patch_size": PATCH} if grid else {}), **changes}
    visual = TimmModel("test_vit", DIM, image_size=options["img_size"], pool="", proj="none")
    visual.trunk = timm.create_model(name, num_classes=classes, global_pool=pool, **options)
    is_linear = proj == "linear"
    visual.head = nn.Sequential(*[nn.Linear(32, DIM, bias=False)] * is_linear)
    return visual


def resnet(_: int) -> ModifiedResNet:
    return ModifiedResNet([1, 1, 1, 1], output_dim=DIM, heads=8, image_size=64, width=16)


CLASS_TOKEN = {  # name of the family -> a tower of so many blocks
    "OpenAI": lambda layers: vit(layers, act_layer=QuickGELU),
    "LAION-DataComp-DFN-MetaCLIP": vit,
    "bigG-layer-scale": lambda layers: vit(layers, ls_init_value=0.5),
    "EVA01": lambda layers: trunk("eva_giant_patch14_224", "token", layers=layers),
    "EVA02-B": lambda layers: trunk("eva02_base_patch16_clip_224", "token", layers=layers),
    "EVA02-L": lambda layers: trunk("eva02_large_patch14_clip_224", "token", layers=layers),
    "EVA02-E-post-norm": lambda layers: trunk(
        "eva02_enormous_patch14_clip_224", "token", layers=layers
    ),
    "MobileCLIP-B": lambda layers: trunk(
        *("vit_base_mci_224", "token"), layers=layers, grid=False, img_size=64, embed_dim=768
    ),
    "MobileCLIP2-L-14": lambda layers: trunk("vit_large_patch14_clip_224", "token", layers=layers),
    "relpos-cls": lambda layers: trunk(
        "vit_relpos_medium_patch16_cls_224", "token", layers=layers, proj="linear"
    ),
}
NORMED = {"EVA02-B", "EVA02-L", "EVA02-E-post-norm"}  # a norm follows the mean of the values
ATTENTION = {
    "SigLIP-SigLIP2": lambda layers: trunk(
        "vit_base_patch16_siglip_224", "map", layers=layers, proj="none"
    ),
    "PE-Core": lambda layers: trunk("vit_pe_core_tiny_patch16_384", "map", layers=layers),
    "ResNet": resnet,
}
MEAN = {
    "CLIPA": lambda layers: vit(layers, pool_type="avg", final_ln_after_pool=True, no_ln_pre=True),
    "vit-medium-gap": lambda layers: trunk(
        "vit_medium_patch16_gap_256", "avg", layers=layers, proj="linear"
    ),
}
ODD = {
    "qk-norm": lambda layers: vit(layers, qk_norm=True),
    "scaled-cosine": lambda layers: vit(layers, scaled_cosine_attn=True),
    "custom-block": lambda layers: vit(layers, block_type="custom"),
}
FAMILIES = {**CLASS_TOKEN, **ATTENTION, **MEAN, **ODD}
RUN = set(FAMILIES) - {"scaled-cosine"}  # open_clip builds it, but cannot run it


def student_of(family: str, form: PatchVectors, *, layers: int = 2) -> ClipStudent:
    """Return a tower of random weights; the same for the same family and number of blocks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        visual = FAMILIES[family](layers).eval()
        for parameter in visual.parameters():  # no bias and no norm may hide a mistake
            nn.init.normal_(parameter, std=0.2 if parameter.ndim > 1 else 0.5)
    visual.preprocess_cfg = {
        **{"size": visual.image_size, "mean": (0.5,) * 3, "std": (0.5,) * 3},
        "resize_mode": "squash",
    }
    return clip_student(SimpleNamespace(visual=visual), form)


def photos(student: ClipStudent, *, seed: int = 0) -> Tensor:
    size = (student.image.height, student.image.width)
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", sorted(RUN))
@torch.inference_mode()
def test_the_global_vector_is_encode_image_to_the_bit_in_every_form(family: str) -> None:
    student = student_of(family, "own")
    before = student.visual(photos(student))
    for form in FORMS:
        student.patch_vectors = form
        vectors = student(photos(student))
        assert torch.equal(vectors.global_vectors, before)
        assert vectors.patches.shape == (2, student.grid[0] * student.grid[1], student.dim)
    assert torch.equal(student.visual(photos(student)), before)


@pytest.mark.parametrize("family", CLASS_TOKEN)
@torch.inference_mode()
def test_every_form_of_a_class_token_tower_is_another_one(family: str) -> None:
    student = student_of(family, "own")
    found = []
    for form in FORMS:
        student.patch_vectors = form
        assert student.patch_vectors == form
        found.append(student(photos(student)).patches)
    scale = found[0].std()
    assert all((a - b).abs().max() > 0.01 * scale for a, b in ([found[:2], found[1:]]))


@pytest.mark.parametrize("family", CLASS_TOKEN)
@torch.inference_mode()
def test_with_one_block_a_value_depends_on_the_pixels_of_its_own_patch_alone(family: str) -> None:
    student = student_of(family, "value", layers=1)
    images = photos(student)
    rows, columns = student.grid
    high, wide = images.shape[2] // rows, images.shape[3] // columns
    changed = photos(student, seed=1)
    changed[:, :, -high:, -wide:] = images[:, :, -high:, -wide:]  # the last patch stays
    first, second = student(images).patches, student(changed).patches
    torch.testing.assert_close(first[:, -1], second[:, -1], rtol=1e-5, atol=1e-5)
    assert (first[:, :-1] - second[:, :-1]).abs().amax(dim=-1).min() > 1e-3
    student.patch_vectors = "own"
    first, second = student(images).patches, student(changed).patches
    assert (first[:, -1] - second[:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", sorted(set(CLASS_TOKEN) - NORMED))
@torch.inference_mode()
def test_patches_of_equal_keys_share_their_values_by_distance_alone(family: str) -> None:
    student = student_of(family, "value")
    block = _last_block(student)
    _zero_keys(block.attn)
    with watched(block) as calls:
        student.visual(photos(student))
    prefix = calls[0].given.shape[1] - len(student.window)
    kk, value = (
        corrected(block, calls[0], form, prefix=prefix, window=student.window)
        for form in ("kk", "value")
    )
    torch.testing.assert_close(kk, student.window.softmax(dim=-1) @ value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ATTENTION)
@torch.inference_mode()
def test_a_map_of_one_token_repeated_has_the_vector_of_encode_image(family: str) -> None:
    student = student_of(family, "kk")
    assert student.patch_vectors == "own"
    visual = student.visual
    if isinstance(visual, ModifiedResNet):
        pool = visual.attnpool
        nn.init.zeros_(pool.positional_embedding)

        def repeat(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
            return (given[0][:, :, :1, :1].expand_as(given[0]),)

        handle = pool.register_forward_pre_hook(repeat)
    else:
        handle = visual.trunk.norm.register_forward_hook(
            lambda _, __, tokens: tokens[:, -1:].expand_as(tokens)
        )
    global_vectors, patches = student(photos(student))
    handle.remove()
    expected = global_vectors[:, None].expand_as(patches)
    torch.testing.assert_close(patches, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ODD)
def test_a_block_of_another_kind_keeps_its_own_tokens_and_says_so(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        student = student_of(family, "kk")
    assert student.patch_vectors == "own"
    assert "CustomResidualAttentionBlock" in student.why_own
    assert "cannot be corrected" in caplog.text


@pytest.mark.parametrize("family", {**ATTENTION, **MEAN})
def test_towers_that_are_right_as_they_are_say_nothing(
    family: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        student = student_of(family, "kk")
    assert student.patch_vectors == "own"
    assert "pools by" in student.why_own
    assert not caplog.text


def test_the_window_is_one_for_a_patch_itself_and_falls_with_distance() -> None:
    window = gaussian_window((2, 14))
    assert torch.equal(window, window.T)
    assert torch.equal(window.diag(), torch.ones(28))
    assert window[0, 5] == pytest.approx(2.718281828**-0.5)  # 5 of 14 patches to the right
    assert window[0, 14] > window[0, 15] > window[0, 16]


@torch.inference_mode()
def test_a_copy_of_another_form_leaves_the_first_as_it_was() -> None:
    first = student_of("OpenAI", "kk")
    before = first(photos(first)).patches
    second = copy.deepcopy(first)
    second.patch_vectors = "value"
    assert not torch.equal(second(photos(first)).patches, before)
    assert torch.equal(first(photos(first)).patches, before)


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="no patch vectors 'qq'"):
        student_of("OpenAI", "own").patch_vectors = "qq"  # type: ignore[assignment]


def _last_block(student: ClipStudent) -> Any:
    visual = student.visual
    is_plain = isinstance(visual, VisionTransformer)
    return (visual.transformer.resblocks if is_plain else visual.trunk.blocks)[-1]


@torch.no_grad()
def _zero_keys(attention: Any) -> None:
    """Make every key of an attention zero."""
    if getattr(attention, "qkv", None) is None and hasattr(attention, "k_proj"):
        nn.init.zeros_(attention.k_proj.weight)
        return
    weight = getattr(attention, "in_proj_weight", None)
    weight = attention.qkv.weight if weight is None else weight
    bias = getattr(attention, "in_proj_bias", None)
    bias = getattr(getattr(attention, "qkv", None), "bias", None) if bias is None else bias
    third = len(weight) // 3
    weight[third : 2 * third] = 0
    if bias is not None:
        bias[third : 2 * third] = 0
