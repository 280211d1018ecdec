"""Learning rates by step, and AdamW's groups by layer."""

import math

import pytest
import torch
from torch import nn

from mkt_search.models.build import create_student
from mkt_search.models.student import Student
from training.learning.schedule import OptimizerSpec, WarmupCosine, stage1_optimizer


def rates(count: int, *, peak: float = 1.0, **schedule: float) -> list[float]:
    """The rates of the first steps of a run."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    found = WarmupCosine([optimizer], **schedule)  # type: ignore[arg-type]
    return [_rate(found, optimizer, step) for step in range(count)]


def _rate(schedule: WarmupCosine, optimizer: torch.optim.Optimizer, step: int) -> float:
    schedule.set_rate(step)
    return float(optimizer.param_groups[0]["lr"])


def test_the_rate_rises_linearly_and_falls_along_half_a_cosine() -> None:
    found = rates(13, steps=12, warmup=2, lowest=0.2)
    assert found[:3] == [0.0, 0.5, 1.0]
    assert found[7] == pytest.approx(0.6)  # half way down
    assert found[4] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 5)) / 2)
    assert found[12] == pytest.approx(0.2)


@pytest.mark.parametrize(("steps", "warmup"), [(5, 0), (1, 0), (0, 0), (3, 2), (2, 4)])
def test_short_runs_have_rates_too(steps: int, warmup: int) -> None:
    found = rates(max(steps, 1), steps=steps, warmup=warmup, peak=3.0)
    assert found[0] == (0.0 if warmup else 3.0)
    assert all(0 < rate <= 3.0 for rate in found[1:])


def test_the_rates_of_the_paper_over_twenty_epochs() -> None:
    found = rates(2001, steps=20 * 100, warmup=2 * 100, peak=1e-3, lowest=1e-6)
    assert found[0] == 0 and found[1] == pytest.approx(1e-3 / 200)
    assert max(found) == found[200] == 1e-3
    assert found[1100] == pytest.approx((1e-3 + 1e-6) / 2)  # half way from epoch 2 to 20
    assert found[-1] == pytest.approx(1e-6)


def test_a_rate_depends_on_the_step_alone() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupCosine([optimizer], steps=9, warmup=3)
    forward = [_rate(schedule, optimizer, step) for step in range(9)]
    again = WarmupCosine([optimizer], steps=9, warmup=3)  # as a resumed run makes it
    assert [_rate(again, optimizer, step) for step in reversed(range(9))] == forward[::-1]


def test_a_group_learns_at_its_share_of_the_rate() -> None:
    groups = [
        {"params": [nn.Parameter(torch.zeros(1))]},
        {"params": [nn.Parameter(torch.zeros(1))], "lr_scale": 0.5},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.2)
    WarmupCosine([optimizer], steps=4).set_rate(0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.1]


def vit(*, frozen: int = 0, depth: int = 3) -> Student:
    options = {"patch_size": 8, "embed_dim": 16, "depth": depth, "num_heads": 2}
    student = create_student(
        "vit_base_patch16_clip_224", image_size=(32, 32), dim=5, heads="shared", **options
    )
    student.freeze(frozen)
    return student


def shares(student: Student, *, layer_decay: float = 0.65) -> dict[str, tuple[float, float]]:
    """Share of the rate and weight decay of each parameter that learns, by its name."""
    spec = OptimizerSpec(epochs=1, batch_size=1, lr=1, layer_decay=layer_decay, weight_decay=0.05)
    names = {id(parameter): name for name, parameter in student.named_parameters()}
    return {
        names[id(parameter)]: (group["lr_scale"], group["weight_decay"])
        for group in stage1_optimizer(student, spec).param_groups
        for parameter in group["params"]
    }


def test_the_last_two_blocks_of_the_paper_s_student_learn_at_layer_wise_rates() -> None:
    found = shares(vit(frozen=10, depth=12))
    assert {name.split(".")[2] for name in found if ".blocks." in name} == {"10", "11"}
    assert found["backbone.blocks.10.attn.qkv.weight"] == (pytest.approx(0.65**2), 0.05)
    assert found["backbone.blocks.11.mlp.fc1.weight"] == (pytest.approx(0.65), 0.05)
    assert found["backbone.blocks.11.norm1.weight"] == (pytest.approx(0.65), 0.0)
    assert found["backbone.norm.weight"] == (1.0, 0.0)
    assert found["global_head.weight"] == (1.0, 0.05)
    assert "global_head.bias" not in found
    assert not {"backbone.cls_token", "backbone.pos_embed"} & found.keys()


def test_class_token_and_positions_do_not_decay() -> None:
    found = shares(vit())
    assert found["backbone.cls_token"][1] == found["backbone.pos_embed"][1] == 0.0
    assert found["backbone.patch_embed.proj.weight"] == (pytest.approx(0.65**4), 0.05)


def test_a_block_of_a_cnn_is_a_stage() -> None:
    student = create_student("mobilenetv2_100", image_size=(32, 32), dim=5)
    student.freeze(5)
    found = shares(student, layer_decay=0.5)
    by_stage = {
        name.split(".")[2]: share for name, (share, _) in found.items() if ".blocks." in name
    }
    assert by_stage == {"5": 0.25, "6": 0.5}
    assert found["global_head.weight"] == (1.0, 0.05)
