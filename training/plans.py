"""The settings of stage 1 in the form its parts want them, checked beyond what config can."""

from typing import Any, Literal

from torch import nn

from mkt_search.errors import TrainingError
from mkt_search.settings.config import Stage1Config, Stage2Config
from mkt_search.types import ImageSpec
from training.data.augment import POLICY

TEACHER = "teacher"  # as the backbone's weights: those of the teacher's own tower


def check(config: Stage1Config) -> None:
    """Refuse settings that cannot be followed. Raises TrainingError naming the flag."""
    if bool(config.label_table) == bool(config.text_model):
        raise TrainingError("give either --label-table FILE or --text-model NAME/TAG.")
    require_positive(config, "lr", "score_scale", "layer_decay")
    if not 0 <= config.ema < 1:
        raise TrainingError(f"--ema is {config.ema}; it must lie in 0 to 1, 1 excluded.")
    if not 0 < config.crop_scale <= 1:
        raise TrainingError(f"--crop-scale is {config.crop_scale}; it must be above 0, at most 1.")
    if frozen_depth(config) == "all" and (config.crop_scale < 1 or config.randaugment):
        raise TrainingError(
            "random crops and RandAugment need a backbone that learns; give --frozen a number."
        )
    if config.randaugment and not POLICY.fullmatch(config.randaugment):
        raise TrainingError(
            f'--randaugment is "{config.randaugment}"; it must be a policy in timm\'s words, such'
            " as rand-m9-mstd0.5-inc1."
        )
    for name in ("mean", "std"):
        if len(getattr(config, name)) not in (0, 3):
            raise TrainingError(f"--{name} needs three numbers, one for each of red, green, blue.")
    if config.std and min(config.std) <= 0:
        raise TrainingError("--std must be above 0 for each channel.")
    backbone_options(config)
    _check_heads(config)
    _check_teacher(config)


def require_positive(config: Stage1Config | Stage2Config, *names: str) -> None:
    """Refuse settings that are not above 0. Raises TrainingError naming the flag and its value."""
    for name in names:
        value = getattr(config, name)
        if value <= 0:
            raise TrainingError(f"--{name.replace('_', '-')} is {value:g}; it must be above 0.")


def _check_heads(config: Stage1Config) -> None:
    if config.heads != "mlp":
        return
    if config.start != "random":
        way_out = "take --start random --feature-dim 0, or other heads"
        raise TrainingError(f"--start {config.start} needs --heads linear or shared; {way_out}.")
    if config.feature_dim:
        raise TrainingError("--feature-dim needs --heads linear or shared; set it to 0.")


def _check_teacher(config: Stage1Config) -> None:
    wishes = {
        f"--distill {config.distill:g}": config.distill > 0,
        "--backbone-weights teacher": config.backbone_weights == TEACHER,
        "--start teacher": config.start == "teacher",
    }
    for wish, is_made in wishes.items():
        if is_made and not config.teacher:
            raise TrainingError(f"{wish} needs a teacher; name one by --teacher NAME/TAG.")
    if config.start != "teacher":
        return
    if config.feature_dim:
        raise TrainingError(
            "--start teacher sets heads that see every channel; give --feature-dim 0."
        )
    if not config.backbone_weights:
        raise TrainingError(
            "--start teacher: its projection says nothing of a random backbone; give"
            " --backbone-weights teacher."
        )


def uses_teacher(config: Stage1Config) -> bool:
    """True when a setting asks something of the teacher."""
    asks = config.distill > 0 or config.backbone_weights == TEACHER or config.start == "teacher"
    return bool(config.teacher) and asks


def frozen_depth(config: Stage1Config) -> int | Literal["all"]:
    """Return how many first blocks stand still."""
    if config.frozen == "all":
        return "all"
    if config.frozen.isdecimal():
        return int(config.frozen)
    raise TrainingError(f'--frozen is "{config.frozen}"; it must be a number of blocks, or all.')


def image_spec(
    config: Stage1Config, backbone: nn.Module, teacher: ImageSpec | None = None
) -> ImageSpec:
    """Return what the student sees.

    Mean and std not given are the teacher's where the backbone's weights are; else those timm knows
    the backbone by.
    """
    known = getattr(backbone, "pretrained_cfg", {})
    if teacher is not None and config.backbone_weights == TEACHER:
        known = {"mean": teacher.mean, "std": teacher.std}
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
