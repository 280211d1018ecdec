"""What held-out photos say of the weight of an anchor and of the share of the local stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.models.anchor_choice import Point
from mkt_search.types import EQUAL_SHARES

Table = NDArray[np.float64]
SHARES = (0.3, 0.4, EQUAL_SHARES, 0.6, 0.7, 0.8, 0.9)  # of the local stream


@dataclass(frozen=True)
class WeightTable:
    """Mean AP of the fused score in held-out photos.

    Args:
        weights: W weights of the anchor; the first is 0.
        values: (W, S, 2): by weight, by `SHARES`, of labels held out and of those trained on; None
            where there are too few labels or photos to hold some out.
    """

    weights: tuple[float, ...]
    values: Table | None

    @classmethod
    def mean(cls, weights: tuple[float, ...], folds: Sequence[Table]) -> "WeightTable":
        """Return the mean over the folds whose values (W, S, 2) are all known."""
        usable = [values for values in folds if np.isfinite(values).all()]
        return cls(weights, np.mean(usable, axis=0) if usable else None)

    def by_weight(self) -> tuple[Point, ...]:
        """Return what each weight finds with equal streams; nothing for an empty table."""
        if self.values is None:
            return ()
        return _points(self.weights, self.values[:, SHARES.index(EQUAL_SHARES)])

    def by_share(self, weight: float) -> tuple[Point, ...]:
        """Return what each share finds at a weight of the table; nothing for an empty table."""
        if self.values is None:
            return ()
        return _points(SHARES, self.values[self.weights.index(weight)])


def _points(at: Sequence[float], values: Table) -> tuple[Point, ...]:
    return tuple(Point(x, float(a), float(b)) for x, (a, b) in zip(at, values, strict=True))
