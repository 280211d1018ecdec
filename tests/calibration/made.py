"""Made-up photos of which the truth is known: a label's photos have a part of its vector."""

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Calibrator, Stamp
from mkt_search.calibration.fit import Labeled, fit
from mkt_search.scoring import HALF, unit
from mkt_search.types import Vector

DIM, M, LABELS, PHOTOS = 24, 3, 16, 400
STAMP = Stamp("c" * 12, "e" * 12, "cover", M, 4, "own")
NAMES = [f"label {number}" for number in range(LABELS)]


def draw(
    seed: int = 0, *, photos: int = PHOTOS, labels: int = LABELS, strength: float = 1.5
) -> tuple[Labeled, Vector]:
    """Return photos with their truth, and label vectors (L, D); without strength p is chance."""
    rng = np.random.default_rng(seed)
    z = unit(rng.normal(size=(labels, DIM)).astype(np.float32))
    shown: NDArray[np.bool_] = rng.random((photos, labels)) < 0.1
    part = shown.astype(np.float32) @ z * np.float32(strength)
    noise = rng.normal(size=(photos, 1 + M, DIM)).astype(np.float32) / np.float32(np.sqrt(DIM))
    vectors = unit(part[:, None] + noise, HALF)
    targets = np.where(shown, 1, -1).astype(np.int8)
    return Labeled(vectors, np.full((photos, M), STAMP.top_k), targets), z


def fitted(seed: int = 0, *, strength: float = 1.5) -> Calibrator:
    """Return a calibrator of made-up photos."""
    labeled, z = draw(seed, strength=strength)
    return fit(labeled, NAMES, z, STAMP)
