"""Choose photos by probability: the most whose expected precision is at least what is asked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

ROUNDING = 1e-9
"""What a mean of equal probabilities may lack by rounding."""


@dataclass(frozen=True)
class Expected:
    """How many photos were chosen, and how many of them are expected to be wrong."""

    photos: int
    wrong: float

    @classmethod
    def of(cls, p: Numbers) -> "Expected":
        """Return the counts for chosen photos with probabilities (n,)."""
        return cls(len(p), float((1 - p).sum()))

    @property
    def precision(self) -> float:
        """The expected share of right ones; 1 for no photo."""
        return 1 - self.wrong / self.photos if self.photos else 1.0


def longest_prefix(p: Numbers, precision: float) -> int:
    """Return how many of the first photos have a mean probability of `precision` or more.

    The mean of falling numbers falls, so that once it is too low it stays so.

    Args:
        p: (n,), the highest first.
        precision: in (0, 1].
    """
    means = np.cumsum(p) / np.arange(1, len(p) + 1)
    return int(np.searchsorted(-means, -precision + ROUNDING, side="right"))
