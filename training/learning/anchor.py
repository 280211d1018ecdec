"""Give a student its anchor: the classifier that belongs to its frozen backbone (`models.anchor`).

How much the anchor weighs is chosen without a test label. Training photos and seen labels are cut
into folds; for each, heads are regressed in closed form on the other photos and the other labels,
and both the held-out labels and the others are looked for in the held-out photos. The smallest
weight that finds the held-out labels nearly as well as the best one does is taken.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mkt_search.datasets.dataset import Rows, Targets
from mkt_search.errors import TrainingError
from mkt_search.evaluation.metrics import mean_average_precision
from mkt_search.models.anchor import (
    Anchor,
    Classifier,
    class_vectors,
    read_class_names,
    read_classifier,
)
from mkt_search.models.anchor_choice import Point
from mkt_search.models.student import Student, StudentVectors, split_streams
from mkt_search.scoring import StreamScores, weigh
from mkt_search.types import Vector
from training.data.features import FeatureCache
from training.data.task import Task
from training.learning.losses import Streams, label_targets, two_stream_scores
from training.learning.pca import PcaHead
from training.learning.ridge import set_ridge_heads, stream_moments
from training.learning.weight_table import SHARES, Table, WeightTable

FOLDS = 4
MOST_PHOTOS = 4_500  # that the choice and the means are made on
BATCH_PHOTOS = 128
WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6)
NEARLY = 0.98  # of the best mAP of held-out labels, for a smaller weight to be taken
RIDGE = 0.004  # of the heads that the choice is made with, in total variances of cls

Axes = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AnchorSpec:
    """The anchor that a student gets.

    Args:
        weight: its share of the vectors; None is chosen on labels held out.
        classifier: the file of the backbone's classifier; None for a random backbone.
        class_names: file of the names of its classes; None takes those of ImageNet.
    """

    weight: float | None = None
    classifier: Path | None = None
    class_names: Path | None = None


def open_classifier(
    spec: AnchorSpec, student: Student, size: tuple[int, int], say: Callable[[str], None]
) -> Classifier | None:
    """Return the classifier of a student's backbone; None, with a remark, where there is none.

    Args:
        spec: where it is.
        student: whose backbone it must fit.
        size: height and width of its images.
        say: receives the remark.

    Raises:
        ModelError: it is that of another backbone, or its class names are unknown.
        TrainingError: a weight is given, and there is no classifier.
    """
    channels = student.channels
    if not reads_cls(student, size):
        reason = "the classifier of this backbone reads other features than the global one"
    else:
        names = read_class_names(spec.class_names) if spec.class_names else None
        found = (
            read_classifier(spec.classifier, names, channels=channels) if spec.classifier else None
        )
        if found is not None:
            return found
        reason = f"there is no classifier in {spec.classifier or 'a random backbone'}"
    if spec.weight is not None:
        raise TrainingError(
            f"--anchor {spec.weight:g} cannot be had: {reason}. Name a file by --classifier, or"
            " give --anchor 0."
        )
    say(f"no anchor: {reason}; --classifier names the file of one")
    return None


@torch.no_grad()
def reads_cls(student: Student, size: tuple[int, int]) -> bool:
    """Return True when the backbone's classifier reads its global feature as it is.

    Some backbones have more layers in between. `size` is that of the images.
    """
    backbone, device = student.backbone, next(student.parameters()).device
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    features = backbone.forward_features(images)
    try:
        pooled = backbone.forward_head(features, pre_logits=True)
    except (AttributeError, TypeError):
        return False
    cls, _ = split_streams(backbone, features)
    return pooled.shape == cls.shape and bool(torch.allclose(pooled, cls, rtol=1e-4, atol=1e-5))


def fit_anchor(classifier: Classifier, task: Task, cache: FeatureCache, *, seed: int) -> Anchor:
    """Return the anchor of weight 1/2: its part is as long as the student's, in root mean square.

    Args:
        classifier: of the backbone that gave the features.
        task: has the label vectors of its class names, and photos to take the means of.
        cache: the features of all photos.
        seed: of the photos that are drawn, where there are more than `MOST_PHOTOS`.

    Raises:
        ModelError: the label space knows no class name.
        TrainingError: the classifier gives the same for every photo.
    """
    space = task.space
    rows, vectors = class_vectors(classifier.names, space.encoder, knows=space.knows)
    none = torch.zeros(space.encoder.dim)
    raw = Anchor(
        classifier.weight[torch.from_numpy(rows)],
        classifier.bias[torch.from_numpy(rows)],
        torch.from_numpy(vectors),
        none,
        none,
    )
    found, of_patches, count = [], none.double(), 0
    for _, cls, patches in _batches(_drawn(task, cache, seed), cache):
        found.append(raw(cls))
        part = raw(patches)  # (B, P, D)
        of_patches = of_patches + part.double().sum(dim=(0, 1))
        count += part.shape[0] * part.shape[1]
    parts = torch.cat(found)  # (N, D)
    center = parts.mean(dim=0)
    spread = float((parts - center).square().sum(dim=1).mean().sqrt())
    if not spread > 0:
        raise TrainingError(
            "the backbone's classifier gives the same classes for every photo; check that it"
            " belongs to the backbone, or give --anchor 0."
        )
    anchor = Anchor(raw.weight, raw.bias, raw.vectors, center, (of_patches / count).float())
    return anchor.scaled(1 / spread)


def with_weight(anchor: Anchor, weight: float) -> Anchor | None:
    """Return an anchor of weight 1/2 with another weight w in (1 - w) e + w a; None for 0.

    The vector is divided by 1 - w, which changes no direction.
    """
    return anchor.scaled(weight / (1 - weight)) if weight else None


def choose_weight(curve: Sequence[Point]) -> float:
    """Return the smallest weight that finds held-out labels nearly as well as the best does."""
    enough = NEARLY * max(point.held_out for point in curve)
    return min(point.weight for point in curve if point.held_out >= enough)


def weight_table(
    anchor: Anchor, student: Student, task: Task, cache: FeatureCache, *, k: int, seed: int
) -> WeightTable:
    """Return what each weight finds with each share of the local stream; the first weight is 0.

    It is empty where there are too few labels or photos to hold some out.

    Args:
        anchor: of weight 1/2.
        student: its heads say on which axes of the features the regression is made; it learns
            nothing here.
        task: only training photos and seen labels are read.
        cache: the features of all photos.
        k: best patches averaged by the local stream.
        seed: of the folds.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(_drawn(task, cache, seed))
    labels = rng.permutation(task.seen)
    axes = _axes(student)
    folds = [
        _held_out(anchor, axes, task, cache, rows, labels, number, k=k) for number in range(FOLDS)
    ]
    return WeightTable.mean(WEIGHTS, folds)


