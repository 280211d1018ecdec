"""From settings to plans: read once, every combination checked here, and split for the parts.

Only this module of training reads `Stage1Config` or `Stage2Config`. The checks need no data and no
model, so a run that cannot work is refused at once.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mkt_search.errors import TrainingError
from mkt_search.models.stream_choice import check_local_share
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from mkt_search.types import EQUAL_SHARES
from training.data.augment import RANDAUGMENT_POLICY, Augmentation
from training.data.label_vectors import LabelSpec
from training.learning.anchor import AnchorSpec
from training.learning.build import BackboneSpec, Channels
from training.learning.heads import HeadInit
from training.learning.losses import LossSpec, RankingSpec
from training.learning.schedule import OptimizerSpec
from training.learning.teacher_anchor import TeacherAnchorSpec
from training.runs.spec import RunSpec

TEACHER = "teacher"  # as the backbone's weights

# Settings that say where things are and how fast they are computed, but do not change the result.
_WITHOUT_EFFECT = {
    *("kind", "photos", "labels", "splits", "unseen", "label_table", "backbone_weights"),
    *(
        "classifier",
        "class_names",
        "recipe",
        "teacher",
        "cache",
        "workers",
        "device",
        "labels_at_once",
    ),
}


@dataclass(frozen=True)
class Stage1Plan:
    """What stage 1 does, split into what its parts need.

    Args:
        labels: the label vectors.
        backbone: the backbone and its input.
        heads: the heads and their start.
        anchor: what keeps the knowledge from before training: a classifier's part in the vectors,
            or the teacher's share of the weights; None for nothing.
        local_share: weight of the local stream in the score; None is chosen with the anchor.
        teacher: the open_clip model that teaches; "" where nothing is asked of one.
        loss: the loss.
        optimizer: AdamW and its schedule.
        augmentation: changes of training photos.
        run: seed and device.
    """

    labels: LabelSpec
    backbone: BackboneSpec
    heads: HeadInit
    anchor: AnchorSpec | TeacherAnchorSpec | None
    local_share: float | None
    teacher: str
    loss: LossSpec
    optimizer: OptimizerSpec
    augmentation: Augmentation
    run: RunSpec

    @property
    def is_frozen(self) -> bool:
        """True when only the heads learn."""
        return self.backbone.frozen == "all"

    @property
    def needs_features(self) -> bool:
        """True when the features of all photos are computed first."""
        return self.is_frozen or self.heads.needs_features

    @property
    def needs_label_space(self) -> bool:
        """True when the teacher's vectors must lie in the space of the labels."""
        loss = self.loss
        return bool(loss.distill or loss.distill_patches) or self.heads.start == TEACHER


@dataclass(frozen=True)
class Stage2Plan:
    """What stage 2 does.

    Args:
        loss: the ranking loss.
        optimizer: AdamW and its schedule.
        labels_per_step: seen labels that a step looks at; 0 is all.
        labels_at_once: labels in the text tower at a time.
        augmentation: changes of training photos; without any, photos are encoded once.
        run: seed and device.
    """

    loss: RankingSpec
    optimizer: OptimizerSpec
    labels_per_step: int
    labels_at_once: int
    augmentation: Augmentation
    run: RunSpec


def plan_stage1(config: Stage1Config, *, cache: Path) -> Stage1Plan:
    """Check the settings of stage 1 and split them.

    Args:
        cache: folder of what is computed once, unless the settings name another.

    Raises:
        TrainingError: the settings contradict each other; the text names the flags.
    """
    plan = Stage1Plan(
        labels=_labels(config),
        backbone=_backbone(config),
        heads=HeadInit(config.heads, config.head_init, config.ridge, config.pca_dim),
        anchor=_anchor(config),
        local_share=_local_share(config),
        teacher=config.teacher if _uses_teacher(config) else "",
        loss=LossSpec(
            k=config.top_k,
            ranking=_ranking(config),
            regression=config.regression,
            distill=config.distill,
            distill_on=config.distill_on,
            distill_patches=config.distill_patches,
        ),
        optimizer=OptimizerSpec(
            epochs=config.epochs,
            batch_size=config.batch_size,
            lr=_positive(config, "lr"),
            min_lr=config.min_lr,
            warmup_epochs=config.warmup_epochs,
            weight_decay=config.weight_decay,
            layer_decay=_positive(config, "layer_decay"),
            clip_grad=config.clip_grad,
            ema=config.ema,
        ),
        augmentation=Augmentation(config.flip, config.crop_scale, config.randaugment),
        run=_run(config, cache),
    )
    _check_ema(plan.optimizer)
    _check_augmentation(plan.augmentation)
    _check_frozen(plan)
    _check_heads(plan.heads)
    _check_teacher(config)
    return plan


