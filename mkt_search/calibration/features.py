"""What the calibrator knows of a score: the score, and how far it stands out for its label.

Labels differ in how high they score anywhere: the mean and the spread of a label's scores over some
reference photos, kept with the calibrator, make scores comparable. Never the photos of the user's
own library: a label that half of them show would not stand out among them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.scoring import StreamScores
from mkt_search.types import Vector

Numbers = NDArray[np.float64]

MIN_SPREAD = 1e-3  # of scores, which are at most 1; a label that scores all photos alike
NAMES = ("score", "score in spreads")


@dataclass(frozen=True)
class LabelStatistics:
    """Of L labels: the mean and the spread (standard deviation) of their scores, (L,) each."""

    mean: Numbers
    spread: Numbers

    @classmethod
    def of(cls, scores: StreamScores) -> "LabelStatistics":
        """Return the statistics of scores over reference photos, (R, L)."""
        fused = scores.fused.astype(np.float64)
        return cls(fused.mean(axis=0), np.maximum(fused.std(axis=0), MIN_SPREAD))


def features(scores: Vector | Numbers, statistics: LabelStatistics) -> Numbers:
    """Return (n, L, 2) features of fused scores (n, L)."""
    fused = scores.astype(np.float64)
    return np.stack([fused, (fused - statistics.mean) / statistics.spread], axis=-1)
