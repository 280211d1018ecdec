"""The result of an evaluation, as rows, tables, Markdown and JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.display import count_noun
from mkt_search.evaluation.protocol import PROTOCOLS, STREAMS, Group, Rules, Scale, Stream
from mkt_search.evaluation.tables import Table, as_cell

Prompt = Literal["learned", "templates", "template", "table"]
Vectors = Literal["patches", "stored"]
Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Entry:
    """What was scored: a model, the prompt of its labels, and the vectors of the photos.

    `vectors` says whether the photos were encoded with every patch, or read from a library.
    `photos` is the number of readable photos. `has_several_prompts`: another entry differs only in
    its prompt.
    """

    model: str
    fingerprint: str
    prompt: Prompt = "template"
    vectors: Vectors = "patches"
    photos: int = 0
    has_several_prompts: bool = False

    @property
    def title(self) -> str:
        """The model's name, with what distinguishes this entry from others of the model."""
        is_plain = self.has_several_prompts and self.prompt == "template"
        prompt = ", plain template" if is_plain else ""
        return self.model + prompt + (", stored" if self.vectors == "stored" else "")


@dataclass(frozen=True)
class Row:
    """The metrics of one stream of an entry on one group of labels, on one scale.

    `paper` has mAP, and P@k, R@k and F1@k of the k best labels of each photo; `retrieval` has the
    means of the labels' ranking metrics, over "all", "common" and "rare" labels.
    """

    entry: Entry
    stream: Stream
    scale: Scale
    labels: Group
    paper: Mapping[str, float]
    retrieval: Metrics

    @property
    def protocol(self) -> str:
        """ZSL for unseen labels, GZSL for all labels, else seen."""
        return PROTOCOLS[self.labels]

    @property
    def standard(self) -> float:
        """The mean AP over the labels that some photo shows; NaN if there are none."""
        return self.retrieval["all"]["mAP"]

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON, its entry by name; NaN becomes None."""
        entry = {key: getattr(self.entry, key) for key in ("model", "prompt", "vectors")}
        about = {"stream": self.stream, "scale": self.scale, "labels": self.labels}
        parts = {name: _without_nan(values) for name, values in self.retrieval.items()}
        metrics = {"paper": _without_nan(self.paper), "retrieval": parts}
        standard = _none_if_nan(self.standard)
        return {**entry, **about, "protocol": self.protocol, **metrics, "standard": standard}


@dataclass(frozen=True)
class Histogram:
    """Distributions of scores: (B + 1,) edges, and (B,) shares of positives and negatives."""

    edges: NDArray[np.float64]
    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]


@dataclass(frozen=True)
class PlotData:
    """The data of an entry's plots, on the vocabulary scale, as the paper's table.

    `ap` and `positives` (L,) are those of the fused score, seen labels first; `curves` has the mean
    precision at R recall levels by (group, stream), `histograms` the scores likewise.
    """

    entry: Entry
    ap: NDArray[np.float64]
    positives: NDArray[np.int64]
    curves: Mapping[tuple[Group, Stream], NDArray[np.float64]]
    histograms: Mapping[tuple[Group, Stream], Histogram]


@dataclass(frozen=True)
class Report:
    """An evaluation of several models on the same photos and labels.

    `dataset` names the photos; `fingerprint` identifies them with their labels and targets.
    `unreadable` counts the photos left out, `rare` is the number of positives below which a label
    is rare, and `made_at` is the start in UTC. `notes` are remarks about what was left out,
    `settings` those that the evaluation was made with.
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
    never_named: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    plot_data: tuple[PlotData, ...] = field(default=(), repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels: seen, unseen, never named."""
        return (*self.seen, *self.unseen, *self.never_named)

    def count(self, group: Group) -> int:
        """Return the number of labels of a group."""
        named = len(self.seen) + len(self.unseen)
        counts = {"seen": len(self.seen), "unseen": len(self.unseen), "all": named}
        return counts.get(group, len(self.never_named))

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of labels that differ; without unseen or seen labels, `all` is not one."""
        has_any: dict[Group, bool] = {
            "unseen": bool(self.unseen),
            "all": bool(self.seen),
            "never named": bool(self.never_named),
        }
        return tuple(group for group, is_there in has_any.items() if is_there)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries, in order."""
        return tuple(dict.fromkeys(row.entry for row in self.rows))

    def find(self, entry: Entry, stream: Stream, labels: Group, scale: Scale = "vocabulary") -> Row:
        """Return one row.

        Raises:
            KeyError: there is no such row.
        """
        for row in self.rows:
            if (row.entry, row.stream, row.labels, row.scale) == (entry, stream, labels, scale):
                return row
        raise KeyError((entry.title, stream, labels, scale))

    def summary(self) -> str:
        """Return a sentence about the photos and labels."""
        parts = [f"{len(self.seen):,} seen and {len(self.unseen):,} unseen labels"]
        if self.never_named:
            parts.append(f"{len(self.never_named):,} that no training named")
        if self.unreadable:
            parts.append(f"{count_noun(self.unreadable, 'unreadable photo')} left out")
        return f"{count_noun(self.photos, 'photo')} of {self.dataset}, {', '.join(parts)}"

    def paper_table(self) -> Table:
        """Return the paper's figures: mAP and F1 of each stream, on the vocabulary scale."""
        names = {group: self._paper_columns(group) for group in self.groups}
        columns = [f"{PROTOCOLS[group]} {name}" for group in names for name in names[group]]
        rows = [
            (entry.title, stream, *map(as_cell, self._paper_values(entry, stream, names)))
            for entry in self.entries
            for stream in STREAMS
        ]
        return Table(("model", "stream", *columns), tuple(rows), text_columns=2)

    def retrieval_table(self, labels: Group) -> Table:
        """Return the standard metrics of the ranking of a group's labels, on both scales."""
        rows = [row for row in self.rows if row.labels == labels]
        at_k = [name for name in rows[0].retrieval["all"] if "@" in name]
        columns = ("model", "labels", "scale", "stream", "mAP", "common", "rare", *at_k)
        cells = [
            (
                row.entry.title,
                labels,
                row.scale,
                row.stream,
                *map(as_cell, _retrieval_values(row, at_k)),
            )
            for row in rows
        ]
        return Table(columns, tuple(cells), text_columns=4)

    def tables(self) -> dict[str, Table]:
        """Return the tables by heading, that of the paper first."""
        retrieval = {
            f"Retrieval, {group} labels": self.retrieval_table(group) for group in self.groups
        }
        return {"The paper's protocol": self.paper_table(), **retrieval}

    def legend(self) -> list[str]:
        """Return what the columns mean: a sentence about each of the two tables."""
        is_partial = any(map(self._has_labels_without_photos, self.groups))
        zero = " in `mAP` and is left out of `mAP shown`" if is_partial else ""
        rule = "as set" if self.rules.rare_below else "the median of all labels"
        return [
            "ZSL ranks the unseen labels only, GZSL seen and unseen labels together; each stream is"
            " divided by its norm over exactly these labels (the vocabulary scale, also of all"
            " plots). Counted as in the paper"
            f" ({self.rules.name}): a label that no photo shows has AP 0{zero}.",
            "Retrieval ranks the photos of each label; means are over the labels that some photo"
            f" shows. A label with fewer than {self.rare:g} positives is rare ({rule}).",
        ]

    def markdown(self) -> str:
        """Return the report as Markdown: the summary, the tables, their legend and the notes."""
        parts = [f"## Evaluation\n\n{self.summary()}."]
        for number, (heading, table) in enumerate(self.tables().items()):
            parts += [f"### {heading}"] if number else []
            parts.append(table.markdown())
        notes = "\n".join(f"- {note}" for note in self.notes)
        return "\n\n".join([*parts, *self.legend(), *filter(None, [notes])]) + "\n"

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the plots as plain values for JSON; NaN becomes None.

        `rows` has every metric; `labels` has the AP of each label's fused score in every entry, on
        the vocabulary scale over seen and unseen labels, or over those never named.
        """
        about = ("dataset", "fingerprint", "photos", "unreadable")
        entries = [_entry_as_dict(entry) for entry in self.entries]
        return {
            **{name: getattr(self, name) for name in about},
            "made_at": self.made_at.isoformat(timespec="seconds"),
            "seen": list(self.seen),
            "unseen": list(self.unseen),
            "never_named": list(self.never_named),
            "protocol": {**asdict(self.rules), "rare": self.rare},
            "notes": list(self.notes),
            "models": entries,
            "rows": [row.as_dict() for row in self.rows],
            "labels": list(self._labels_as_dicts()),
        }

    def _paper_columns(self, group: Group) -> list[str]:
        """Return the columns of a group; both means if some label is shown by no photo."""
        means = ["mAP", "mAP shown"] if self._has_labels_without_photos(group) else ["mAP"]
        return means + [f"F1@{k}" for k in self.rules.f1_at if group != "never named"]

    def _has_labels_without_photos(self, group: Group) -> bool:
        rows = (row for row in self.rows if row.labels == group)
        return any(row.retrieval["all"]["labels"] < self.count(group) for row in rows)

    def _paper_values(
        self, entry: Entry, stream: Stream, names: Mapping[Group, Sequence[str]]
    ) -> Iterator[float]:
        for group, columns in names.items():
            row = self.find(entry, stream, group)
            yield from (row.standard if c == "mAP shown" else row.paper[c] for c in columns)

    def _labels_as_dicts(self) -> Iterator[dict[str, Any]]:
        for column, label in enumerate(self.labels):
            positives = [int(data.positives[column]) for data in self.plot_data]
            ap = {d.entry.title: _none_if_nan(float(d.ap[column])) for d in self.plot_data}
            yield {
                "label": label,
                "is_seen": column < len(self.seen),
                "is_named": column < len(self.seen) + len(self.unseen),
                "positives": max(positives, default=0),
                "ap": ap,
            }


def _entry_as_dict(entry: Entry) -> dict[str, Any]:
    names = ("model", "fingerprint", "prompt", "vectors", "photos", "title")
    return {name: getattr(entry, name) for name in names}


def _retrieval_values(row: Row, at_k: Sequence[str]) -> Iterator[float]:
    yield from (row.retrieval[part]["mAP"] for part in ("all", "common", "rare"))
    yield from (row.retrieval["all"][name] for name in at_k)


def _without_nan(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _none_if_nan(value) for name, value in values.items()}


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