def plan_stage2(config: Stage2Config, *, cache: Path) -> Stage2Plan:
    """Check the settings of stage 2 and split them; arguments as for `plan_stage1`.

    Raises:
        TrainingError: a setting is out of range; the text names the flag.
    """
    augmentation = Augmentation(config.flip, config.crop_scale, config.randaugment)
    _check_augmentation(augmentation)
    return Stage2Plan(
        loss=_ranking(config),
        optimizer=OptimizerSpec(
            epochs=config.epochs,
            batch_size=config.batch_size,
            lr=_positive(config, "lr"),
            min_lr=config.min_lr,
            weight_decay=config.weight_decay,
            clip_grad=config.clip_grad,
        ),
        labels_per_step=config.labels_per_step,
        labels_at_once=config.labels_at_once,
        augmentation=augmentation,
        run=_run(config, cache),
    )


def result_settings(data: DataConfig, config: Stage1Config | Stage2Config) -> dict[str, Any]:
    """Return the settings that decide the result of a run, as JSON values.

    A stopped run resumes only under the same ones, and `meta.json` records them.
    """
    settings = {**asdict(data), **asdict(config)}
    settings = {key: v for key, v in settings.items() if key not in _WITHOUT_EFFECT}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}


def _labels(config: Stage1Config) -> LabelSpec:
    if bool(config.label_table) == bool(config.text_model):
        raise TrainingError("give either --label-table FILE or --text-model NAME/TAG.")
    if config.label_table and config.lengths == "own":
        raise TrainingError(
            "--lengths own needs --text-model: the vectors of a label table have length 1."
        )
    return LabelSpec(
        table=Path(config.label_table) if config.label_table else None,
        text_model=config.text_model,
        lengths=config.lengths,
        transform=config.label_transform,
        whiten_power=config.whiten_power,
        whiten_shrink=config.whiten_shrink,
    )


def _backbone(config: Stage1Config) -> BackboneSpec:
    weights: Path | Literal["teacher"] | None = None
    if config.backbone_weights:
        is_teacher = config.backbone_weights == TEACHER
        weights = "teacher" if is_teacher else Path(config.backbone_weights)
    std = _channels(config.std, "std")
    if std is not None and min(std) <= 0:
        raise TrainingError("--std must be above 0 for each channel.")
    return BackboneSpec(
        name=config.backbone,
        options=_options(config.backbone_args),
        weights=weights,
        frozen=_frozen(config.frozen),
        image_size=(config.image_height, config.image_width),
        resize=config.resize,
        mean=_channels(config.mean, "mean"),
        std=std,
    )


def _anchor(config: Stage1Config) -> AnchorSpec | TeacherAnchorSpec | None:
    weight = None if config.anchor == "auto" else _anchor_weight(config.anchor)
    if weight == 0:
        return None
    if config.backbone_weights == config.head_init == TEACHER:
        return TeacherAnchorSpec(weight)
    if config.frozen != "all":  # what learns is no longer what the classifier was trained on
        if weight is not None:
            raise TrainingError(
                f"--anchor {config.anchor} needs a backbone that does not learn, or a student that"
                " starts as its teacher; give --frozen all, or --teacher NAME/TAG"
                " --backbone-weights teacher --head-init teacher."
            )
        return None
    weights = config.backbone_weights if config.backbone_weights != TEACHER else ""
    classifier = config.classifier or weights
    return AnchorSpec(
        weight=weight,
        classifier=Path(classifier) if classifier else None,
        class_names=Path(config.class_names) if config.class_names else None,
    )


def _local_share(config: Stage1Config) -> float | None:
    """Return the weight of the local stream; None to choose it with the anchor."""
    if config.local_share == "auto":
        return EQUAL_SHARES if config.loss_on in ("global", "local") else None
    try:
        share = float(config.local_share)
        check_local_share(share)
    except ValueError:
        raise TrainingError(
            f'--local-share is "{config.local_share}"; it must be auto, or a number between'
            " 0 and 1."
        ) from None
    return share


