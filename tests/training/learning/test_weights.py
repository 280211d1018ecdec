"""The weights that training changes, and their moving average."""

import pytest
import torch

from mkt_search.models.build import create_student
from mkt_search.models.student import Student
from tests.training.learning.test_schedule import vit
from training.learning.weights import AveragedWeights, TrainableWeights, interpolated


def names(student: Student) -> set[str]:
    return {name.replace("/", ".") for name in TrainableWeights(student).state_dict()}


def test_frozen_weights_are_left_out() -> None:
    found = names(vit(frozen=2))
    assert {"global_head.weight", "backbone.blocks.2.mlp.fc1.bias", "backbone.norm.bias"} <= found
    assert not {n for n in found if n.startswith(("backbone.blocks.0", "backbone.blocks.1"))}
    assert not {"backbone.cls_token", "backbone.pos_embed"} & found


def test_a_shared_head_is_there_once() -> None:
    assert {name for name in names(vit()) if "head" in name} == {"global_head.weight"}


def test_statistics_of_norms_are_there_where_they_move() -> None:
    student = create_student("test_efficientnet", image_size=(32, 32), dim=5)
    student.freeze(0)
    assert any(name.endswith("running_mean") for name in names(student))
    student.freeze("all")
    assert not any(name.endswith("running_mean") for name in names(student))
    first = next(n for n, _ in student.backbone.named_buffers() if n.endswith("running_mean"))
    student.freeze(1)
    assert f"backbone.{first}" not in names(student)
    assert any(name.endswith("running_mean") for name in names(student))


def test_the_tensors_are_the_student_s_own() -> None:
    student = vit()
    weights = TrainableWeights(student)
    with torch.no_grad():
        student.get_parameter("global_head.weight").fill_(float("nan"))
    assert not weights.is_finite()


def small() -> tuple[Student, AveragedWeights]:
    student = create_student("test_efficientnet", image_size=(32, 32), dim=2)
    return student, AveragedWeights(TrainableWeights(student), decay=0.5)


def set_bias(student: Student, value: float) -> None:
    with torch.no_grad():
        student.get_parameter("global_head.bias").fill_(value)


def test_the_average_follows_its_formula_and_copies_counters() -> None:
    student, average = small()
    set_bias(student, 0.0)
    average = AveragedWeights(TrainableWeights(student), decay=0.5)
    expected = 0.0
    for step in range(1, 15):
        set_bias(student, float(step))
        student.backbone.bn1.num_batches_tracked.fill_(step)
        average.update()
        decay = min(0.5, step / (step + 10))
        expected = decay * expected + (1 - decay) * step
    found = average.weights()
    assert found["global_head/bias"].tolist() == pytest.approx([expected] * 2)
    assert found["backbone/bn1/num_batches_tracked"].item() == 14


def test_an_average_continues_from_its_state() -> None:
    student, first = small()
    set_bias(student, 1.0)
    first.update()
    second = AveragedWeights(TrainableWeights(student), decay=0.5)
    second.load_state(first.state())
    set_bias(student, 3.0)
    for average in (first, second):
        average.update()
    for name, tensor in first.weights().items():
        assert torch.equal(tensor, second.weights()[name]), name


def test_interpolated_weights_are_between_both_and_counters_stay() -> None:
    own = {"a": torch.tensor([0.0, 1.0]), "steps": torch.tensor(3)}
    others = {"a": torch.tensor([1.0, 3.0]), "steps": torch.tensor(0)}
    found = interpolated(own, others, 0.25)
    torch.testing.assert_close(found["a"], torch.tensor([0.25, 1.5]))
    assert int(found["steps"]) == 3
