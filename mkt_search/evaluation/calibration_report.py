"""What probabilities are worth, as tables, Markdown and JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mkt_search.calibration import quality
from mkt_search.calibration.baselines import CALIBRATOR, PLATT, THRESHOLD, Measured
from mkt_search.calibration.quality import ASKED, LIKELY, MIN_PHOTOS, Quality, Reached
from mkt_search.display import count_noun
from mkt_search.evaluation.tables import NO_VALUE, Table, as_cell

QUALITY_COLUMNS = {
    "ECE": "ece",
    f"ECE, p >= {LIKELY:g}": "ece_likely",
    "Brier skill": "brier_skill",
    "AUROC": "auroc",
    "absent answered": "absent_answered",
    "present missed": "present_missed",
}


@dataclass(frozen=True)
class CalibrationEntry:
    """A model with its calibrator, and what each way from scores to a choice is worth.

    `made_from` says what the calibrator was fitted on; `methods` begins with it.
    """

    model: str
    fingerprint: str
    made_from: str
    methods: Mapping[str, Measured]


@dataclass(frozen=True)
class CalibrationReport:
    """What the probabilities of models are worth, on labels that neither they nor p saw.

    `dataset` names the photos, `unreadable` counts those left out, `labels` are those tested, and
    `made_at` is the start in UTC. `notes` are remarks about what was left out.
    """

    dataset: str
    photos: int
    unreadable: int
    labels: tuple[str, ...]
    entries: tuple[CalibrationEntry, ...]
    made_at: datetime
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return a sentence about the photos and labels."""
        left_out = f"{count_noun(self.unreadable, 'unreadable photo')} left out"
        parts = [
            f"{count_noun(self.photos, 'photo')} of {self.dataset}",
            f"{count_noun(len(self.labels), 'label')} that neither model nor calibrator saw",
            *([left_out] if self.unreadable else []),
        ]
        return ", ".join(parts)

    def tables(self) -> dict[str, Table]:
        """Return the tables by heading: of precision, and of how near p is to the truth."""
        return {
            "Precision that is asked for, and reached": self._table(
                tuple(
                    f"{name} at {asked:g}"
                    for asked in ASKED
                    for name in ("P", "worst P", "R", "answered")
                ),
                lambda found: tuple(
                    cell for asked in ASKED for cell in _reached(found.reached[asked])
                ),
            ),
            "How near p is to the truth": self._table(
                tuple(QUALITY_COLUMNS), lambda found: _quality(found.quality)
            ),
        }

    def legend(self) -> list[str]:
        """Return what the columns mean: a sentence about each of the two tables."""
        return [
            "P is the precision that the photos chosen for a label reach, on average over the"
            " labels that get an answer; worst P is that of the worst tenth of them. R is the mean"
            f" recall over all labels. {THRESHOLD.capitalize()} and {PLATT} (a logistic curve over"
            " the score of all labels) were fitted on the photos and labels of the calibrator; the"
            " oracle is fitted on the truth it is measured on.",
            "ECE is the mean distance between p and the share of photos that show the label, over"
            f" bins of equal mass. Brier skill is 1 for perfect p. A label that {MIN_PHOTOS} photos"
            " show is present, and absent in the library without them: AUROC tells the two apart"
            " by the best p, absent answered is the share of absent labels that get an answer at"
            f" {max(ASKED):g}, and present missed that of present ones that count as absent.",
        ]

    def markdown(self) -> str:
        """Return the report as Markdown: the summary, the tables, their legend and the notes."""
        parts = [f"## Calibration\n\n{self.summary()}."]
        for heading, table in self.tables().items():
            parts += [f"### {heading}", table.markdown()]
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join([*parts, *self.legend(), *filter(None, [notes])]) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "dataset": self.dataset,
            "photos": self.photos,
            "unreadable": self.unreadable,
            "labels": list(self.labels),
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "notes": list(self.notes),
            "models": [
                {
                    "model": entry.model,
                    "fingerprint": entry.fingerprint,
                    "made_from": entry.made_from,
                    "methods": {name: _as_data(found) for name, found in entry.methods.items()},
                }
                for entry in self.entries
            ],
        }

    def chance(self) -> list[str]:
        """Return a sentence about each calibrator that cannot tell whether a label is there."""
        return [
            f"{entry.model} cannot tell whether a label is there: p is near the average for all"
            for entry in self.entries
            if (found := entry.methods[CALIBRATOR].quality) and found.is_chance
        ]

    def _table(self, columns: tuple[str, ...], cells: Any) -> Table:
        rows = tuple(
            (entry.model, name, *cells(found))
            for entry in self.entries
            for name, found in entry.methods.items()
        )
        return Table(("model", "method", *columns), rows, text_columns=2, has_best=False)


def _reached(found: Reached) -> tuple[str, ...]:
    values = (found.precision, found.worst, found.recall)
    return (*map(_cell, values), f"{found.answered:,}")


def _quality(found: Quality | None) -> tuple[str, ...]:
    if found is None:
        return (NO_VALUE,) * len(QUALITY_COLUMNS)
    return tuple(_cell(getattr(found, name)) for name in QUALITY_COLUMNS.values())


def _cell(value: float | None) -> str:
    return NO_VALUE if value is None else as_cell(value)


def _as_data(found: Measured) -> dict[str, Any]:
    if found.quality is None:
        return {"reached": {f"{asked:g}": vars(of) for asked, of in found.reached.items()}}
    bins = [vars(one) for one in found.reliability]
    return {**quality.as_data(found.quality), "reliability": bins}
