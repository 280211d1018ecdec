"""Made-up vectors in clusters, a snapshot that has them, and maps of them."""

import numpy as np

from mkt_search.projection.anchors import Anchors
from mkt_search.projection.clusters import Cluster
from mkt_search.projection.plane import Axes
from mkt_search.projection.stored import Contents, StoredMap
from mkt_search.scoring import unit
from mkt_search.types import Vector
from tests import made
from tests.numpy_snapshot import NumpySnapshot

DIM = made.DIM


def clustered(count: int, clusters: int = 4, *, seed: int = 0, noise: float = 0.05) -> Vector:
    """Return (n, D) unit vectors; the i-th is of cluster i modulo `clusters`, near axis i."""
    rng = np.random.default_rng(seed)
    centers = np.eye(clusters, DIM, dtype=np.float32)
    noises = rng.standard_normal((count, DIM)).astype(np.float32)
    return unit(centers[np.arange(count) % clusters] + np.float32(noise) * noises)


def snapshot(vectors: Vector, first_id: int = 1) -> NumpySnapshot:
    """Return a snapshot of photos with global vectors (n, D) of half their length."""
    ids = np.arange(first_id, first_id + len(vectors))
    half = np.float32(0.5) * vectors[:, None, :]
    members = np.ones((len(vectors), 1, 12), np.bool_)
    return NumpySnapshot(made.stored(), ids, np.concatenate([half, half], axis=1), members)


def contents(count: int, first_id: int = 1) -> Contents:
    """Return contents with rising ids and keys 10, 20, 30 ..."""
    ids = np.arange(first_id, first_id + count)
    return Contents((10 * ids).astype(np.uint64), ids)


def small_map(count: int = 3) -> StoredMap:
    """Return a map of a few contents."""
    points = np.linspace(-1, 1, 2 * count, dtype=np.float32).reshape(-1, 2)
    axes = Axes(np.zeros(DIM, np.float32), np.eye(2, DIM, dtype=np.float32))
    return StoredMap(
        encoding=made.encoding().fingerprint,
        revision=7,
        seed=0,
        keys=contents(count).keys,
        points=points,
        anchors=Anchors(axes, points, points),
        clusters=(Cluster(0, 0.0, 0.0, "dog"), Cluster(1, -1.0, 0.5, "")),
    )
