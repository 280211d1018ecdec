"""The curve of recall over vectors: how many are to be asked of a sketch to find what share."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

Points = tuple[tuple[int, float], ...]
"""Pairs of (vectors, recall), vectors rising."""

QueryKind = Literal["one", "several", "unwanted"]
"""Of a query: one label, several wanted ones, or several of which some are unwanted."""


@dataclass(frozen=True)
class RecallCurve:
    """Share of the exact `depth` best photos on the shortlist of so many vectors, measured.

    `recall` is by the form of the query and by depth.
    """

    recall: dict[QueryKind, dict[int, Points]]

    def depth_of(self, k: int) -> int:
        """Return at what depth the recall of a search for k photos was measured; k, if at none."""
        return min((d for depths in self.recall.values() for d in depths if d >= k), default=k)

    def vectors_for(self, form: QueryKind, k: int, target: float) -> int | None:
        """Return how many vectors reach a recall of `target` at k; None if none are known to.

        For several terms no fewer than for one: of unequal weights one may be nearly all there is.
        """
        forms: tuple[QueryKind, ...] = ("one", form)
        needed = [self._measured(one, k, target) for one in forms]
        known = [vectors for vectors in needed if vectors is not None]
        return max(known) if len(known) == len(needed) else None

    def _measured(self, form: QueryKind, k: int, target: float) -> int | None:
        measured = self.recall.get(form, {})
        depths = sorted(measured)
        depth = next((d for d in depths if d >= k), depths[-1] if depths else 0)
        stretch = max(1.0, k / depth) if depth else 1.0
        for vectors, recall in measured.get(depth, ()):
            if recall >= target:
                return int(np.ceil(vectors * stretch))
        return None

    def as_data(self) -> dict[str, Any]:
        """Return the curve as the database keeps it."""
        return {
            form: {str(depth): [list(pair) for pair in points] for depth, points in depths.items()}
            for form, depths in self.recall.items()
        }

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> "RecallCurve":
        """Undo `as_data`; a generation of before is measured on one label only, by depth."""
        by_form: dict[QueryKind, Any] = {
            form: data[form] for form in get_args(QueryKind) if form in data
        }
        return cls(
            {
                form: {
                    int(depth): tuple((int(v), float(r)) for v, r in points)
                    for depth, points in depths.items()
                }
                for form, depths in (by_form or {"one": data}).items()
            }
        )
