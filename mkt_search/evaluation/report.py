"""What an evaluation found, and how it is told: as rows, as tables, in Markdown, HTML and JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.evaluation.protocol import PROTOCOLS, STREAMS, Group, Rules, Scale, Stream
from mkt_search.evaluation.tables import Table, shown

Prompt = Literal["learned", "template", "table"]
Vectors = Literal["patches", "stored"]
Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Entry:
    """One thing evaluated: a model, the prompt its labels stood in, and the photos' vectors.

    `vectors` are every patch straight from the student, or what a library stores of them. `photos`
    could be read. `is_retold`: another entry differs by the prompt alone.
    """

    model: str
    fingerprint: str
    prompt: Prompt = "template"
    vectors: Vectors = "patches"
    photos: int = 0
    is_retold: bool = False

    @property
    def title(self) -> str:
        """The model's name, and what sets this entry apart from others of the same model."""
        told = {"template": ", plain template"}.get(self.prompt, "") if self.is_retold else ""
        return self.model + told + (", stored" if self.vectors == "stored" else "")


@dataclass(frozen=True)
class Row:
    """What one stream of an entry reaches on one group of labels, on one scale.

    `paper` has mAP, and P@k, R@k and F1@k of the k best labels of each photo; `retrieval` the means
    of what the best photos of each label are worth, over "all", "common" and "rare" labels.
    """

    entry: Entry
    stream: Stream
    scale: Scale
    labels: Group
    paper: Mapping[str, float]
    retrieval: Metrics

    @property
    def protocol(self) -> str:
        """ZSL for unseen labels, GZSL for all, else seen."""
        return PROTOCOLS[self.labels]

    @property
    def standard(self) -> float:
        """The mean AP over the labels that some photo shows; NaN when there is none."""
        return self.retrieval["all"]["mAP"]

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON, its entry by name; NaN is None."""
        entry = {key: getattr(self.entry, key) for key in ("model", "prompt", "vectors")}
        about = {"stream": self.stream, "scale": self.scale, "labels": self.labels}
        parts = {name: _plain(values) for name, values in self.retrieval.items()}
        found = {"protocol": self.protocol, "paper": _plain(self.paper), "retrieval": parts}
        return {**entry, **about, **found, "standard": _or_none(self.standard)}


@dataclass(frozen=True)
class Histogram:
    """Fused scores of what is shown and what is not: (B + 1,) edges, (B,) shares of each."""

    edges: NDArray[np.float64]
    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """What the plots of an entry are drawn from, all on the cosine scale.

    `ap` and `positives` (L,) are of the fused score, seen labels first; `curves` has the mean
    precision at R levels of recall by (labels, stream), `histograms` the scores by labels.
    """

    entry: Entry
    ap: NDArray[np.float64]
    positives: NDArray[np.int64]
    curves: Mapping[tuple[Group, Stream], NDArray[np.float64]]
    histograms: Mapping[Group, Histogram]


@dataclass(frozen=True)
class Report:
    """An evaluation: the same photos and labels, several models.

    `dataset` names the photos, `fingerprint` is made of them, the labels and what is known;
    `unreadable` photos took no part. `rare` is the number of positives below which a label is rare;
    `made_at` when it began, in UTC.
    """

    dataset: str
    fingerprint: str
    photos: int
    unreadable: int
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    rules: Rules
    rare: float
    rows: tuple[Row, ...]
    made_at: datetime
    notes: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = field(default=(), repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, the seen ones first."""
        return (*self.seen, *self.unseen)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of labels that can be told apart here."""
        if not self.seen:
            return ("unseen",)
        return ("unseen", "all") if self.unseen else ("all",)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What was evaluated, in order."""
        return tuple(dict.fromkeys(row.entry for row in self.rows))

    def find(self, entry: Entry, stream: Stream, labels: Group, scale: Scale = "vocabulary") -> Row:
        """Return one row. Raises KeyError when there is none."""
        for row in self.rows:
            if (row.entry, row.stream, row.labels, row.scale) == (entry, stream, labels, scale):
                return row
        raise KeyError((entry.title, stream, labels, scale))

    def summary(self) -> str:
        """Return in one sentence what was evaluated on what."""
        parts = [f"{len(self.seen):,} seen and {len(self.unseen):,} unseen labels"]
        if self.unreadable:
            plural = "s" * (self.unreadable != 1)
            parts += [f"{self.unreadable:,} unreadable photo{plural} left out"]
        return f"{self.photos:,} photos of {self.dataset}, {', '.join(parts)}"

    def paper_table(self) -> Table:
        """Return the paper's figures: mAP and F1 of each stream, on the vocabulary scale."""
        names = {group: self._paper_names(group) for group in self.groups}
        heads = [f"{PROTOCOLS[group]} {name}" for group, some in names.items() for name in some]
        rows = [
            (entry.title, stream, *map(shown, self._paper_values(entry, stream, names)))
            for entry in self.entries
            for stream in STREAMS
        ]
        return Table(("model", "stream", *heads), tuple(rows), names=2)

    def retrieval_table(self, labels: Group) -> Table:
        """Return the photos' ranking of each label in standard measures, on both scales."""
        rows = [row for row in self.rows if row.labels == labels]
        deep = [name for name in rows[0].retrieval["all"] if "@" in name]
        heads = ("model", "labels", "scale", "stream", "mAP", "common", "rare", *deep)
        cells = [
            (
                row.entry.title,
                labels,
                row.scale,
                row.stream,
                *map(shown, _retrieval_cells(row, deep)),
            )
            for row in rows
        ]
        return Table(heads, tuple(cells), names=4)

    def legend(self) -> list[str]:
        """Return what the tables' words mean here, in sentences."""
        is_partly = any(map(self._is_partly, self.groups))
        zero = ", where `mAP shown` leaves it out" if is_partly else ""
        rule = "as set" if self.rules.rare_below else "the median of all labels"
        return [
            "ZSL ranks the unseen labels alone, GZSL seen and unseen ones together; each stream is"
            " divided by its norm over exactly these labels. Counted as in the paper"
            f" ({self.rules.name}): a label that no photo shows has AP 0{zero}.",
            "Retrieval: the photos of each label, best first; means over the labels that some photo"
            f" shows. A label with fewer than {self.rare:g} positives is rare ({rule}).",
        ]

    def markdown(self) -> str:
        """Return the report as Markdown: what was evaluated, the tables, what their words mean."""
        parts = [f"## Evaluation\n\n{self.summary()}.", self.paper_table().markdown()]
        for group in self.groups:
            parts += [f"### Retrieval, {group} labels", self.retrieval_table(group).markdown()]
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join([*parts, *self.legend(), *filter(None, [notes])]) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the plots as plain values for JSON; NaN is None.

        `rows` has every measure, `labels` the AP of each label's fused score in every entry, on the
        cosine scale.
        """
        about = ("dataset", "fingerprint", "photos", "unreadable")
        entries = [{**asdict(entry), "title": entry.title} for entry in self.entries]
        return {
            **{name: getattr(self, name) for name in about},
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "seen": list(self.seen),
            "unseen": list(self.unseen),
            "protocol": {**asdict(self.rules), "rare": self.rare},
            "notes": list(self.notes),
            "models": entries,
            "rows": [row.as_dict() for row in self.rows],
            "labels": list(self._by_label()),
        }

    def _paper_names(self, group: Group) -> list[str]:
        """The columns of a group; both means where some label is shown by no photo."""
        means = ["mAP", "mAP shown"] if self._is_partly(group) else ["mAP"]
        return means + [f"F1@{k}" for k in self.rules.f1_at]

    def _is_partly(self, group: Group) -> bool:
        counts = {"unseen": len(self.unseen), "seen": len(self.seen), "all": len(self.labels)}
        rows = (row for row in self.rows if row.labels == group)
        return any(row.retrieval["all"]["labels"] < counts[group] for row in rows)

    def _paper_values(
        self, entry: Entry, stream: Stream, names: Mapping[Group, Sequence[str]]
    ) -> Iterator[float]:
        for group, columns in names.items():
            row = self.find(entry, stream, group)
            yield from (row.standard if c == "mAP shown" else row.paper[c] for c in columns)

    def _by_label(self) -> Iterator[dict[str, Any]]:
        """Each label with its AP in every entry."""
        for column, label in enumerate(self.labels):
            is_seen = column < len(self.seen)
            positives = [int(figure.positives[column]) for figure in self.figures]
            aps = {f.entry.title: _or_none(float(f.ap[column])) for f in self.figures}
            yield {
                "label": label,
                "is_seen": is_seen,
                "positives": max(positives, default=0),
                "ap": aps,
            }


def _retrieval_cells(row: Row, deep: Sequence[str]) -> Iterator[float]:
    yield from (row.retrieval[part]["mAP"] for part in ("all", "common", "rare"))
    yield from (row.retrieval["all"][name] for name in deep)


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _or_none(value) for name, value in values.items()}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
