"""How a run chooses tags: by what a person asks for, or else by what the model allows.

Without a request, a run has a precision of `DEFAULT_PRECISION` where a calibrator can tell which
photos show a label, and takes labels that stand out where none can.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mkt_search.calibration.calibrator import Reference
from mkt_search.calibration.file import Found
from mkt_search.errors import QueryError
from mkt_search.store.interfaces import Snapshot
from mkt_search.tagging.assign import TagRule
from mkt_search.tagging.by_precision import ByPrecision, LabelProbabilities
from mkt_search.tagging.stand_out import PHOTOS, TOP, LabelScale, StandOut, handicap
from mkt_search.types import Vector

DEFAULT_PRECISION = 0.8


@dataclass(frozen=True)
class TagRequest:
    """What a person asks of tags: the most labels of a photo (0: any number), and how good."""

    top: int = 0
    threshold: float | None = None
    precision: float | None = None
    min_p: float | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether everything is left to the program."""
        return self == TagRequest()

    @property
    def needs_p(self) -> bool:
        """Whether tags are chosen by their probability."""
        return self.precision is not None or self.min_p is not None

    def check(self, labels: Sequence[str]) -> None:
        """Raise QueryError for what would tag nothing, or contradicts itself."""
        if not labels:
            raise QueryError("The vocabulary has no labels.")
        if self.top < 0:
            raise QueryError(
                f"--top {self.top} is negative; give a number of labels, or 0 for no limit."
            )
        if self.threshold is not None and math.isnan(self.threshold):
            raise QueryError("--threshold nan is not a number; give the lowest score of a tag.")
        if self.threshold is not None and self.threshold > 1:
            raise QueryError(
                f"--threshold {self.threshold:g} would tag nothing: no score is above 1."
            )
        for flag, share in (("--precision", self.precision), ("--min-p", self.min_p)):
            if share is not None and not 0 < share <= 1:
                raise QueryError(f"{flag} {share:g} is none: name one above 0, up to 1.")
            if share is not None and self.threshold is not None:
                raise QueryError(f"{flag} takes the place of --threshold; leave one of them out.")

    def or_default(self, calibrator: Found) -> "TagRequest":
        """Return this, or the default precision if nothing is asked for and p can tell."""
        if self.is_nothing and calibrator.can_tell:
            return replace(self, precision=DEFAULT_PRECISION)
        return self


@dataclass(frozen=True)
class Choice:
    """The rule of a run; with `by_precision`, what is kept of the tags that the rule gives.

    `text` says in words how tags are chosen; `note` what a person should know of it, or "".
    """

    rule: TagRule
    text: str
    probabilities: LabelProbabilities | None = None
    by_precision: ByPrecision | None = None
    note: str = ""


def choose(
    asked: TagRequest,
    calibrator: Found,
    labels: Vector,
    snapshot: Snapshot,
    words: Callable[[], Vector],
) -> Choice:
    """Return how a run chooses tags.

    Args:
        asked: what a person asks for, after `or_default`.
        calibrator: of the scores.
        labels: (L, D).
        snapshot: the photos.
        words: returns the vectors of everyday words, (W, D).

    Raises:
        CalibrationError: a probability is asked for, and no calibrator can tell it.
        QueryError: nothing is asked for, and there are too few photos and words to choose by.
    """
    probabilities = None
    if calibrator.calibrator is not None:
        probabilities = LabelProbabilities(calibrator.calibrator, labels)
    if asked.is_nothing:
        return _standing_out(labels, snapshot, words(), probabilities)
    less = _handicap(labels, snapshot, probabilities) if asked.top else None
    limit = f"at most {asked.top:,} a photo" if asked.top else "any number a photo"
    if not asked.needs_p:
        by = "" if asked.threshold is None else f", scores from {asked.threshold:g}"
        return Choice(TagRule(asked.top, asked.threshold, less), f"{limit}{by}", probabilities)
    calibrator.needed()
    assert probabilities is not None
    by = "" if asked.min_p is None else f", p from {asked.min_p:g}"
    if asked.precision is None:
        lowest = probabilities.lowest_scores(asked.min_p or 0)
        return Choice(TagRule(asked.top, lowest, less), f"{limit}{by}", probabilities)
    chooser = ByPrecision(probabilities, asked.precision, min_p=asked.min_p or 0)
    text = f"{limit}{by}, expected precision of each label {asked.precision:g}"
    return Choice(TagRule(asked.top, chooser.lowest_scores, less), text, probabilities, chooser)


def _standing_out(
    labels: Vector, snapshot: Snapshot, words: Vector, probabilities: LabelProbabilities | None
) -> Choice:
    """Return the choice of labels (L, D) that stand out. Raises QueryError."""
    reference = Reference.sample(snapshot, PHOTOS)
    found = StandOut.of(reference, labels, words, k=snapshot.facts.encoding.top_k)
    why, way_out = "The calibrator cannot tell which photos show a label", ""
    if probabilities is None:
        why, way_out = "No calibrator fits the model", "; `mkt calibrate` makes one"
    return Choice(
        found.rule,
        f"at most {TOP} a photo, labels that stand out among {found.among}",
        probabilities,
        note=f"{why}, so tags are labels that stand out among {found.among}{way_out}.",
    )


def _handicap(
    labels: Vector, snapshot: Snapshot, probabilities: LabelProbabilities | None
) -> Vector:
    """Return (L,), by the reference photos of the calibrator, else by photos of the library."""
    if probabilities is not None:
        return handicap(probabilities.statistics.mean)
    reference = Reference.sample(snapshot, PHOTOS)
    return LabelScale.of(reference, labels, k=snapshot.facts.encoding.top_k).handicap
