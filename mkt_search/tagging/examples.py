"""A few of the photos that a label would go to: the best, one in the middle, and the last."""

import numpy as np

from mkt_search.store.interfaces import ContentIds
from mkt_search.store.spill import SpillFile
from mkt_search.types import Vector

RECORDS_PER_PIECE = 100_000


class Examples:
    """Finds examples for L labels among assignments; memory grows with the labels alone.

    The middle one is that whose score is nearest to the mean of the label's scores.
    """

    def __init__(self, labels: int) -> None:
        self._content_ids = np.full((3, labels), -1, np.int64)

    def find(self, chosen: SpillFile, *, piece: int = RECORDS_PER_PIECE) -> None:
        """Read the assignments twice, so many of them at a time."""
        wanted = self._wanted(chosen, piece)
        nearest = np.full(wanted.shape, np.inf)
        for records in chosen.pieces(piece):
            labels = records["label"]
            for place, scores in enumerate(wanted):
                distance = np.abs(records["score"] - scores[labels])
                order = np.lexsort((distance, labels))
                some, first = np.unique(labels[order], return_index=True)
                rows = order[first]
                is_nearer = distance[rows] < nearest[place, some]
                some, rows = some[is_nearer], rows[is_nearer]
                nearest[place, some] = distance[rows]
                self._content_ids[place, some] = records["content"][rows]

    def of(self, label: int) -> ContentIds:
        """Return the content ids of a label's examples, the best first, each once.

        One photo is the best; of two, the other is the last.
        """
        best, middle, last = self._content_ids[:, label].tolist()
        found = dict.fromkeys([best, last] if middle in (best, last) else [best, middle, last])
        return np.array([content_id for content_id in found if content_id >= 0], np.int64)

    def _wanted(self, chosen: SpillFile, piece: int) -> Vector:
        """Return (3, L): the highest, the mean and the lowest score of each label."""
        labels = self._content_ids.shape[1]
        high, low = np.full(labels, -np.inf, np.float32), np.full(labels, np.inf, np.float32)
        sums, counts = np.zeros(labels), np.zeros(labels, np.int64)
        for records in chosen.pieces(piece):
            numbers, scores = records["label"], records["score"]
            np.maximum.at(high, numbers, scores)
            np.minimum.at(low, numbers, scores)
            np.add.at(sums, numbers, scores)
            np.add.at(counts, numbers, 1)
        means = (sums / np.maximum(counts, 1)).astype(np.float32)
        return np.stack([high, means, low])
