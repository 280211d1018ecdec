"""What a run learns from: photos that show a seen label, and remarks on those that do not help."""

from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import MktError, TrainingError
from mkt_search.progress import Progress, no_progress
from tests.painted import painted_task, painted_world
from training.data.label_vectors import LabelSpec, open_label_space
from training.data.task import Task, read_task, report_unreadable, require_positives


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return painted_task(tmp_path)


def test_photos_and_labels_are_described_in_one_line(tmp_path: Path) -> None:
    world = painted_world(tmp_path)
    space = open_label_space(LabelSpec(table=tmp_path / "table.npz"))
    events: list[Progress] = []
    task = read_task(world.data, space, events.append)
    assert (task.seen, len(task.labels.unseen), task.vectors.shape) == (7, 1, (8, 8))
    assert events[-1].message == (
        "29 training photos, 7 validation photos (held-out), 12 test photos; 7 seen labels,"
        " 1 unseen"
    )


def test_photos_without_a_seen_label_are_not_trained_on(task: Task) -> None:
    row = int(task.trainable[3])
    task.dataset.targets[row, : task.seen] = -1
    assert row not in task.trainable and row in task.photos.train


def test_the_fingerprint_changes_with_a_target(task: Task) -> None:
    before = task.fingerprint
    assert task.fingerprint == before
    task.dataset.targets[0, 0] *= -1
    assert task.fingerprint != before


def test_labels_without_a_positive_are_named(task: Task) -> None:
    name = task.labels.seen[1]
    task.dataset.targets[task.photos.train, 1] = -1
    events: list[Progress] = []
    require_positives(task, events.append)
    assert [event.message for event in events] == [
        f"no training photo shows 1 label: {name}. Without a positive, a label is only learned to"
        " be absent"
    ]


def test_a_task_without_positives_is_refused(task: Task) -> None:
    task.dataset.targets[:] = -1
    with pytest.raises(TrainingError, match="no training photo shows a seen label"):
        require_positives(task, no_progress)


def test_unreadable_photos_are_named(task: Task) -> None:
    events: list[Progress] = []
    report_unreadable(task, np.array([], np.int64), events.append)
    report_unreadable(task, np.array([3]), events.append)
    assert [e.message for e in events] == ["left out 1 photo that cannot be read: 003.png"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"photos": ""}, "--photos is missing"),
        ({"unseen_fraction": 0.9}, "1 label left to train on"),
        ({"unseen_fraction": 1.5}, "--unseen-fraction is 1.5"),
    ],
)
def test_data_that_cannot_be_split_is_refused(
    tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    world = painted_world(tmp_path).but(**changes)
    space = open_label_space(LabelSpec(table=tmp_path / "table.npz"))
    with pytest.raises(MktError, match=sentence):
        read_task(world.data, space, no_progress)
