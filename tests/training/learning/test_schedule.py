"""Learning rates by step and by layer, and averaged weights."""

import math

import pytest
import torch
from torch import nn

from training.learning.schedule import (
    AveragedWeights,
    learning_rate,
    parameter_groups,
    set_learning_rate,
)


def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine() -> None:
    rates = [learning_rate(s, steps=12, warmup=2, peak=1.0, lowest=0.2) for s in range(13)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.6)  # half way down
    assert rates[4] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 5)) / 2)
    assert rates[12] == pytest.approx(0.2)


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    assert learning_rate(0, steps=5, warmup=0, peak=3.0, lowest=0.0) == 3.0
    assert learning_rate(0, steps=0, warmup=0, peak=3.0, lowest=0.0) == 3.0


def test_earlier_layers_learn_more_slowly_and_vectors_do_not_decay() -> None:
    stem, block, head = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
    stem.requires_grad_(False)
    modules = nn.ModuleDict({"stem": stem, "block": block, "head": head})
    layer = {"stem": 0, "block": 1, "head": 2}
    groups = parameter_groups(
        dict(modules.named_parameters()),
        lambda name: layer[name.split(".")[0]],
        layers=2,
        weight_decay=0.1,
        layer_decay=0.5,
    )
    found = {id(p): (g["share"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert found == {
        id(block.weight): (0.5, 0.1),
        id(block.bias): (0.5, 0.0),
        id(head.weight): (1.0, 0.1),
        id(head.bias): (1.0, 0.0),
    }
    optimizer = torch.optim.AdamW(groups)
    set_learning_rate(optimizer, 0.2)
    assert sorted({g["lr"] for g in optimizer.param_groups}) == [0.1, 0.2]


def test_what_is_spared_does_not_decay() -> None:
    head = nn.Linear(2, 2)
    parameters = {f"head.{name}": parameter for name, parameter in head.named_parameters()}
    groups = parameter_groups(
        parameters,
        lambda name: 0,
        layers=0,
        weight_decay=0.1,
        layer_decay=0.5,
        without_decay={"head.weight"},
    )
    assert {group["weight_decay"] for group in groups} == {0.0}


def test_the_paper_s_rates_over_twenty_epochs() -> None:
    steps = 20 * 100
    rates = [
        learning_rate(step, steps=steps, warmup=2 * 100, peak=1e-3, lowest=1e-6)
        for step in range(steps + 1)
    ]
    assert rates[0] == pytest.approx(1e-3 / 200) and max(rates) == rates[199] == 1e-3
    assert rates[1100] == pytest.approx((1e-3 + 1e-6) / 2)  # half way from epoch 2 to 20
    assert rates[-1] == pytest.approx(1e-6)


def test_averaged_weights_follow_their_formula_and_keep_counters() -> None:
    average = AveragedWeights({"w": torch.tensor([0.0]), "n": torch.tensor(0)}, decay=0.5)
    average.update({"w": torch.tensor([11.0]), "n": torch.tensor(1)})  # decay 1 / 11 at first
    assert average.weights["w"].item() == pytest.approx(10.0)
    for step in range(2, 11):
        average.update({"w": torch.tensor([10.0]), "n": torch.tensor(step)})
    average.weights["w"].fill_(0)
    average.update({"w": torch.tensor([4.0]), "n": torch.tensor(11)})
    assert average.weights["w"].item() == pytest.approx(2.0)  # now the decay that was asked for
    assert average.weights["n"].item() == 11


def test_weights_averaged_together_are_those_averaged_one_by_one() -> None:
    rng = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 4), "b": (5,), "c": ()}
    weights = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
    average = AveragedWeights({**weights, "n": torch.tensor(0)}, decay=0.9)
    alone = {name: tensor.clone() for name, tensor in weights.items()}
    for step in range(1, 200):
        new = {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}
        average.update({**new, "n": torch.tensor(step)})
        for name, mean in alone.items():
            mean.lerp_(new[name], 1 - min(0.9, step / (step + 10)))
    assert all(torch.equal(average.weights[name], mean) for name, mean in alone.items())
    assert average.weights["n"].item() == 199


def test_averaged_weights_go_on_from_their_state() -> None:
    first = AveragedWeights({"w": torch.zeros(2)}, decay=0.9)
    first.update({"w": torch.ones(2)})
    second = AveragedWeights({"w": torch.full((2,), 7.0)}, decay=0.9)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update({"w": torch.full((2,), 3.0)})
    assert torch.equal(first.weights["w"], second.weights["w"])
