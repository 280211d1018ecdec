"""Made-up photos of which the truth is known: a label's photos have a part of its vector."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search import Library
from mkt_search.calibration.baselines import Baselines
from mkt_search.calibration.calibrator import Calibrator, Reference, Stamp
from mkt_search.calibration.fit import Labeled, fit
from mkt_search.calibration.isotonic import Isotonic
from mkt_search.calibration.logistic import Logistic
from mkt_search.calibration.quality import Quality
from mkt_search.scoring import unit
from mkt_search.types import Vector

DIM, M, LABELS, PHOTOS = 24, 3, 16, 400
STAMP = Stamp("c" * 12, "e" * 12, "cover", M, 4, "own")
NAMES = [f"label {number}" for number in range(LABELS)]


def draw(
    seed: int = 0,
    *,
    photos: int = PHOTOS,
    labels: int = LABELS,
    strength: float | NDArray[np.float64] = 1.5,
) -> tuple[Labeled, Vector]:
    """Return photos with their truth, and label vectors (L, D); without strength p is chance.

    `strength` is the part of a label's vector in its photos, of all labels or of each (L,).
    """
    rng = np.random.default_rng(seed)
    z = unit(rng.normal(size=(labels, DIM)).astype(np.float32))
    shown: NDArray[np.bool_] = rng.random((photos, labels)) < 0.1
    part = (shown * np.asarray(strength, np.float32)).astype(np.float32) @ z
    noise = rng.normal(size=(photos, 1 + M, DIM)).astype(np.float32) / np.float32(np.sqrt(DIM))
    vectors = unit(part[:, None] + noise, np.float32(0.5))
    targets = np.where(shown, 1, -1).astype(np.int8)
    return Labeled(vectors, np.full((photos, M), STAMP.top_k), targets), z


def fitted(seed: int = 0, *, strength: float = 1.5) -> Calibrator:
    """Return a calibrator of made-up photos."""
    labeled, z = draw(seed, strength=strength)
    return fit(labeled, NAMES, z, STAMP)


def calibrator_of(
    library: Library,
    *,
    present_from: float = 0.1,
    auroc: float = 1.0,
    stamp: Mapping[str, Any] = MappingProxyType({}),
) -> Calibrator:
    """Return a calibrator for a library whose p rises from 0 at score 0 to 1 at score 1.

    Args:
        library: its vectors are the reference photos.
        present_from: as the calibrator has it.
        auroc: of its quality.
        stamp: what to change in the stamp.
    """
    snapshot = library.snapshot()
    vectors, counts = snapshot.vectors(snapshot.content_ids())
    encoder = library.model.label_encoder().fingerprint
    own = replace(Stamp.of(snapshot.facts.encoding, encoder), **stamp)
    short = slice(own.m)
    return Calibrator(
        stamp=own,
        reference=Reference(vectors[:, : 1 + own.m], counts[:, short]),
        logistic=Logistic(np.array([1.0, 0.0]), 0.0),
        curve=Isotonic(np.array([0.0, 1.0]), np.array([0.0, 1.0])),
        present_from=present_from,
        quality=Quality(8, 100, 0.01, 0.02, 0.5, auroc, 0.0, 0.0),
        baselines=Baselines(Logistic(np.array([1.0]), 0.0), {0.9: 0.9, 0.8: np.inf}),
        labels=("red",),
    )
