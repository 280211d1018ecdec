"""Recall of a candidate index over the number of probes, as measured when it was built."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

QueryKind = Literal["single", "multi", "negated"]
"""A query of one label, of several wanted labels, or of several of which some are unwanted."""

EARLIER_NAMES = {"one": "single", "several": "multi", "unwanted": "negated"}  # in older databases


class RecallPoint(NamedTuple):
    """With `probes` vectors per direction a shortlist holds this share of the exact best photos."""

    probes: int
    recall: float


Points = tuple[RecallPoint, ...]
"""Points of one curve, probes rising."""


@dataclass(frozen=True)
class RecallCurve:
    """Measured points by query kind and depth; depth d compares the d best photos."""

    points: dict[QueryKind, dict[int, Points]]

    def depth_for(self, k: int) -> int:
        """Return the measured depth that a search for k photos uses; k itself if none reaches k."""
        return min((d for depths in self.points.values() for d in depths if d >= k), default=k)

    def probes_for(self, kind: QueryKind, k: int, target: float) -> RecallPoint | None:
        """Return the cheapest point with a recall of `target` at k; None if none was measured.

        A query of several labels uses at least the probes of a single one: if one weight is much
        larger than the others, it nearly is one. Beyond the largest depth, probes grow with k.
        """
        single, own = (self._cheapest(one, k, target) for one in ("single", kind))
        if single is None or own is None:
            return None
        return RecallPoint(max(single.probes, own.probes), own.recall)

    def _cheapest(self, kind: QueryKind, k: int, target: float) -> RecallPoint | None:
        by_depth = self.points.get(kind, {})
        if not by_depth:
            return None
        depth = min((d for d in by_depth if d >= k), default=max(by_depth))
        reached = [point for point in by_depth[depth] if point.recall >= target]
        if not reached:
            return None
        probes = int(np.ceil(reached[0].probes * max(1.0, k / depth)))
        return RecallPoint(probes, reached[0].recall)

    def as_data(self) -> dict[str, Any]:
        """Return the curve as JSON values."""
        return {
            kind: {
                str(depth): [list(point) for point in points] for depth, points in curves.items()
            }
            for kind, curves in self.points.items()
        }

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> "RecallCurve":
        """Undo `as_data`; the oldest databases have the depths of single labels alone."""
        named = {EARLIER_NAMES.get(name, name): curves for name, curves in data.items()}
        known: dict[QueryKind, Any] = {
            kind: named[kind] for kind in get_args(QueryKind) if kind in named
        }
        return cls(
            {
                kind: {
                    int(depth): tuple(RecallPoint(int(n), float(recall)) for n, recall in points)
                    for depth, points in curves.items()
                }
                for kind, curves in (known or {"single": data}).items()
            }
        )
