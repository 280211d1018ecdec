"""The settings of stage 1 in the form its parts want them, checked beyond what config can."""

from typing import Any, Literal

from torch import nn

from mkt_search.config import Stage1Config
from mkt_search.errors import TrainingError
from mkt_search.types import ImageSpec


def check(config: Stage1Config) -> None:
    """Refuse settings that cannot be followed. Raises TrainingError naming the flag."""
    for name in ("photos", "labels"):
        if not getattr(config, name):
            raise TrainingError(f"--{name} is missing; name the {_MEANING[name]}.")
    if bool(config.label_table) == bool(config.text_model):
        raise TrainingError("give either --label-table FILE or --text-model NAME/TAG.")
    if config.lr <= 0 or config.min_lr < 0 or config.score_scale <= 0 or config.layer_decay <= 0:
        raise TrainingError("--lr, --score-scale and --layer-decay must be above 0.")
    if not 0 <= config.ema < 1:
        raise TrainingError(f"--ema is {config.ema}; it must lie in 0 to 1, 1 excluded.")
    if not 0 < config.crop_scale <= 1:
        raise TrainingError(f"--crop-scale is {config.crop_scale}; it must be above 0, at most 1.")
    if frozen_depth(config) == "all" and config.crop_scale < 1:
        raise TrainingError("random crops need a backbone that learns; give --frozen a number.")
    for name in ("mean", "std"):
        if len(getattr(config, name)) not in (0, 3):
            raise TrainingError(f"--{name} needs three numbers, one for each of red, green, blue.")
    if config.std and min(config.std) <= 0:
        raise TrainingError("--std must be above 0 for each channel.")
    backbone_options(config)


def frozen_depth(config: Stage1Config) -> int | Literal["all"]:
    """Return how many first blocks stand still."""
    if config.frozen == "all":
        return "all"
    if config.frozen.isdecimal():
        return int(config.frozen)
    raise TrainingError(f'--frozen is "{config.frozen}"; it must be a number of blocks, or all.')


def image_spec(config: Stage1Config, backbone: nn.Module) -> ImageSpec:
    """Return what the student sees; mean and std not given are those timm knows the backbone by."""
    known = getattr(backbone, "pretrained_cfg", {})
    red, green, blue = config.mean or known.get("mean", (0.5, 0.5, 0.5))
    spread = config.std or known.get("std", (0.5, 0.5, 0.5))
    return ImageSpec(
        config.image_height,
        config.image_width,
        mean=(red, green, blue),
        std=(spread[0], spread[1], spread[2]),
        resize=config.resize,
    )


def backbone_options(config: Stage1Config) -> dict[str, Any]:
    """Return the further timm arguments; "name=value" with numbers, true and false read as such."""
    options: dict[str, Any] = {}
    for text in config.backbone_args:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise TrainingError(f'--backbone-arg "{text}" must be name=value.')
        options[name] = _value(value)
    return options


def _value(text: str) -> Any:
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


_MEANING = {"photos": "folder of the training photos", "labels": "file that maps photos to labels"}
