"""Three named sets of defaults for training; a setting that is given beats its recipe.

    mkt train stage1 --recipe linear | finetune | paper

`linear` is the defaults of mkt.toml: a frozen backbone, heads that start at a ridge regression. The
other recipes name what they change.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mkt_search.settings.config import Config, Stage1Config, Stage2Config

PAPER_CLIP = "ViT-B-16-quickgelu/openai"  # OpenAI's ViT-B/16, which open_clip downloads


@dataclass(frozen=True)
class Recipe:
    """Defaults that differ from those of mkt.toml, by key of [stage1] and [stage2]."""

    stage1: Mapping[str, Any] = field(default_factory=dict)
    stage2: Mapping[str, Any] = field(default_factory=dict)


RECIPES: dict[str, Recipe] = {
    "linear": Recipe(),
    "finetune": Recipe(
        stage1={
            "frozen": "5",
            "epochs": 3,
            "batch_size": 32,
            "lr": 1e-4,
            "warmup_epochs": 1.0,
            "weight_decay": 0.05,
            "layer_decay": 0.5,
            "ema": 0.99,
            "flip": True,
            "crop_scale": 0.5,
            "randaugment": "rand-m5-n2-mstd0.5-inc1",
        }
    ),
    "paper": Recipe(
        stage1={
            "text_model": PAPER_CLIP,
            "lengths": "own",
            "teacher": PAPER_CLIP,
            "backbone": "vit_base_patch16_clip_quickgelu_224",
            "backbone_weights": "teacher",
            "frozen": "10",
            "heads": "shared",
            "head_init": "teacher",
            "pca_dim": 0,
            "resize": "crop",
            "top_k": 16,
            "score": "vocabulary",
            "score_scale": 1.0,
            "regression": 0.0,
            "distill": 1.0,
            "epochs": 20,
            "batch_size": 64,
            "lr": 1e-3,
            "min_lr": 1e-6,
            "warmup_epochs": 2.0,
            "weight_decay": 0.05,
            "layer_decay": 0.65,
            "flip": True,
            "crop_scale": 0.08,
            "randaugment": "rand-m9-mstd0.5-inc1",
        },
        stage2={
            "batch_size": 512,
            "score": "vocabulary",
            "score_scale": 1.0,
            "weight_decay": 0.05,
            "flip": True,
            "crop_scale": 0.08,
            "randaugment": "rand-m9-mstd0.5-inc1",
        },
    ),
}


def stage1_settings(config: Config) -> Stage1Config:
    """Return [stage1] with the defaults of its recipe in place of those of mkt.toml."""
    return with_recipe(config.stage1, given_keys(config, "stage1"))


def stage2_settings(config: Config) -> Stage2Config:
    """Return [stage2] with the defaults of the recipe that [stage1] names."""
    recipe = RECIPES[config.stage1.recipe]
    given = given_keys(config, "stage2")
    return replace(config.stage2, **_without(recipe.stage2, given))


def given_keys(config: Config, section: str) -> set[str]:
    """Return the keys of a section that a flag, the environment or mkt.toml sets."""
    return {
        name.partition(".")[2]
        for name, source in config.sources.items()
        if name.startswith(f"{section}.") and source != "default"
    }


def with_recipe(config: Stage1Config, given: Collection[str]) -> Stage1Config:
    """Return the settings with the recipe's defaults for keys that are not given.

    A label table takes the place of the recipe's text tower, and the teacher that belongs to a text
    tower is its own image tower.
    """
    defaults = dict(RECIPES[config.recipe].stage1)
    if config.label_table:
        defaults.pop("text_model", None)
        defaults.pop("lengths", None)
    if config.text_model and "teacher" in defaults:
        defaults["teacher"] = config.text_model
    return replace(config, **_without(defaults, given))


def _without(defaults: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in defaults.items() if key not in given}