def _anchor_weight(text: str) -> float:
    """Return the weight of an anchor, from 0 to below 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise TrainingError(
            f'--anchor is "{text}"; it must be auto, or a number from 0 to below 1.'
        )
    return value


def _ranking(config: Stage1Config | Stage2Config) -> RankingSpec:
    return RankingSpec(
        score=config.score,
        scale=_positive(config, "score_scale"),
        margin=config.margin,
        absent=config.absent_labels,
        on=config.loss_on,
    )


def _run(config: Stage1Config | Stage2Config, cache: Path) -> RunSpec:
    return RunSpec(
        cache=Path(config.cache) if config.cache else cache,
        seed=config.seed,
        device=config.device,
        dtype=config.dtype,
        workers=config.workers,
    )


def _uses_teacher(config: Stage1Config) -> bool:
    """Return True when a setting asks something of the teacher."""
    starts = (config.backbone_weights, config.head_init)
    return TEACHER in starts or config.distill > 0 or config.distill_patches > 0


def _check_ema(optimizer: OptimizerSpec) -> None:
    if not 0 <= optimizer.ema < 1:
        raise TrainingError(f"--ema is {optimizer.ema}; it must be at least 0 and below 1.")


def _check_frozen(plan: Stage1Plan) -> None:
    augmentation = plan.augmentation
    if plan.is_frozen and (augmentation.crop_scale < 1 or augmentation.randaugment):
        raise TrainingError(
            "random crops and RandAugment need a backbone that learns; give --frozen a number."
        )
    if plan.is_frozen and plan.loss.distill_patches:
        raise TrainingError(
            f"--distill-patches {plan.loss.distill_patches:g} needs a backbone that learns; give"
            " --frozen a number."
        )


def _check_augmentation(augmentation: Augmentation) -> None:
    crop_scale, policy = augmentation.crop_scale, augmentation.randaugment
    if not 0 < crop_scale <= 1:
        raise TrainingError(f"--crop-scale is {crop_scale}; it must be above 0, at most 1.")
    if policy and not RANDAUGMENT_POLICY.fullmatch(policy):
        raise TrainingError(
            f'--randaugment is "{policy}"; it must be a policy in timm\'s syntax, such as'
            " rand-m9-mstd0.5-inc1."
        )


def _check_heads(heads: HeadInit) -> None:
    if heads.kind == "mlp" and heads.start != "random":
        raise TrainingError(
            f"--head-init {heads.start} needs --heads linear or shared; take --head-init random"
            " --pca-dim 0, or other heads."
        )
    if heads.kind == "mlp" and heads.pca_dim:
        raise TrainingError("--pca-dim needs --heads linear or shared; set it to 0.")
    if heads.start == TEACHER and heads.pca_dim:
        raise TrainingError(
            "--head-init teacher sets heads that see every channel; give --pca-dim 0."
        )


def _check_teacher(config: Stage1Config) -> None:
    wishes = {
        f"--distill {config.distill:g}": config.distill > 0,
        f"--distill-patches {config.distill_patches:g}": config.distill_patches > 0,
        "--backbone-weights teacher": config.backbone_weights == TEACHER,
        "--head-init teacher": config.head_init == TEACHER,
    }
    for wish, is_made in wishes.items():
        if is_made and not config.teacher:
            raise TrainingError(f"{wish} needs a teacher; name one by --teacher NAME/TAG.")
    if config.head_init == TEACHER and not config.backbone_weights:
        raise TrainingError(
            "--head-init teacher: its projection means nothing on a random backbone; give"
            " --backbone-weights teacher."
        )


def _positive(config: Stage1Config | Stage2Config, name: str) -> float:
    """Return a setting that must be above 0."""
    value: float = getattr(config, name)
    if value <= 0:
        raise TrainingError(f"--{name.replace('_', '-')} is {value:g}; it must be above 0.")
    return value


def _channels(values: tuple[float, ...], name: str) -> Channels | None:
    if not values:
        return None
    if len(values) != 3:
        raise TrainingError(f"--{name} needs three numbers, one for each of red, green, blue.")
    red, green, blue = values
    return red, green, blue


def _frozen(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if text.isdecimal():
        return int(text)
    raise TrainingError(f'--frozen is "{text}"; it must be a number of blocks, or all.')


def _options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Return timm's arguments from "name=value" pairs; numbers, true, false and none are parsed."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.isidentifier():
            raise TrainingError(f'--backbone-arg "{pair}" must be name=value.')
        options[name] = _parsed(value)
    return options


def _parsed(text: str) -> Any:
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
