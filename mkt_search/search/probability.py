"""The probability of hits, and searches that ask for it instead of a number of hits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Calibrator, several
from mkt_search.calibration.features import LabelStatistics
from mkt_search.calibration.feedback import like_the_label, shifted
from mkt_search.calibration.quality import BEST, best_mean
from mkt_search.calibration.selection import longest_prefix
from mkt_search.scoring import score_similarities
from mkt_search.search.feedback import AdaptedQuery
from mkt_search.search.search import Found
from mkt_search.store.interfaces import Snapshot, WeightedQuery
from mkt_search.types import Vector

Numbers = NDArray[np.float64]
Match = Literal["yes", "none", "unknown"]
"""Whether a library shows a label: it does, nothing like it is there, or it cannot be known."""

FIRST_ASKED = 200  # photos; more are asked for until p is too low
GROWTH = 4
PHOTOS_PER_BLOCK = 256


@dataclass(frozen=True)
class Wanted:
    """What is asked of p; `precision` is of all hits together, `min_p` of each, `most` a limit."""

    precision: float | None = None
    min_p: float | None = None
    most: int | None = None

    def count(self, p: Numbers) -> int:
        """Return how many of the first photos, with falling probabilities (n,), are wanted."""
        count = len(p) if self.min_p is None else int((p >= self.min_p).sum())
        if self.precision is not None:
            count = longest_prefix(p[:count], self.precision)
        return count if self.most is None else min(count, self.most)


@dataclass(frozen=True)
class Probability:
    """Gives hits of one query their probability: of its label, or of `several` together.

    `statistics` are of its labels, `moved` of the vectors that judgements have made of them.
    """

    calibrator: Calibrator
    statistics: LabelStatistics
    adapted: AdaptedQuery
    moved: LabelStatistics

    @classmethod
    def of(cls, calibrator: Calibrator, adapted: AdaptedQuery) -> "Probability":
        """Prepare the probability of a query's labels."""
        statistics = calibrator.statistics(adapted.labels)
        moved = calibrator.statistics(adapted.query.labels) if adapted.judged else statistics
        return cls(calibrator, statistics, adapted, moved)

    @property
    def query(self) -> WeightedQuery:
        """The query that is searched for."""
        return self.adapted.query

    def of_scores(self, scores: Vector) -> Numbers:
        """Return (n, T), the probability of each label, for scores (n, T)."""
        if not self.adapted.judged:
            return self.calibrator.probabilities(scores, self.statistics)
        found = like_the_label(scores, self.moved, self.statistics)
        return shifted(self.calibrator.probabilities(found, self.statistics), self.adapted.offsets)

    def at(self, snapshot: Snapshot, found: Found) -> Numbers:
        """Return (n,), the probability of each photo."""
        if self.query.terms == 1:
            scores = (found.scores / self.query.weights[0])[:, None]
            return self.of_scores(scores)[:, 0]
        k = snapshot.facts.encoding.top_k
        p = np.empty(len(found.content_ids))
        for first in range(0, len(p), PHOTOS_PER_BLOCK):
            block = slice(first, first + PHOTOS_PER_BLOCK)
            products, counts = snapshot.similarities(found.content_ids[block], self.query.labels)
            scores = score_similarities(products, counts, k=k).fused  # (n, T)
            p[block] = several(self.of_scores(scores), self.query.weights)
        return p

    def match(self, p: Numbers) -> Match | None:
        """Return whether a library shows the label, by its best photos; None for several labels.

        It does if a person judged so of one of its photos.

        Args:
            p: (n,), of the best photos or of all.
        """
        if self.query.terms > 1:
            return None
        if self.calibrator.quality.is_chance:
            return "unknown"
        if self.adapted.is_confirmed:
            return "yes"
        return "yes" if best_mean(p) >= self.calibrator.present_from else "none"


def search_by_p(
    search: Callable[[int], Found],
    probability: Probability,
    snapshot: Snapshot,
    wanted: Wanted,
) -> tuple[Found, Numbers, Match | None]:
    """Return the photos that are wanted, the most probable first, their p, and the match.

    For one label p falls with the score, so that photos are asked for until p is too low. For
    several labels every photo is asked for. A label that a library does not show, or that cannot be
    known, gets no answer to a precision.

    Args:
        search: returns the k best photos by score.
        probability: of the query.
        snapshot: what is searched.
        wanted: of p.
    """
    total = max(snapshot.facts.photos, 1)
    asked = total if probability.query.terms > 1 else min(FIRST_ASKED, total)
    while True:
        found = search(asked)
        p = probability.at(snapshot, found)
        if probability.query.terms > 1:
            order = np.argsort(-p, kind="stable")
            found, p = found.at(order), p[order]
        count = wanted.count(p)
        if count < len(p) or len(p) < asked or asked == total:
            break
        asked = min(GROWTH * asked, total)
    match = probability.match(p[:BEST])
    if wanted.precision is not None and match in ("none", "unknown"):
        count = 0
    return found.at(np.arange(count)), p[:count], match
