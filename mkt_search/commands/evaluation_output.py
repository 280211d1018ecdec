"""Show, write and keep an evaluation: what `mkt evaluate` does with a report."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkt_search.commands.open_library import library_folder
from mkt_search.display import count_noun, local_time, printable
from mkt_search.errors import EvaluationError
from mkt_search.settings import config
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.evaluation.report import Report
    from mkt_search.evaluation.tables import Table
    from mkt_search.settings.config import Config
    from mkt_search.store.records import Evaluation
    from mkt_search.store.store import Store

STDOUT = Path("-")
EARLIER = (
    Column("run", is_number=True),
    Column("when"),
    Column("dataset"),
    Column("model"),
    Column("photos", is_number=True),
    Column("ZSL mAP", is_number=True),
    Column("GZSL mAP", is_number=True),
)


@dataclass(frozen=True)
class Wanted:
    """Where the results shall go; None is nowhere."""

    json_file: Path | None
    markdown: Path | None
    html: Path | None
    plots: Path | None
    retrieval: bool


def check(wanted: Wanted) -> None:
    """Refuse what could not be written, before hours of work. Raises EvaluationError."""
    for file in (wanted.json_file, wanted.markdown, wanted.html):
        if file is not None and file != STDOUT and not file.absolute().parent.is_dir():
            raise EvaluationError(f"{file} cannot be written: there is no folder {file.parent}.")
    if wanted.plots is not None:
        from mkt_search.evaluation import plots

        plots.require()
        wanted.plots.mkdir(parents=True, exist_ok=True)


def write(report: "Report", wanted: Wanted) -> None:
    """Print the table, or JSON, and write the files."""
    say(printable(report.summary()))
    if wanted.json_file == STDOUT:
        show_json(report.as_dict())
    else:
        for table in _tables(report, wanted):
            _show(table)
    if sys.stdout.isatty() and wanted.json_file != STDOUT:
        say(report.legend()[wanted.retrieval])
    if wanted.json_file not in (None, STDOUT):
        text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        _write(wanted.json_file, text + "\n")
    if wanted.markdown is not None:
        _write(wanted.markdown, report.markdown())
    pictures = _draw(report, wanted)
    if wanted.html is not None:
        from mkt_search.evaluation import page as evaluation_page

        _write(wanted.html, evaluation_page.render(report, pictures))
    if wanted.plots is not None:
        for name, png in pictures.items():
            (wanted.plots / name).write_bytes(png)
        say(f"wrote {count_noun(len(pictures), 'plot')} to {printable(wanted.plots)}")


def _tables(report: "Report", wanted: Wanted) -> "list[Table]":
    if wanted.retrieval:
        return [report.retrieval_table(group) for group in report.groups]
    return [report.paper_table()]


def _show(table: "Table") -> None:
    columns = [Column(name, is_number=i >= table.names) for i, name in enumerate(table.columns)]
    show_table(columns, table.rows)


def _draw(report: "Report", wanted: Wanted) -> dict[str, bytes]:
    if wanted.html is None and wanted.plots is None:
        return {}
    from mkt_search.evaluation import plots

    try:
        return plots.draw_all(report)
    except EvaluationError as problem:  # of --plots, `check` has told before
        say(f"the page is without plots: {problem}")
        return {}


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", errors="backslashreplace")
    say(f"wrote {printable(file)}")


# The library


@contextmanager
def _store(place: Path, settings: "Config") -> "Iterator[Store]":
    from mkt_search.store.store import Store

    store = Store.open(place, url=settings.library.database or None)
    try:
        yield store
    finally:
        store.close()


def check_library(place: Path, settings: "Config") -> None:
    """Refuse a library that could not keep the results. Raises SchemaOutdated, StoreError."""
    with _store(place, settings):
        pass


def keep(report: "Report", place: Path, settings: "Config", asked: dict[str, Any]) -> int:
    """Store what each model reached in the library's database; return the run."""
    with _store(place, settings) as store:
        found = list(_evaluations(report, asked))
        return store.catalog.add_evaluations(found, started_at=report.made_at)


def _evaluations(report: "Report", asked: dict[str, Any]) -> "Iterator[Evaluation]":
    from mkt_search.store.records import Evaluation

    told = report.as_dict()
    models = {entry.model: entry.fingerprint for entry in report.entries}
    for model, fingerprint in models.items():
        rows = [row for row in told["rows"] if row["model"] == model]
        entries = [entry for entry in told["models"] if entry["model"] == model]
        kept = ("photos", "unreadable", "seen", "unseen", "protocol", "notes")
        yield Evaluation(
            model=model,
            fingerprint=fingerprint,
            dataset=report.dataset,
            dataset_fingerprint=report.fingerprint,
            protocol=report.rules.name,
            settings=asked,
            results={**{key: told[key] for key in kept}, "entries": entries, "rows": rows},
        )


def show_earlier(directory: Path | None, json_file: Path | None) -> None:
    """Print the evaluations that the library keeps, the newest first."""
    place = library_folder(directory)
    with _store(place, config.load(place)) as store:
        found = store.catalog.evaluations()
    if json_file is not None:
        _tell_json([_as_data(item) for item in found], json_file)
        return
    if not show_table(EARLIER, (row for item in found for row in _rows(item))):
        say("No evaluation yet. Run `mkt evaluate --photos DIR --labels FILE`.")


def _tell_json(value: Any, file: Path) -> None:
    if file == STDOUT:
        show_json(value)
        return
    _write(file, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _as_data(item: "Evaluation") -> dict[str, Any]:
    created = item.created_at.isoformat(timespec="seconds") if item.created_at else None
    return {**vars(item), "created_at": created}


def _rows(item: "Evaluation") -> Iterator[tuple[str, ...]]:
    """A line for each entry of a model: the mAP of its fused score as the paper counts."""
    from mkt_search.evaluation.tables import NOTHING, shown

    for entry in item.results["entries"]:
        maps = {
            row["protocol"]: row["paper"]["mAP"]
            for row in item.results["rows"]
            if (row["prompt"], row["vectors"]) == (entry["prompt"], entry["vectors"])
            and (row["stream"], row["scale"]) == ("fused", "vocabulary")
        }
        values = (maps.get(name) for name in ("ZSL", "GZSL"))
        yield (
            str(item.run),
            local_time(item.created_at) if item.created_at else "",
            item.dataset,
            entry["title"],
            f"{entry['photos']:,}",
            *(NOTHING if value is None else shown(value) for value in values),
        )
