"""Keep evaluations in a library's database."""

from collections.abc import Iterator
from dataclasses import dataclass

from mkt_search.evaluation.report import Report
from mkt_search.store.records import Evaluation


@dataclass(frozen=True)
class EntrySummary:
    """The title of an entry, its photos, and the paper's mAP of its fused score.

    `zsl` and `gzsl` are None where the evaluation had no such labels.
    """

    title: str
    photos: int
    zsl: float | None
    gzsl: float | None


def evaluations_of(report: Report) -> list[Evaluation]:
    """Return what the database keeps of a report, an item for each model."""
    everything = report.as_dict()
    shared = ("photos", "unreadable", "seen", "unseen", "protocol", "notes")
    fingerprints = {entry.model: entry.fingerprint for entry in report.entries}
    return [
        Evaluation(
            model=model,
            fingerprint=fingerprint,
            dataset=report.dataset,
            dataset_fingerprint=report.fingerprint,
            protocol=report.rules.name,
            settings=dict(report.settings),
            results={key: everything[key] for key in shared}
            | {
                "entries": [item for item in everything["models"] if item["model"] == model],
                "rows": [row for row in everything["rows"] if row["model"] == model],
            },
        )
        for model, fingerprint in fingerprints.items()
    ]


def summaries(evaluation: Evaluation) -> Iterator[EntrySummary]:
    """Yield a summary of each entry of a kept evaluation."""
    for entry in evaluation.results["entries"]:
        maps = {
            row["protocol"]: row["paper"]["mAP"]
            for row in evaluation.results["rows"]
            if (row["prompt"], row["vectors"]) == (entry["prompt"], entry["vectors"])
            and (row["stream"], row["scale"]) == ("fused", "vocabulary")
        }
        yield EntrySummary(entry["title"], entry["photos"], maps.get("ZSL"), maps.get("GZSL"))
