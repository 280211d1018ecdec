"""The teacher's share of the weights is chosen on seen labels and training photos held out."""

from dataclasses import replace

import numpy as np
import pytest

from mkt_search.models.anchor_choice import Point
from tests.painted import painted_task
from training.data.task import Task
from training.learning.teacher_anchor import FOLDS, STUDENTS, choose_share, fold_tasks, weight_table
from training.runs.processes import ALONE


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return painted_task(tmp_path_factory.mktemp("task"))


def test_a_fold_holds_out_labels_and_photos_of_the_training_alone(task: Task) -> None:
    folds = list(fold_tasks(task, seed=0))
    assert len(folds) == STUDENTS < FOLDS
    assert not set(folds[0].labels.unseen) & set(folds[1].labels.unseen)
    for part in folds:
        assert {*part.labels.seen, *part.labels.unseen} == set(task.labels.seen)
        assert part.dataset.labels == (*part.labels.seen, *part.labels.unseen)
        assert {*part.photos.train, *part.photos.test} <= set(task.trainable)
        assert not set(part.photos.train) & set(part.photos.test)
        for column, name in enumerate(part.dataset.labels):
            own = task.dataset.labels.index(name)
            np.testing.assert_array_equal(part.vectors[column], task.vectors[own])
            np.testing.assert_array_equal(
                part.dataset.targets[:, column], task.dataset.targets[:, own]
            )


def test_test_photos_and_unseen_labels_play_no_part(task: Task) -> None:
    targets = task.dataset.targets.copy()
    targets[:, task.seen :] *= -1
    other = replace(task, dataset=replace(task.dataset, targets=targets))
    for part, same in zip(fold_tasks(task, seed=0), fold_tasks(other, seed=0), strict=True):
        np.testing.assert_array_equal(part.dataset.targets, same.dataset.targets)
        assert not set(part.photos.test) & set(task.photos.test)


def test_without_folds_there_is_no_curve(task: Task) -> None:
    def refuse(part: Task) -> None:
        raise AssertionError

    table = weight_table(iter(()), refuse, k=1, processes=ALONE)  # type: ignore[arg-type]
    assert table.by_weight() == () and table.by_share(0.0) == ()


def test_the_share_serves_labels_held_out_and_labels_trained_on() -> None:
    curve = [Point(0.0, 0.2, 0.9), Point(0.2, 0.5, 0.8), Point(0.3, 0.6, 0.6)]
    assert choose_share(curve) == 0.2
    assert choose_share([Point(0.0, 0.5, 0.5), Point(0.2, 0.5, 0.5)]) == 0
