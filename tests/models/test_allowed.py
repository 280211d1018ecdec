"""What a checkpoint may say of its model."""

from typing import Any

import pytest

from mkt_search.models.allowed import OPEN_CLIP, TIMM, check_description, check_options


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"img_size": 224, "patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12},
        {"img_size": [32, 48], "mlp_ratio": 4.0, "init_values": None, "class_token": False},
        {"pad_type": "same", "global_pool": "", "pos_embed": "none", "drop_path_rate": 0.1},
        {"init_values": 1e-5, "depths": (2, 2, 6, 2), "num_classes": 0},
    ],
)
def test_options_of_an_architecture_are_taken(options: dict[str, Any]) -> None:
    check_options(options, TIMM)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("checkpoint_path", value) for value in ("weights.pth", "", None)),
        *((name, True) for name in ("pretrained", "scriptable", "exportable", "features_only")),
        ("pretrained_cfg", {"file": "weights.pth"}),
        ("pretrained_cfg_overlay", {"url": "https://example.org/w.pth"}),
        *((name, "x") for name in ("cache_dir", "block_fn", "weight_init", "__class__")),
        *(("embed_dim", value) for value in (0, -1, 10**9, 10**400, 8.0, "8", True, [8] * 99, [])),
        *(("depth", value) for value in (1_000_000, -1, "x", [[2]], None)),
        *(("mlp_ratio", value) for value in (float("nan"), float("inf"), -1, 10**400, "4")),
        *(("pad_type", value) for value in ("../x", "a/b", "x" * 41, "a\n", 7)),
        *(("class_token", value) for value in (1, "true", None)),
        ("num_classes", 10**9),
    ],
)
def test_any_other_option_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        check_options({name: value}, TIMM)


def test_a_model_of_open_clip_has_one_option() -> None:
    check_options({"force_quick_gelu": True}, OPEN_CLIP)
    for name in ("pretrained", "pretrained_image_path", "cache_dir", "vision_cfg"):
        with pytest.raises(ValueError, match=name):
            check_options({name: "x"}, OPEN_CLIP)


def test_a_description_has_numbers_flags_and_words() -> None:
    text = {"hf_model_name": "known/model", "vocab_size": 901_629, "pool_type": "argmax"}
    value = {"embed_dim": 16, "vision_cfg": {"layers": [1, 1, 1, 1]}, "text_cfg": text, "x": None}
    check_description(value, named={"hf_model_name": lambda name: name == "known/model"})


@pytest.mark.parametrize(
    "value",
    [
        *({"x": item} for item in ("../weights.pt", "hf-hub:a/b", "/etc", 10**9, float("inf"))),
        {"hf_model_name": "a/b"},
        {"x": [0] * 1_000},
        {"a": {"b": {"c": {"d": {"e": 1}}}}},
        "https://example.org",
    ],
)
def test_a_description_with_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        check_description(value, named={"hf_model_name": lambda name: name == "known/model"})