def _held_out(
    anchor: Anchor,
    axes: Axes,
    task: Task,
    cache: FeatureCache,
    rows: Rows,
    labels: Rows,
    number: int,
    *,
    k: int,
) -> Table:
    """Return the mAP of held-out and of other labels in held-out photos, (W, S, 2)."""
    is_held = np.arange(len(labels)) % FOLDS == number
    held, kept = np.sort(labels[is_held]), np.sort(labels[~is_held])
    photos = np.arange(len(rows)) % FOLDS == number
    shows_kept = (task.seen_targets[rows][:, kept] > 0).any(axis=1)
    learned, scored = np.sort(rows[~photos & shows_kept]), np.sort(rows[photos])
    if not len(learned) or not len(scored):
        return np.full((len(WEIGHTS), len(SHARES), 2), np.nan)
    vectors = torch.from_numpy(task.vectors[: task.seen])
    heads = _regressed(axes, task, cache, learned, kept, vectors[torch.from_numpy(kept)])
    scores: list[list[Streams]] = [[] for _ in WEIGHTS]
    for _, cls, patches in _batches(scored, cache):
        own = StudentVectors(heads[0](axes(cls)), heads[1](axes(patches)))
        for column, weight in enumerate(WEIGHTS):
            weighted = with_weight(anchor, weight)
            found = own if weighted is None else weighted.add(own, cls, patches)
            scores[column].append(two_stream_scores(vectors, *found, k=k, kind="cosine"))
    targets = task.seen_targets[scored]
    return np.array(
        [
            [
                [_mean_ap(fused, targets, group) for group in (held, kept)]
                for fused in (weigh(streams, share).fused for share in SHARES)
            ]
            for streams in map(_joined, scores)
        ]
    )


def _regressed(
    axes: Axes, task: Task, cache: FeatureCache, rows: Rows, kept: Rows, vectors: Tensor
) -> tuple[nn.Linear, nn.Linear]:
    """Return heads regressed on some photos and labels, as `init_heads` does on all."""
    targets = torch.from_numpy(task.seen_targets[:, kept])
    by_cls, by_patch = stream_moments(
        (axes(cls), axes(patches), label_targets(targets[torch.from_numpy(batch)], vectors))
        for batch, cls, patches in _batches(rows, cache)
    )
    heads = [nn.Linear(len(by_cls.x), vectors.shape[1]) for _ in range(2)]
    set_ridge_heads(heads[0], heads[1], by_cls, by_patch, strength=RIDGE)
    return heads[0].requires_grad_(False), heads[1].requires_grad_(False)


def _axes(student: Student) -> Axes:
    """Return the axes that the student's heads see, (..., C) -> (..., A)."""
    head = student.global_head
    if not isinstance(head, PcaHead):
        return nn.Identity()
    mean, axes = head.mean.cpu(), head.axes.cpu()
    return lambda features: (features - mean) @ axes


def _drawn(task: Task, cache: FeatureCache, seed: int) -> Rows:
    """Return readable training photos, in order, at most `MOST_PHOTOS`."""
    rows = task.trainable[cache.is_readable[task.trainable]]
    if len(rows) <= MOST_PHOTOS:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, MOST_PHOTOS, replace=False))


def _batches(rows: Rows, cache: FeatureCache) -> Iterator[tuple[Rows, Tensor, Tensor]]:
    for start in range(0, len(rows), BATCH_PHOTOS):
        batch = rows[start : start + BATCH_PHOTOS]
        yield (batch, *cache.get(batch))


def _joined(parts: Sequence[Streams]) -> StreamScores:
    return StreamScores(
        torch.cat([part.global_scores for part in parts]).numpy(),
        torch.cat([part.local_scores for part in parts]).numpy(),
    )


def _mean_ap(scores: Vector, targets: Targets, labels: Rows) -> float:
    """Return the mean AP over the labels that a photo shows; NaN if none does."""
    return mean_average_precision(scores[:, labels], targets[:, labels]).standard
