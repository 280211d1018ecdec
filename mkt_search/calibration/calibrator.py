"""The calibrator: from the scores of any label to the probability that photos show it.

For a label, its scores over some reference photos, whose vectors the calibrator keeps, say how high
it scores anywhere. A logistic regression over these features, then an isotonic one, were fitted on
labels whose truth was known (`fit`). For one label p never falls while the score rises, so that the
best photos by score are the best by p.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.baselines import Baselines
from mkt_search.calibration.features import LabelStatistics, features
from mkt_search.calibration.isotonic import Isotonic
from mkt_search.calibration.logistic import Logistic
from mkt_search.calibration.quality import Quality
from mkt_search.errors import CalibrationError
from mkt_search.scoring import StreamScores, score_similarities, without_padding
from mkt_search.store.interfaces import Snapshot
from mkt_search.types import Encoding, PatchVectors, Pooling, Vector

Numbers = NDArray[np.float64]

MAX_VECTORS = 20_000  # of a library's photos together; a photo may have thousands
LABELS_PER_BLOCK = 512  # scored over the reference photos together


@dataclass(frozen=True)
class Stamp:
    """What decides a score: the model, its label encoder, and how patches are pooled."""

    checkpoint: str
    label_encoder: str
    pooling: Pooling
    m: int
    top_k: int
    patch_vectors: PatchVectors

    @classmethod
    def of(cls, encoding: Encoding, label_encoder: str) -> "Stamp":
        """Return the stamp of a library's scores.

        Args:
            encoding: of its vectors.
            label_encoder: the fingerprint of the label encoder.
        """
        return cls(
            checkpoint=encoding.checkpoint,
            label_encoder=label_encoder,
            pooling=encoding.pooling,
            m=encoding.m,
            top_k=encoding.top_k,
            patch_vectors=encoding.patch_vectors,
        )

    def encoding(self, dim: int, grid: tuple[int, int]) -> Encoding:
        """Return how the patches of photos are pooled for these scores.

        Args:
            dim: D of the model.
            grid: its rows and columns of patches.
        """
        return Encoding(
            checkpoint=self.checkpoint,
            dim=dim,
            grid=grid,
            pooling=self.pooling,
            m=self.m,
            top_k=self.top_k,
            precision="int8",
            patch_vectors=self.patch_vectors,
        )

    def difference(self, other: "Stamp") -> str:
        """Return in words how the scores of another stamp differ; "" if they do not."""
        if self.checkpoint != other.checkpoint:
            return f"it is of the model {self.checkpoint}, not {other.checkpoint}"
        if self.label_encoder != other.label_encoder:
            return "the label encoder or its prompt has changed since"
        changed = [
            f"{name} {mine}, not {theirs}"
            for name, mine, theirs in zip(
                vars(self), vars(self).values(), vars(other).values(), strict=True
            )
            if mine != theirs
        ]
        return f"it is of other settings: {'; '.join(changed)}" if changed else ""


@dataclass(frozen=True)
class Reference:
    """The vectors of R reference photos: (R, 1 + m, D), the global one first; counts (R, m)."""

    vectors: Vector
    counts: NDArray[np.int64]

    @classmethod
    def sample(cls, snapshot: Snapshot, most: int) -> "Reference":
        """Return photos of a library instead: up to `most`, spread evenly, the same each time."""
        content_ids = np.sort(snapshot.content_ids())
        count = min(most, MAX_VECTORS // (1 + snapshot.facts.encoding.m), len(content_ids))
        places = np.linspace(0, len(content_ids) - 1, count).astype(np.int64)
        return cls(*snapshot.vectors(content_ids[places]))

    def __len__(self) -> int:
        return len(self.vectors)

    def scores(self, labels: Vector, *, k: int) -> Iterator[StreamScores]:
        """Yield the scores of label vectors (L, D), (R, some labels) each, with k best patches."""
        vectors, counts = without_padding(self.vectors, self.counts, k)
        photos, each, dim = vectors.shape
        rows = vectors.reshape(-1, dim)
        for first in range(0, len(labels), LABELS_PER_BLOCK):
            products = rows @ labels[first : first + LABELS_PER_BLOCK].T  # (R (1 + m), some)
            yield score_similarities(products.reshape(photos, each, -1), counts, k=k)

    def statistics(self, labels: Vector, *, k: int) -> LabelStatistics:
        """Return how label vectors (L, D) score over the photos, with k best patches."""
        parts = [LabelStatistics.of(scores) for scores in self.scores(labels, k=k)]
        return LabelStatistics(
            np.concatenate([part.mean for part in parts]),
            np.concatenate([part.spread for part in parts]),
        )


@dataclass(frozen=True)
class Calibrator:
    """Gives probabilities for the scores of one model under one kind of pooling.

    Args:
        stamp: whose scores it understands.
        reference: photos over which each label is scored.
        logistic: over `features`; no weight is negative.
        curve: from its logit to a probability.
        present_from: a label counts as present if its best photos have this mean probability.
        quality: measured on labels that the fit did not see.
        baselines: simpler ways, fitted on the same pairs, to compare it with.
        labels: what it was fitted on.
        made_from: what to say of the labels and photos, for a person.
    """

    stamp: Stamp
    reference: Reference
    logistic: Logistic
    curve: Isotonic
    present_from: float
    quality: Quality
    baselines: Baselines
    labels: tuple[str, ...]
    made_from: str = ""

    def statistics(self, labels: Vector) -> LabelStatistics:
        """Return how label vectors (L, D) score over the reference photos.

        Raises:
            CalibrationError: the vectors have another length, or are not finite.
        """
        dim = self.reference.vectors.shape[2]
        if labels.shape[1] != dim:
            raise CalibrationError(
                f"the calibrator is of vectors of {dim} numbers, not {labels.shape[1]}."
            )
        found = self.reference.statistics(labels, k=self.stamp.top_k)
        if not np.isfinite(found.mean).all():
            raise CalibrationError(
                "the vectors of a label are not finite; its score has no meaning."
            )
        return found

    def probabilities(self, scores: Vector | Numbers, statistics: LabelStatistics) -> Numbers:
        """Return (n, L), in [0, 1], for fused scores (n, L).

        Raises:
            CalibrationError: a score is not finite.
        """
        if not np.isfinite(scores).all():
            raise CalibrationError("a score is not a finite number, so that it has no probability.")
        return self.curve.at(self.logistic.logits(features(scores, statistics)))

    def lowest_scores(self, p: Numbers, statistics: LabelStatistics) -> Vector:
        """Return (L,): the lowest fused score of each label that has a probability p (L,) or more.

        inf where none has; rounded so that a score passes if and only if its probability does, but
        for the last digits.
        """
        x, y = self.curve.x, self.curve.y
        reachable = p <= y[-1]
        logits = np.where(p <= y[0], -np.inf, np.interp(p, *_rising(y, x)))
        raw, standard = self.logistic.weights
        slope = raw + standard / statistics.spread
        offset = self.logistic.offset - standard * statistics.mean / statistics.spread
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(slope > 0, (logits - offset) / slope, -np.inf)
        return np.where(reachable, found, np.inf).astype(np.float32)


def _rising(y: Numbers, x: Numbers) -> tuple[Numbers, Numbers]:
    """Return (y, x) with the first x of equal y, to look up the lowest x of a height."""
    first = np.concatenate([[True], np.diff(y) > 0])
    return y[first], x[first]


def several(p: Numbers, weights: Vector) -> Numbers:
    """Return (n,): the probability that photos show every wanted label and no unwanted one.

    The labels of a photo count as independent: p is the product of p of the wanted and of 1 - p of
    the unwanted. How much a label weighs decides the order of hits, not what p means.

    Args:
        p: (n, T), of each label.
        weights: (T,), negative for an unwanted one.
    """
    product: Numbers = np.where(weights > 0, p, 1 - p).prod(axis=1)
    return product
