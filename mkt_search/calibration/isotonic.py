"""Isotonic regression: the best curve that never falls, by pooling adjacent violators."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

MAX_KNOTS = 500
"""Corners of a curve that are kept; so many change a probability by less than a thousandth."""


@dataclass(frozen=True)
class Isotonic:
    """A curve that never falls: straight between corners (x, y), level outside of them."""

    x: Numbers
    y: Numbers

    def at(self, values: Numbers) -> Numbers:
        """Return the height of the curve at values (...,)."""
        return np.interp(values, self.x, self.y)


def fit_isotonic(x: Numbers, y: Numbers) -> Isotonic:
    """Fit the curve that never falls and is nearest to points in squared distance.

    Each run of pooled points becomes one corner, at its mean x.

    Args:
        x: (n,), at least one.
        y: (n,).
    """
    order = np.argsort(x, kind="stable")
    centers, inverse, counts = np.unique(x[order], return_inverse=True, return_counts=True)
    heights = np.bincount(inverse, weights=y[order]) / counts  # of equal x together
    means: list[float] = []
    weights: list[float] = []
    places: list[float] = []
    for center, height, count in zip(
        centers.tolist(), heights.tolist(), counts.tolist(), strict=True
    ):
        place, mean, weight = center, height, float(count)
        while means and means[-1] >= mean:
            other = weights.pop()
            place = (place * weight + places.pop() * other) / (weight + other)
            mean = (mean * weight + means.pop() * other) / (weight + other)
            weight += other
        means.append(mean)
        weights.append(weight)
        places.append(place)
    kept = np.unique(np.linspace(0, len(means) - 1, MAX_KNOTS).round().astype(int))
    return Isotonic(np.array(places)[kept], np.array(means)[kept])
