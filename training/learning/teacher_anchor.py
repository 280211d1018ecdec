"""Give a student that starts as its teacher an anchor: a share of the teacher's weights.

    weights = (1 - w) student + w teacher

WiSE-FT (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022;
https://arxiv.org/abs/2109.01903). The student encodes as fast as before, and its checkpoint is one
like any other. Where only linear heads learn, it is the sum of the vectors of both.

How much the teacher weighs is chosen without a test label. Training photos and seen labels are cut
into folds; for some of them a student learns from the other photos and the other labels, in fewer
epochs, and both the held-out labels and the others are looked for in the held-out photos. The
weight with the best mean of both is taken: labels held out gain by the teacher, others lose. The
share of the local stream is chosen at that weight, on the same students.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mkt_search.datasets.dataset import Rows
from mkt_search.datasets.split import LabelSplit, PhotoSplit
from mkt_search.evaluation.metrics import mean_average_precision
from mkt_search.evaluation.protocol import PhotoScores, Scale, label_groups
from mkt_search.models.anchor_choice import Point
from training.data.sources import Source
from training.data.task import Task
from training.learning.evaluate import score_photos
from training.learning.learner import Learner
from training.learning.weight_table import SHARES, Table, WeightTable
from training.runs.processes import Processes

FOLDS = 4
STUDENTS = 2  # folds that a student is trained for
EPOCHS_OVER = 3  # these students learn in a third of the epochs
MOST_PHOTOS = 1_000  # that one of these students is scored on
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SCALES: tuple[Scale, ...] = ("cosine", "vocabulary")  # that of search, and the paper's

TrainStudent = Callable[[Task], tuple[Learner, Source]]


@dataclass(frozen=True)
class TeacherAnchorSpec:
    """The anchor of a student that starts as its teacher.

    Args:
        weight: the teacher's share of the weights; None is chosen on labels held out.
    """

    weight: float | None = None


def fold_tasks(task: Task, *, seed: int) -> Iterator[Task]:
    """Yield a task for each part that has labels and photos: held-out labels are its unseen ones.

    Held-out photos are its test photos. Test photos and unseen labels of `task` are in none.

    Args:
        task: what the student itself learns from.
        seed: of the folds.
    """
    rng = np.random.default_rng(seed)
    rows, labels = rng.permutation(task.trainable), rng.permutation(task.seen)
    for number in range(STUDENTS):
        is_held, is_scored = (np.arange(len(of)) % FOLDS == number for of in (labels, rows))
        part = _task_of(
            task,
            kept=np.sort(labels[~is_held]),
            held=np.sort(labels[is_held]),
            learned=np.sort(rows[~is_scored]),
            scored=np.sort(rows[is_scored][:MOST_PHOTOS]),
        )
        if len(part.trainable) and len(part.photos.test) and part.labels.unseen:
            yield part


def weight_table(
    folds: Iterator[Task], train_student: TrainStudent, *, k: int, processes: Processes
) -> WeightTable:
    """Return what each weight finds with each share of the local stream; the first weight is 0.

    An entry is the mean AP of the fused score, the mean of both scales. The table is empty where
    there are too few labels or photos to hold some out.

    Args:
        folds: `fold_tasks`.
        train_student: returns a student that learned from a task and keeps its start, and the
            source of its vectors.
        k: best patches averaged by the local stream.
        processes: that train together; the first one scores.
    """
    found = []
    for part in folds:
        learner, source = train_student(part)
        found.append(processes.from_first(lambda: _mean_aps(part, learner, source, k=k)))  # noqa: B023
    return WeightTable.mean(WEIGHTS, found)


def choose_share(curve: Sequence[Point]) -> float:
    """Return the weight that finds held-out labels and those trained on best, on average."""
    return max(curve, key=lambda point: point.held_out + point.trained).weight


def _task_of(task: Task, *, kept: Rows, held: Rows, learned: Rows, scored: Rows) -> Task:
    """Return a task with some labels as its seen and unseen ones, and some photos."""
    columns = np.concatenate([kept, held])
    names = [task.labels.seen[column] for column in columns]
    dataset = replace(
        task.dataset,
        labels=tuple(names),
        targets=np.ascontiguousarray(task.dataset.targets[:, columns]),
    )
    return replace(
        task,
        dataset=dataset,
        photos=PhotoSplit(learned, scored, scored),
        labels=LabelSplit(tuple(names[: len(kept)]), tuple(names[len(kept) :])),
        vectors=task.vectors[columns],
    )


def _mean_aps(part: Task, learner: Learner, source: Source, *, k: int) -> Table:
    """Return the mAP of held-out and of other labels, (W, S, 2); NaN where none is shown."""
    found = []
    for weight in WEIGHTS:
        learner.start_share = weight
        with learner.evaluation_weights():
            batches = source.ordered_batches(part.photos.test)
            scored = score_photos(batches, part.dataset.targets, part.vectors, k=k)
        groups = label_groups(part.seen, len(part.vectors))
        found.append(
            [
                [_mean_ap(scored.only(groups[group]), share) for group in ("unseen", "seen")]
                for share in SHARES
            ]
        )
    return np.array(found)


def _mean_ap(scored: PhotoScores, share: float) -> float:
    """Return the mean over both scales of the mAP of the fused score."""
    weighed = scored.with_share(share)
    return float(
        np.mean(
            [
                mean_average_precision(weighed.streams(scale)["fused"], scored.targets).standard
                for scale in SCALES
            ]
        )
    )
