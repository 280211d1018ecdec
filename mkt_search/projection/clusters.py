"""Clusters of the points of a map at two zoom levels, named by labels that tell them apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mkt_search.scoring import unit
from mkt_search.types import Vector

FINE, COARSE = 60, 12  # clusters at most: near, and from afar
PHOTOS_PER_CLUSTER = 8  # of the sample, on average at least
FINE_PER_COARSE = 4
POINTS_AT_ONCE = 65_536


class Cluster(NamedTuple):
    """A group of points: its level (0 from afar, 1 near), center and name ("" without labels)."""

    level: int
    x: float
    y: float
    name: str


def centers_of(points: Vector, *, seed: int) -> list[Vector]:
    """Return the centers (k, 2) of k-means of points (n, 2), one array a level, coarse first."""
    from sklearn.cluster import KMeans

    if not len(points):
        return []
    distinct = len(np.unique(points, axis=0))
    fine = max(1, min(FINE, len(points) // PHOTOS_PER_CLUSTER, distinct))
    coarse = max(1, min(COARSE, fine // FINE_PER_COARSE))
    found = []
    for count in (coarse, fine):
        method = KMeans(count, n_init=4, random_state=seed).fit(points.astype(np.float64))
        found.append(method.cluster_centers_.astype(np.float32))
    return found


def nearest(points: Vector, centers: Vector) -> NDArray[np.int64]:
    """Return (n,): the number of the nearest center (k, 2) of each point (n, 2)."""
    found = np.empty(len(points), np.int64)
    squares = (centers**2).sum(axis=1)
    for first in range(0, len(points), POINTS_AT_ONCE):
        part = slice(first, first + POINTS_AT_ONCE)
        found[part] = (squares - 2 * (points[part] @ centers.T)).argmin(axis=1)
    return found


def means_of(vectors: Vector, cluster: NDArray[np.int64], count: int) -> Vector:
    """Return the unit mean vectors (k, D) of clusters.

    Args:
        vectors: (n, D).
        cluster: (n,), the number of the cluster of each, below `count`.
        count: k; a cluster may be empty.
    """
    means = np.zeros((count, vectors.shape[1]), np.float32)
    for number in range(count):
        members = vectors[cluster == number]
        if len(members):
            means[number] = members.mean(axis=0)
    return unit(means)


def names_of(means: Vector, labels: Sequence[str], vectors: Vector) -> list[str]:
    """Return a name for each of k clusters, no label twice; "" where there is none left.

    A label suits a cluster by its score there, less its mean score over all clusters. The pair
    that suits best is settled first.

    Args:
        means: (k, D), mean vectors of the clusters.
        labels: L labels.
        vectors: (L, D), their unit vectors.
    """
    scores = means @ vectors.T  # (k, L)
    if len(means) > 1:
        scores = scores - scores.mean(axis=0)
    names = [""] * len(means)
    taken: set[int] = set()
    for pair in np.argsort(-scores, axis=None, kind="stable").tolist():
        cluster, label = divmod(pair, len(labels))
        if not names[cluster] and label not in taken:
            names[cluster] = labels[label]
            taken.add(label)
            if len(taken) == len(names):
                break
    return names
