"""Plans: what settings mean for each part, and every combination that is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mkt_search.errors import TrainingError
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from training.data.augment import Augmentation
from training.learning.heads import HeadInit
from training.learning.losses import RankingSpec
from training.plans import Stage1Plan, plan_stage1, plan_stage2, result_settings
from training.recipes import with_recipe

CACHE = Path("cache")
LINEAR = Stage1Config(label_table="table.npz")
PAPER = with_recipe(Stage1Config(recipe="paper"), given=())


def planned(config: Stage1Config = LINEAR, **changes: Any) -> Stage1Plan:
    return plan_stage1(replace(config, **changes), cache=CACHE)


def test_the_linear_recipe_trains_heads_on_features() -> None:
    plan = planned()
    assert plan.is_frozen and plan.needs_features and not plan.teacher
    assert plan.labels.table == Path("table.npz") and plan.labels.transform == "whiten"
    assert plan.heads == HeadInit("linear", "ridge", 0.004, 256)
    assert plan.loss.ranking == RankingSpec("cosine", 10.0, 1.0, "keep", "fused")
    assert plan.augmentation == Augmentation()
    assert plan.run.cache == CACHE


def test_the_paper_s_recipe_trains_the_last_blocks_of_the_teacher_s_vit() -> None:
    plan = planned(PAPER)
    assert not plan.is_frozen and not plan.needs_features and plan.needs_label_space
    assert plan.teacher == plan.labels.text_model == "ViT-B-16-quickgelu/openai"
    assert plan.backbone.weights == "teacher" and plan.backbone.frozen == 10
    assert plan.heads == HeadInit("shared", "teacher", 0.004, 0)
    assert plan.loss.ranking == RankingSpec("vocabulary", 1.0, 1.0, "keep", "fused")
    assert (plan.loss.k, plan.loss.distill, plan.loss.regression) == (16, 1.0, 0.0)
    found = plan.optimizer
    assert (found.lr, found.min_lr, found.layer_decay, found.weight_decay) == (
        *(1e-3, 1e-6, 0.65, 0.05),
    )
    assert (found.epochs, found.warmup_epochs, found.batch_size, found.ema) == (20, 2.0, 64, 0.0)
    assert plan.augmentation == Augmentation(True, 0.08, "rand-m9-mstd0.5-inc1")


def test_the_finetune_recipe_trains_blocks_after_a_ridge_start() -> None:
    plan = planned(with_recipe(replace(LINEAR, recipe="finetune"), given=("label_table",)))
    assert plan.backbone.frozen == 5 and plan.needs_features and plan.heads.start == "ridge"
    assert plan.augmentation.flip and plan.optimizer.ema == 0.99


def test_a_teacher_that_nothing_asks_for_is_left_out() -> None:
    assert planned(teacher="ViT-B-16/openai").teacher == ""
    assert planned(teacher="ViT-B-16/openai", distill=1.0).teacher == "ViT-B-16/openai"


def test_arguments_of_the_backbone_are_parsed() -> None:
    pairs = ("a=1", "b=0.5", "c=true", "d=None", "e=same")
    expected = {"a": 1, "b": 0.5, "c": True, "d": None, "e": "same"}
    assert planned(backbone_args=pairs).backbone.options == expected


def test_given_channels_and_cache_reach_their_parts() -> None:
    plan = planned(mean=(0.1, 0.2, 0.3), cache="elsewhere")
    assert plan.backbone.mean == (0.1, 0.2, 0.3) and plan.backbone.std is None
    assert plan.run.cache == Path("elsewhere")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label_table": ""}, "either --label-table FILE or --text-model"),
        ({"text_model": "ViT-B-16/openai"}, "either --label-table FILE or --text-model"),
        ({"frozen": "some"}, '--frozen is "some"'),
        ({"crop_scale": 0.5}, "random crops and RandAugment need a backbone that learns"),
        ({"randaugment": "rand-m9"}, "random crops and RandAugment need a backbone that learns"),
        ({"randaugment": "rand-9", "frozen": "0"}, r'"rand-9"; .* rand-m9-mstd0\.5-inc1'),
        ({"crop_scale": 0.0, "frozen": "0"}, r"--crop-scale is 0\.0"),
        ({"ema": 1.0}, r"--ema is 1\.0"),
        ({"lr": 0.0}, r"--lr is 0; it must be above 0"),
        ({"score_scale": -1.0}, r"--score-scale is -1; it must be above 0"),
        ({"layer_decay": 0.0}, "--layer-decay is 0"),
        ({"mean": (0.5,)}, "--mean needs three"),
        ({"std": (0.5, 0.0, 0.5)}, "--std must be above 0"),
        ({"backbone_args": ("img_size",)}, "must be name=value"),
        ({"heads": "mlp"}, "--head-init ridge needs --heads linear"),
        ({"heads": "mlp", "head_init": "random"}, "--pca-dim needs --heads linear"),
        ({"distill": 1.0}, "--distill 1 needs a teacher; name one by --teacher"),
        ({"distill_patches": 1.0}, "--distill-patches 1 needs a backbone that learns"),
        ({"distill_patches": 1.0, "frozen": "1"}, "--distill-patches 1 needs a teacher"),
        ({"lengths": "own"}, "--lengths own needs --text-model"),
        ({"backbone_weights": "teacher"}, "--backbone-weights teacher needs a teacher"),
        (
            {"head_init": "teacher", "pca_dim": 0, "backbone_weights": "f"},
            "--head-init teacher needs a teacher",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TrainingError, match=sentence):
        planned(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": "mlp"}, "--head-init teacher needs --heads linear or shared"),
        ({"pca_dim": 8}, "give --pca-dim 0"),
        ({"backbone_weights": ""}, "means nothing on a random backbone"),
    ],
)
def test_a_teacher_s_start_needs_its_form(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TrainingError, match=sentence):
        planned(PAPER, **changes)


@pytest.mark.parametrize("share", ["much", "0", "1", "-0.5", "nan", ""])
def test_a_share_of_the_local_stream_lies_between_0_and_1(share: str) -> None:
    with pytest.raises(TrainingError, match=f'--local-share is "{share}"; it must be auto, or'):
        planned(local_share=share)


def test_the_share_of_the_local_stream_is_chosen_unless_one_stream_learns_alone() -> None:
    assert planned().local_share is None
    assert planned(local_share="0.7", loss_on="global").local_share == 0.7
    for stream in ("global", "local"):
        assert planned(loss_on=stream).local_share == 0.5


def test_stage_2_has_a_plan_too() -> None:
    plan = plan_stage2(Stage2Config(lr=0.5, labels_per_step=7), cache=CACHE)
    assert (plan.optimizer.lr, plan.labels_per_step, plan.labels_at_once) == (0.5, 7, 256)
    assert plan.optimizer.layer_decay == 1.0 and plan.optimizer.ema == 0.0
    with pytest.raises(TrainingError, match="--crop-scale is 2"):
        plan_stage2(Stage2Config(crop_scale=2.0), cache=CACHE)
    for name in ("lr", "score_scale"):
        flag = "--" + name.replace("_", "-")
        with pytest.raises(TrainingError, match=f"{flag} is 0; it must be above 0"):
            plan_stage2(replace(Stage2Config(), **{name: 0.0}), cache=CACHE)


def test_places_and_speed_do_not_count_as_settings_of_the_result() -> None:
    here = result_settings(DataConfig(photos="a"), replace(LINEAR, device="cpu", workers=3))
    there = result_settings(DataConfig(photos="b"), replace(LINEAR, cache="c", recipe="paper"))
    assert here == there
    assert here["lr"] == 3e-4 and here["split_seed"] == 0 and here["mean"] == []
    assert result_settings(DataConfig(), replace(LINEAR, lr=1.0)) != here
