"""Vectors as points of a plane, near ones side by side: principal axes, then t-SNE.

openTSNE (Poličar, Stražar, Zupan, J. Stat. Softw. 109, 2024) with its usual settings.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import MapError
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.scoring import TINY
from mkt_search.types import Vector

AXES = 50  # principal ones that near vectors are found by
LAID_OUT_FROM = 12  # photos; fewer lie along their two principal axes
PERPLEXITY = 30  # about how many neighbours a point keeps
ITERATIONS = 750  # of t-SNE, 250 of them early
REPORTED = 10  # iterations between two reports of progress
SPREAD = 1e-4  # standard deviation of the first axis, where t-SNE starts
LAYING_OUT = "laying out the map"


@dataclass(frozen=True)
class Axes:
    """Principal axes: `mean` (D,) and unit `directions` (c, D), the longest axis first."""

    mean: Vector
    directions: Vector

    @classmethod
    def of(cls, vectors: Vector) -> "Axes":
        """Return the up to `AXES` principal axes of vectors (n, D), n at least 1."""
        mean: Vector = vectors.mean(axis=0)
        centered = vectors - mean
        _, directions = np.linalg.eigh(centered.T @ centered)  # the longest axis last
        longest = directions[:, ::-1][:, :AXES].T
        return cls(mean, np.ascontiguousarray(longest, np.float32))

    def coordinates(self, vectors: Vector) -> Vector:
        """Return (n, c), the coordinates of vectors (n, D)."""
        centered: Vector = vectors - self.mean
        return centered @ self.directions.T


def check_extra() -> None:
    """Raise MapError unless openTSNE can be imported."""
    try:
        import openTSNE  # noqa: F401
    except ImportError as error:
        raise MapError(
            f"A map needs openTSNE, which cannot be imported ({error}). Run "
            '`pip install "mkt-search[map]"`.'
        ) from None


def laid_out(coordinates: Vector, *, seed: int, progress: ProgressCallback) -> Vector:
    """Return points (n, 2) float32 within -1 to 1 for coordinates (n, c), longest axis first.

    Args:
        coordinates: along principal axes.
        seed: the same seed gives the same points.
        progress: called as work advances; what it raises stops the work.

    Raises:
        MapError: openTSNE is not installed.
    """
    start = np.zeros((len(coordinates), 2), np.float64)
    start[:, : coordinates.shape[1]] = coordinates[:, :2]
    spread = start[:, 0].std() if len(start) else 0.0
    if len(start) < LAID_OUT_FROM or spread < TINY:
        return _scaled(start)
    check_extra()
    from openTSNE import TSNE

    done = 0

    def report(iteration: int, error: float, embedding: object) -> None:
        nonlocal done
        done += REPORTED
        progress(Progress(LAYING_OUT, min(done, ITERATIONS), ITERATIONS))

    method: Any = TSNE(
        perplexity=min(PERPLEXITY, (len(start) - 1) / 3),
        initialization=start * (SPREAD / spread),
        callbacks=report,
        callbacks_every_iters=REPORTED,
        random_state=seed,
        n_jobs=1,  # more take longer for few photos, and give other points
    )
    return _scaled(np.asarray(method.fit(coordinates), np.float64))


def _scaled(points: NDArray[np.float64]) -> Vector:
    """Move and scale points to fill the square from -1 to 1 in one direction, keeping angles."""
    if not len(points):
        return np.empty((0, 2), np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    half = max(float((high - low).max()) / 2, float(TINY))
    scaled: Vector = np.clip((points - (low + high) / 2) / half, -1, 1).astype(np.float32)
    return scaled
