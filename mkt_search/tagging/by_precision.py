"""Tags asked for by precision: of each label, as many photos as are expected to be right.

The first pass over the photos keeps every assignment that is not improbable, and counts them by
label and probability. Then it is known down to which probability each label goes, and a second pass
over what was kept, not over the photos, drops the rest.
"""

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Calibrator
from mkt_search.calibration.features import LabelStatistics
from mkt_search.calibration.quality import BEST
from mkt_search.calibration.selection import Expected
from mkt_search.errors import CalibrationError
from mkt_search.store.spill import SpillFile
from mkt_search.types import Vector

MIN_P = 0.05  # p of a tag, whatever precision is asked for
BINS = 200  # of p, in which assignments of a label are counted
RECORDS_PER_PIECE = 100_000


class LabelProbabilities:
    """Gives assignments of L labels their probability.

    Args:
        calibrator: of the scores.
        labels: (L, D).

    Raises:
        CalibrationError: the vectors are not those of the calibrator.
    """

    def __init__(self, calibrator: Calibrator, labels: Vector) -> None:
        self.calibrator = calibrator
        self.statistics = calibrator.statistics(labels)

    def lowest_scores(self, p: float) -> Vector:
        """Return (L,): the score from which on each label has a probability of p or more."""
        return self.calibrator.lowest_scores(np.full(len(self.statistics.mean), p), self.statistics)

    def of(self, labels: NDArray[np.int64], scores: Vector) -> Vector:
        """Return (n,), the p of assignments: rows of labels (n,) and their scores (n,)."""
        mean, spread = self.statistics.mean[labels], self.statistics.spread[labels]
        p = self.calibrator.probabilities(scores, LabelStatistics(mean, spread))
        return p.astype(np.float32)


class ByPrecision:
    """Chooses tags of L labels by the precision that each is to reach.

    Args:
        probabilities: of the labels.
        precision: in (0, 1].
        min_p: p of a tag, if that is above `MIN_P`.

    Raises:
        CalibrationError: the calibrator cannot tell whether a label is there.
    """

    def __init__(
        self, probabilities: LabelProbabilities, precision: float, *, min_p: float = MIN_P
    ) -> None:
        calibrator, statistics = probabilities.calibrator, probabilities.statistics
        if calibrator.quality.is_chance:
            raise CalibrationError(
                "The scores of this model do not tell whether a photo shows a label, so that no "
                "precision can be asked for. Train or choose another model."
            )
        self._lowest_scores = probabilities.lowest_scores(max(min_p, MIN_P))
        self._calibrator = calibrator
        self._statistics = statistics
        self._precision = precision
        self._counts = np.zeros((len(statistics.mean), BINS), np.int64)
        self._sums = np.zeros((len(statistics.mean), BINS))

    @property
    def lowest_scores(self) -> Vector:
        """(L,): the score from which on an assignment is worth keeping."""
        return self._lowest_scores

    def count(self, labels: NDArray[np.int64], p: Vector) -> None:
        """Count assignments: rows of labels (n,) and their probabilities (n,)."""
        np.add.at(self._counts, (labels, _bin(p)), 1)
        np.add.at(self._sums, (labels, _bin(p)), p)

    def choose(self, kept: SpillFile, chosen: SpillFile) -> Expected:
        """Copy the assignments that reach the precision; return what is expected of them."""
        lowest = self._lowest_bins()
        photos, wrong = 0, 0.0
        for records in kept.pieces(RECORDS_PER_PIECE):
            labels = records["label"].astype(np.int64)
            right = _bin(records["p"]) >= lowest[labels]
            some = records[right]
            chosen.add(some["content"], some["label"], some["score"], some["p"])
            photos += len(some)
            wrong += len(some) - float(some["p"].sum(dtype=np.float64))
        return Expected(photos, wrong)

    def _lowest_bins(self) -> NDArray[np.int64]:
        """Return (L,): the lowest bin whose photos a label gets; BINS if it gets none.

        Bins are taken whole, so that the mean of p is not below the precision.
        """
        counts = np.cumsum(self._counts[:, ::-1], axis=1)  # from the most probable
        sums = np.cumsum(self._sums[:, ::-1], axis=1)
        meets = (counts > 0) & (sums >= self._precision * counts)
        last = BINS - 1 - meets[:, ::-1].argmax(axis=1)  # of those from the most probable
        lowest = np.where(meets.any(axis=1), BINS - 1 - last, BINS)
        best = np.minimum(counts, BEST)  # how many of the best photos lie in so many bins
        in_bin = np.diff(best, axis=1, prepend=0)
        with np.errstate(invalid="ignore"):
            means = np.nan_to_num(self._sums[:, ::-1] / self._counts[:, ::-1])
        is_present = (in_bin * means).sum(axis=1) / BEST >= self._calibrator.present_from
        return np.where(is_present, lowest, BINS)


def _bin(p: Vector) -> NDArray[np.int64]:
    return np.minimum((p * BINS).astype(np.int64), BINS - 1)
