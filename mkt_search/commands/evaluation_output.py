"""The output of `mkt evaluate`: tables, JSON, Markdown, a page, plots, and the list of runs."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mkt_search.display import count_noun, local_time, printable
from mkt_search.errors import EvaluationError
from mkt_search.terminal.options import option
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.evaluation.calibration_report import CalibrationReport
    from mkt_search.evaluation.report import Report
    from mkt_search.evaluation.tables import Table
    from mkt_search.store.records import Evaluation

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

STDOUT = Path("-")
LIST_COLUMNS = (
    Column("run", is_number=True),
    Column("when"),
    Column("dataset"),
    Column("model"),
    Column("photos", is_number=True),
    Column("ZSL mAP", is_number=True),
    Column("GZSL mAP", is_number=True),
)
FILE = click.Path(path_type=Path, dir_okay=False)

_option = partial(option, section="Output")
_OPTIONS = (
    _option("--retrieval", is_flag=True, help="Print the ranking metrics of labels instead."),
    _option(
        "--json",
        "json_file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        help="Write everything as JSON; - writes to stdout instead of the table.",
    ),
    _option("--markdown", metavar="FILE", type=FILE, help="Write the tables as Markdown."),
    _option("--html", metavar="FILE", type=FILE, help="Write one page with tables and plots."),
    _option(
        "--plots",
        metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="Write precision-recall curves, AP of each label and score histograms as PNG; with "
        "--calibration, reliability diagrams.",
    ),
)


def output_options(command: Decorated) -> Decorated:
    """Add the options that say where the results go."""
    for add in reversed(_OPTIONS):
        command = add(command)
    return command


@dataclass(frozen=True)
class Output:
    """Where the results go; None is nowhere. `retrieval` selects the table to print."""

    retrieval: bool
    json_file: Path | None
    markdown: Path | None
    html: Path | None
    plots: Path | None

    @classmethod
    def take(cls, given: dict[str, Any]) -> "Output":
        """Take the values of `output_options` out of a command's keywords."""
        return cls(**{item.name: given.pop(item.name) for item in fields(cls)})

    def check(self) -> None:
        """Check that the files can be written, before hours of work.

        Raises:
            EvaluationError: a folder is missing, or matplotlib is.
        """
        for file in (self.json_file, self.markdown, self.html):
            if file is not None and file != STDOUT and not file.absolute().parent.is_dir():
                raise EvaluationError(f"cannot write {file}: there is no folder {file.parent}.")
        if self.plots is not None:
            from mkt_search.evaluation import plots

            plots.require_matplotlib()
            self.plots.mkdir(parents=True, exist_ok=True)

    def write(self, report: "Report") -> None:
        """Print the table or JSON, and write the files."""
        from mkt_search.evaluation import plots

        first, *rest = report.tables().values()
        tables = rest if self.retrieval else [first]
        legend = [report.legend()[self.retrieval]]
        self._write(report, tables, legend, lambda: plots.draw_all(report))

    def write_calibration(self, report: "CalibrationReport") -> None:
        """Print the tables of probabilities or JSON, and write the files."""
        from mkt_search.evaluation import plots

        tables = list(report.tables().values())
        self._write(report, tables, report.legend(), lambda: plots.draw_calibration(report))

    def _write(
        self,
        report: "Report | CalibrationReport",
        tables: "Sequence[Table]",
        legend: Sequence[str],
        draw: Callable[[], dict[str, bytes]],
    ) -> None:
        say(printable(report.summary()))
        if self.json_file != STDOUT:
            for table in tables:
                _show_table(table)
            if sys.stdout.isatty():
                for sentence in legend:
                    say(sentence)
        if self.json_file is not None:
            write_json(report.as_dict(), self.json_file)
        if self.markdown is not None:
            _write(self.markdown, report.markdown())
        pictures = self._draw(draw)
        if self.html is not None:
            from mkt_search.evaluation import page

            _write(self.html, page.render(report, pictures))
        if self.plots is not None:
            for name, png in pictures.items():
                (self.plots / name).write_bytes(png)
            say(f"wrote {count_noun(len(pictures), 'plot')} to {printable(self.plots)}")

    def _draw(self, draw: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
        if self.html is None and self.plots is None:
            return {}
        try:
            return draw()
        except EvaluationError as problem:  # no matplotlib, which only --plots requires
            say(f"the page has no plots: {problem}")
            return {}


def write_json(value: Any, file: Path) -> None:
    """Write JSON to a file; - is stdout."""
    if file == STDOUT:
        show_json(value)
    else:
        _write(file, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_evaluations(found: "Sequence[Evaluation]", json_file: Path | None) -> None:
    """Print the evaluations that a library keeps, or write them as JSON."""
    if json_file is not None:
        write_json([_as_data(evaluation) for evaluation in found], json_file)
    elif not show_table(LIST_COLUMNS, (row for evaluation in found for row in _rows(evaluation))):
        say("No evaluation yet. Run `mkt evaluate --photos DIR --labels FILE`.")


def _show_table(table: "Table") -> None:
    names = enumerate(table.columns)
    columns = [Column(name, is_number=i >= table.text_columns) for i, name in names]
    show_table(columns, table.rows, keeps_headings=True)


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", errors="backslashreplace")
    say(f"wrote {printable(file)}")


def _as_data(evaluation: "Evaluation") -> dict[str, Any]:
    created = evaluation.created_at
    return {
        **vars(evaluation),
        "created_at": created.isoformat(timespec="seconds") if created else None,
    }


def _rows(evaluation: "Evaluation") -> Iterator[tuple[str, ...]]:
    """Yield a row for each entry of a model, with the paper's mAP of its fused score."""
    from mkt_search.evaluation.record import summaries
    from mkt_search.evaluation.tables import NO_VALUE, as_cell

    created = evaluation.created_at
    for entry in summaries(evaluation):
        yield (
            str(evaluation.run),
            local_time(created) if created else "",
            evaluation.dataset,
            entry.title,
            f"{entry.photos:,}",
            *(NO_VALUE if value is None else as_cell(value) for value in (entry.zsl, entry.gzsl)),
        )
