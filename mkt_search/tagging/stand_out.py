"""Labels that stand out: the choice of tags where scores have no probability.

A label goes to the photos that score it clearly higher than other photos of the library do, and
that score it higher than nearly all everyday words. Nothing is fitted. The middle of a label's
scores is their median, which a label on a third of the photos moves little; so such a label stands
out, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Reference
from mkt_search.calibration.features import MIN_SPREAD
from mkt_search.errors import QueryError
from mkt_search.tagging.assign import TagRule, Words
from mkt_search.types import Vector

TOP = 5  # labels of a photo, at most
PHOTOS, FEWEST_PHOTOS = 100, 20
WORDS, FEWEST_WORDS = 200, 20
SPREADS = 2.0  # standard deviations above the median of a label's scores
SHARE = 0.95  # of the words that a label must beat
HANDICAP = 0.5  # of the mean of a label's scores


@dataclass(frozen=True)
class LabelScale:
    """How L labels score over some photos: median, spread and mean, (L,) each."""

    median: Vector
    spread: Vector
    mean: Vector

    @classmethod
    def of(cls, reference: Reference, labels: Vector, *, k: int) -> "LabelScale":
        """Return the scale of label vectors (L, D), with k best patches; 0 without photos."""
        if not len(reference):
            none = np.zeros(len(labels), np.float32)
            return cls(none, np.full_like(none, MIN_SPREAD), none)
        parts = [
            (np.median(scores.fused, axis=0), scores.fused.std(axis=0), scores.fused.mean(axis=0))
            for scores in reference.scores(labels, k=k)
        ]
        median, spread, mean = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(median, np.maximum(spread, np.float32(MIN_SPREAD)), mean)

    @property
    def handicap(self) -> Vector:
        """(L,): what a label is worth less than its score."""
        return handicap(self.mean)


def handicap(mean: NDArray[np.floating[Any]]) -> Vector:
    """Return (L,): what labels are worth less than their scores, given the mean of these."""
    return (HANDICAP * mean).astype(np.float32)


def some_of(words: Sequence[str]) -> list[str]:
    """Return up to `WORDS` words, spread evenly over a list."""
    places = np.linspace(0, len(words) - 1, min(WORDS, len(words))).astype(np.int64)
    return [words[place] for place in places]


@dataclass(frozen=True)
class StandOut:
    """The rule of tags for labels that stand out among photos and words."""

    rule: TagRule
    photos: int
    words: int

    @classmethod
    def of(
        cls,
        reference: Reference,
        labels: Vector,
        words: Vector,
        *,
        k: int,
        spreads: float = SPREADS,
        share: float = SHARE,
    ) -> "StandOut":
        """Make the rule.

        Too few photos, or too few words, count as none.

        Args:
            reference: photos of the library.
            labels: (L, D).
            words: (W, D).
            k: best patches that count.
            spreads: standard deviations above the median that a label must score.
            share: of the words that a label must beat.

        Raises:
            QueryError: there are too few photos and too few words.
        """
        photos = len(reference) if len(reference) >= FEWEST_PHOTOS else 0
        if len(words) < FEWEST_WORDS:
            words = words[:0]
        if not photos and not len(words):
            raise QueryError(
                f"{len(reference):,} photos are too few to tell which labels stand out, and the "
                "model knows too few words: say how many labels a photo gets with --top N, or how "
                "good they are with --threshold S."
            )
        scale, background = LabelScale.of(reference, labels, k=k), None
        if len(words):
            of_words = LabelScale.of(reference, words, k=k)
            background = Words(words, of_words.handicap, share)
        lowest = scale.median + np.float32(spreads) * scale.spread if photos else None
        rule = TagRule(TOP, lowest, scale.handicap, background)
        return cls(rule, photos, len(words))

    @property
    def among(self) -> str:
        """What labels stand out among, in words."""
        photos = f"{self.photos:,} photos" if self.photos else ""
        words = f"{self.words:,} everyday words" if self.words else ""
        return " and ".join(filter(None, (photos, words)))
