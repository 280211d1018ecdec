"""How good probabilities are: measured on labels whose truth is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.selection import longest_prefix

Numbers = NDArray[np.float64]
Targets = NDArray[np.int8]

ASKED = (0.9, 0.8, 0.5)
"""The precisions that are asked for when the quality is measured."""

BINS = 15  # of equal numbers of pairs
LIKELY = 0.2  # probabilities from here on are those that matter; most pairs are far below
MIN_PHOTOS = 3  # that show a label, for it to count as present
WORST = 0.1  # the share of labels whose precision counts as the worst decile
BEST = 3  # photos whose mean probability says whether a label is present at all
CHANCE = 0.65
"""Below this AUROC of present against absent, p cannot tell whether a label is there."""


@dataclass(frozen=True)
class Reached:
    """What came of asking for a precision, over the labels that some photo shows.

    `precision` is the mean over the labels that were answered and `worst` that of their worst
    tenth; both are None if none was answered. `recall` is the mean over all labels.
    """

    precision: float | None
    worst: float | None
    recall: float
    answered: int


@dataclass(frozen=True)
class Quality:
    """How good probabilities are, on labels that neither the model nor the calibrator saw.

    Args:
        labels: how many were measured, with a photo that shows them.
        photos: how many they were measured on.
        ece: expected calibration error over bins of equal mass.
        ece_likely: the same over probabilities of `LIKELY` or more; None if there are none.
        brier_skill: 1 is perfect, 0 as good as the share of each label alone.
        auroc: how well the best photos tell a label that is present from one that is not, 0.5 by
            chance; None without a label that `MIN_PHOTOS` show.
        absent_answered: share of absent labels that count as present and get an answer at the
            highest precision asked.
        present_missed: share of labels that `MIN_PHOTOS` or more show and that count as absent.
        reached: by precision asked.
    """

    labels: int
    photos: int
    ece: float
    ece_likely: float | None
    brier_skill: float
    auroc: float | None
    absent_answered: float | None
    present_missed: float | None
    reached: dict[float, Reached] = field(default_factory=dict)

    @property
    def is_chance(self) -> bool:
        """Whether probabilities cannot tell if a label is there."""
        return self.auroc is None or self.auroc < CHANCE


@dataclass(frozen=True)
class Bin:
    """Pairs of photo and label of nearly the same p: its mean, the share that is true, how many."""

    p: float
    share: float
    pairs: int


def measure(
    p: Numbers, targets: Targets, *, present_from: float, asked: Sequence[float] = ASKED
) -> Quality:
    """Measure probabilities of n photos for L labels.

    Args:
        p: (n, L).
        targets: (n, L), +1, -1, or 0 where the truth is not known.
        present_from: as the calibrator has it.
        asked: precisions to ask for.
    """
    known = targets != 0
    probability, truth = p[known], targets[known] > 0
    columns = _columns(p, targets)
    shown = [column for column in columns if column.truth.any()]
    present = [column for column in columns if column.truth.sum() >= MIN_PHOTOS]
    likely = probability >= LIKELY
    spread = float(truth.mean() * (1 - truth.mean())) if len(truth) else 0.0
    best = np.array([best_mean(column.p) for column in present])
    best_without = np.array([best_mean(column.p[~column.truth]) for column in present])
    is_answered = [column.answers_without(max(asked)) for column in present]
    return Quality(
        labels=len(shown),
        photos=len(p),
        ece=_error(bins(probability, truth)),
        ece_likely=_error(bins(probability[likely], truth[likely])) if likely.any() else None,
        brier_skill=1 - float(((probability - truth) ** 2).mean()) / spread if spread else 0.0,
        auroc=_auroc(best, best_without) if present else None,
        absent_answered=_mean((best_without >= present_from) & np.array(is_answered, np.bool_)),
        present_missed=_mean(best < present_from),
        reached={a: _reached(shown, a) for a in asked},
    )


def best_mean(p: Numbers) -> float:
    """Return the mean of the best probabilities (n,), which says whether a label is present.

    Photos that a small library lacks count as 0.
    """
    return float(np.sort(p)[-BEST:].sum()) / BEST


def choose_present(p: Numbers, targets: Targets, rng: np.random.Generator) -> float:
    """Return from which mean of its best probabilities a label counts as present.

    There the share of labels on `MIN_PHOTOS` photos that would be missed is nearest to the share of
    absent ones that would be found.

    Args:
        p: (n, L), of labels that the fit did not see.
        targets: (n, L).
        rng: draws the photos.
    """
    columns = [column for column in _columns(p, targets) if column.truth.sum() >= MIN_PHOTOS]
    if not columns:
        return 1.0
    few = []
    for column in columns:
        drawn = rng.choice(np.flatnonzero(column.truth), MIN_PHOTOS, replace=False)
        few.append(best_mean(np.concatenate([column.p[drawn], column.p[~column.truth]])))
    none = [best_mean(column.p[~column.truth]) for column in columns]
    tried = np.unique([*few, *none])
    wrong = [abs(np.mean(np.array(few) < t) - np.mean(np.array(none) >= t)) for t in tried]
    return min(float(tried[int(np.argmin(wrong))]), 1.0)


def bins(p: Numbers, truth: NDArray[np.bool_], count: int = BINS) -> list[Bin]:
    """Cut pairs into bins of equal numbers by probability, the lowest first."""
    order = np.argsort(p, kind="stable")
    return [
        Bin(float(p[part].mean()), float(truth[part].mean()), len(part))
        for part in np.array_split(order, count)
        if len(part)
    ]


def reliability(p: Numbers, targets: Targets) -> list[Bin]:
    """Return the bins of a reliability diagram: those below `LIKELY`, and those from there on.

    Most pairs are far below, so that bins of equal mass over all of them would show little else.
    """
    known = targets != 0
    probability, truth = p[known], targets[known] > 0
    likely = probability >= LIKELY
    return [*bins(probability[~likely], truth[~likely]), *bins(probability[likely], truth[likely])]


def reached_by_cut(is_chosen: NDArray[np.bool_], targets: Targets) -> Reached:
    """Return what comes of choosing pairs (n, L) of photo and label."""
    shown = [one for one in _columns(is_chosen.astype(np.float64), targets) if one.truth.any()]
    return _reached(shown, 1.0)


@dataclass(frozen=True)
class _Column:
    """The photos whose truth is known for one label: (n,) each."""

    p: Numbers
    truth: NDArray[np.bool_]

    def chosen(self, asked: float) -> NDArray[np.bool_]:
        """Return the truth of the photos that are chosen for a precision."""
        order = np.argsort(-self.p, kind="stable")
        return self.truth[order[: longest_prefix(self.p[order], asked)]]

    def answers_without(self, asked: float) -> bool:
        """Return whether a photo is chosen that does not show the label."""
        p = self.p[~self.truth]
        return bool(len(p) and p.max() >= asked)


def _reached(columns: Sequence[_Column], asked: float) -> Reached:
    chosen = [column.chosen(asked) for column in columns]
    precisions = sorted(float(truth.mean()) for truth in chosen if len(truth))
    worst = precisions[: max(1, round(WORST * len(precisions)))]
    recalls = [
        float(truth.sum() / column.truth.sum())
        for truth, column in zip(chosen, columns, strict=True)
    ]
    return Reached(_mean(precisions), _mean(worst), _mean(recalls) or 0.0, len(precisions))


def _columns(p: Numbers, targets: Targets) -> list[_Column]:
    known = targets != 0
    return [_Column(p[known[:, j], j], targets[known[:, j], j] > 0) for j in range(p.shape[1])]


def _error(found: Sequence[Bin]) -> float:
    pairs = sum(one.pairs for one in found)
    return sum(one.pairs * abs(one.p - one.share) for one in found) / max(pairs, 1)


def _auroc(present: Numbers, absent: Numbers) -> float:
    higher = (present[:, None] > absent).mean() + (present[:, None] == absent).mean() / 2
    return float(higher)


def _mean(values: Sequence[float] | NDArray[np.bool_]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def as_data(quality: Quality) -> dict[str, object]:
    """Return a quality as JSON values."""
    reached = {f"{asked:g}": vars(found) for asked, found in quality.reached.items()}
    return {**vars(quality), "reached": reached}


def lines(quality: Quality) -> Iterator[str]:
    """Yield what there is to say of a quality, a sentence each."""
    yield (
        f"on {quality.labels:,} labels that it never saw, with {quality.photos:,} photos: "
        f"ECE {quality.ece:.4f}"
        + (
            f", {quality.ece_likely:.3f} where p >= {LIKELY:g}"
            if quality.ece_likely is not None
            else ""
        )
        + (
            f"; AUROC of present against absent {quality.auroc:.2f}"
            if quality.auroc is not None
            else ""
        )
    )
    for asked, found in quality.reached.items():
        if found.precision is None:
            yield f"asked for precision {asked:g}: no label is answered"
        else:
            yield (
                f"asked for precision {asked:g}: {found.precision:.2f} reached (worst tenth of the "
                f"labels {found.worst:.2f}), recall {found.recall:.2f}, {found.answered:,} labels "
                "answered"
            )
