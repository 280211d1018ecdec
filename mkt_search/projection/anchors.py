"""Photos placed among those of a sample, whose points are known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mkt_search.projection.plane import Axes
from mkt_search.store.ann.neighbours import Neighbours
from mkt_search.types import Vector

NEIGHBOURS = 10


@dataclass(frozen=True)
class Anchors:
    """Photos of the sample: `coordinates` (s, c) along `axes`, and `points` (s, 2) of the plane."""

    axes: Axes
    coordinates: Vector
    points: Vector

    def place(self, vectors: Vector) -> Vector:
        """Return the points (n, 2) of unit global vectors (n, D).

        A point is the median of those of the ten photos of the sample with the nearest vectors,
        along each axis: their mean may lie in the gap between two groups.
        """
        near = self._neighbours.nearest(self.axes.coordinates(vectors), NEIGHBOURS)  # (n, 10)
        points: Vector = np.median(self.points[near], axis=1)
        return points

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.coordinates)
