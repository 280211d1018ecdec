"""The weight of an anchor is chosen on seen labels and training photos that are held out."""

from dataclasses import replace

import pytest
import torch

from mkt_search.errors import ModelError, TrainingError
from mkt_search.models.anchor import Classifier
from mkt_search.models.anchor_choice import Point
from mkt_search.progress import no_progress
from mkt_search.types import ImageSpec
from tests.painted import painted_task
from tests.tiny import SIDE, colour_student
from training.data.features import FeatureCache, compute_features
from training.data.task import Task
from training.learning.anchor import (
    WEIGHTS,
    AnchorSpec,
    choose_weight,
    fit_anchor,
    open_classifier,
    reads_cls,
    weight_table,
    with_weight,
)
from training.runs.spec import RunSpec

COLOURS = Classifier(100 * torch.eye(3), torch.zeros(3), ("red", "a green", "blue"))


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return painted_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def cache(task: Task, tmp_path_factory: pytest.TempPathFactory) -> FeatureCache:
    spec = ImageSpec(SIDE, SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    run = RunSpec(tmp_path_factory.mktemp("cache"), device="cpu", dtype="float32", workers=0)
    return compute_features(
        task.dataset, colour_student(), spec, run, mirrored=False, progress=no_progress
    )


def test_the_part_of_an_anchor_has_mean_0_and_length_1_over_the_training_photos(
    task: Task, cache: FeatureCache
) -> None:
    anchor = fit_anchor(COLOURS, task, cache, seed=0)
    cls, patches = cache.get(task.trainable)
    parts = anchor(cls)
    torch.testing.assert_close(parts.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    assert float(parts.square().sum(dim=1).mean()) == pytest.approx(1, rel=1e-4)
    assert anchor.patch_center is not None
    zeros = torch.zeros(len(cls), 8), torch.zeros(*patches.shape[:2], 8)
    of_patches = anchor.add(type(colour_student().project(cls, patches))(*zeros), cls, patches)
    mean = of_patches.patches.mean(dim=(0, 1))
    torch.testing.assert_close(mean, torch.zeros(8), atol=1e-5, rtol=0)
    doubled = with_weight(anchor, 2 / 3)
    assert doubled is not None and with_weight(anchor, 0) is None
    torch.testing.assert_close(doubled(cls), 2 * parts)


def test_the_curve_starts_without_anchor_and_reads_neither_test_photos_nor_unseen_labels(
    task: Task, cache: FeatureCache
) -> None:
    anchor = fit_anchor(COLOURS, task, cache, seed=0)
    curve = weight_table(anchor, colour_student(), task, cache, k=2, seed=0).by_weight()
    assert [point.weight for point in curve] == list(WEIGHTS) and WEIGHTS[0] == 0
    targets = task.dataset.targets.copy()
    targets[:, task.seen :] *= -1
    targets[task.photos.test] *= -1
    other = replace(task, dataset=replace(task.dataset, targets=targets))
    assert weight_table(anchor, colour_student(), other, cache, k=2, seed=0).by_weight() == curve
    assert weight_table(anchor, colour_student(), task, cache, k=2, seed=1).by_weight() != curve


def test_the_smallest_weight_that_is_nearly_the_best_is_taken() -> None:
    curve = [Point(0.0, 0.2, 0.5), Point(0.2, 0.396, 0.49), Point(0.3, 0.4, 0.4)]
    assert choose_weight(curve) == 0.2
    assert choose_weight([Point(0.0, 0.2, 0.5), Point(0.1, 0.1, 0.6)]) == 0


def test_a_classifier_that_gives_one_class_for_every_photo_is_refused(
    task: Task, cache: FeatureCache
) -> None:
    same = Classifier(torch.zeros(2, 3), torch.zeros(2), ("red", "blue"))
    with pytest.raises(TrainingError, match="the same classes for every photo"):
        fit_anchor(same, task, cache, seed=0)


def test_class_names_that_the_label_space_does_not_know_are_refused(
    task: Task, cache: FeatureCache
) -> None:
    strange = replace(COLOURS, names=("tench", "hen", "eft"))
    with pytest.raises(ModelError, match="none of the 3 class names, such as tench"):
        fit_anchor(strange, task, cache, seed=0)


def test_without_a_classifier_there_is_a_remark_or_an_error_for_a_given_weight() -> None:
    said: list[str] = []
    student = colour_student()
    assert open_classifier(AnchorSpec(), student, (SIDE, SIDE), said.append) is None
    assert said == [
        "no anchor: there is no classifier in a random backbone; --classifier names the file of one"
    ]
    with pytest.raises(TrainingError, match=r"--anchor 0\.3 cannot be had: there is no classifier"):
        open_classifier(AnchorSpec(weight=0.3), student, (SIDE, SIDE), said.append)


def test_a_backbone_with_layers_before_its_classifier_has_no_anchor() -> None:
    from mkt_search.models.build import create_student

    for name, expected in (("mobilenetv2_035", True), ("mobilenetv3_small_050", False)):
        student = create_student(name, image_size=(32, 32), dim=4).eval()
        assert reads_cls(student, (32, 32)) == expected
