"""Results of a benchmark: printed as Markdown while it runs, saved as JSON for the documents.

    results = Results(parser.parse_args().json)
    methods = results.table("methods", {"method": "", "p50 ms": ".1f", "recall": ".4f"})
    methods.row("exact scan", 67.71, 1.0)
    results.fact("photos", 5_000, ",")
    results.save()

A column is a name and the format of its numbers. `scripts/benchmark_tables` renders the tables and
facts in docs/ from the files in benchmarks/results/, so a document shows only figures that a
program has written. A command and its date are in the file, with the machine and the libraries.
"""

import argparse
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Cell = str | int | float | None
LIBRARIES = ("torch", "faiss-cpu", "faiss-gpu-cu12", "numpy", "sqlalchemy", "openTSNE")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
VECTOR_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # widest first
SAVED_DIGITS = 6  # significant digits of a float in the file


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json FILE` to the options of a benchmark."""
    help_text = "save the results; the documents read benchmarks/results/*.json"
    parser.add_argument("--json", type=Path, metavar="FILE", help=help_text)


@dataclass
class Table:
    """A named table; `columns` maps each heading to the format of its numbers."""

    name: str
    columns: dict[str, str]
    rows: list[tuple[Cell, ...]] = field(default_factory=list)

    def row(self, *cells: Cell) -> None:
        """Print and keep one row; None leaves a cell empty, a string is shown as it is.

        Raises:
            ValueError: The number of cells is not the number of columns.
        """
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells, {len(self.columns)} columns in {self.name!r}")
        self.rows.append(cells)
        print(table_line(cells, list(self.columns.values())), flush=True)


@dataclass
class Results:
    """The tables and single figures of one run; `path` None prints them without saving."""

    path: Path | None = None
    tables: list[Table] = field(default_factory=list)
    facts: dict[str, tuple[Cell, str]] = field(default_factory=dict)

    def table(self, name: str, columns: Mapping[str, str]) -> Table:
        """Begin a table: print its name and its heading."""
        table = Table(name, dict(columns))
        self.tables.append(table)
        print(f"\n{name}\n\n{table_head(list(columns))}", flush=True)
        return table

    def fact(self, name: str, value: Cell, format_spec: str = "") -> None:
        """Print and keep a single figure."""
        self.facts[name] = value, format_spec
        print(f"{name}: {as_text(value, format_spec)}", flush=True)

    def save(self) -> None:
        """Write the results as JSON if a path was given."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
            self.path.write_text(text + "\n", encoding="utf-8")

    def as_dict(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        return {
            "command": command(sys.argv, self.path),
            "date": date.today().isoformat(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "libraries": installed(LIBRARIES),
            "facts": {name: [rounded(value), spec] for name, (value, spec) in self.facts.items()},
            "tables": {
                table.name: {
                    "columns": table.columns,
                    "rows": [[rounded(cell) for cell in row] for row in table.rows],
                }
                for table in self.tables
            },
        }


def met(is_met: bool) -> str:
    """Return the cell that says whether an aim was reached."""
    return "met" if is_met else "**missed**"


def table_head(headings: Sequence[str]) -> str:
    """Return the first two lines of a Markdown table: the first column left, the others right."""
    rule = "|".join(["---", *["--:"] * (len(headings) - 1)])
    return f"| {' | '.join(headings)} |\n|{rule}|"


def table_line(cells: Sequence[Cell], formats: Sequence[str]) -> str:
    """Return one row of a Markdown table."""
    shown = (as_text(cell, spec) for cell, spec in zip(cells, formats, strict=True))
    return f"| {' | '.join(shown)} |"


def as_text(cell: Cell, format_spec: str) -> str:
    """Return a cell as the documents show it."""
    if cell is None or isinstance(cell, str):
        return cell or ""
    return format(cell, format_spec)


def rounded(cell: Cell) -> Cell:
    """Return a cell as it is saved; a float that is no number becomes None."""
    if not isinstance(cell, float):  # NumPy's float64 is one, its float32 is not JSON
        return cell
    return float(f"{cell:.{SAVED_DIGITS}g}") if math.isfinite(cell) else None


def command(argv: Sequence[str], json_file: Path | None) -> str:
    """Return the command line without `--json FILE`, with variables that set threads before it."""
    words = list(argv[1:])
    for option in ([f"--json={json_file}"], ["--json", str(json_file)]):
        for start in range(len(words) - len(option) + 1):
            if words[start : start + len(option)] == option:
                del words[start : start + len(option)]
                break
    variables = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    return shlex.join([*variables, "python", f"benchmarks/{Path(argv[0]).name}", *words])


def installed(names: Sequence[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def processor() -> str:
    """Return the processor's name and the widest vector instructions that it has."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    lines = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    widest = next((flag for flag in VECTOR_INSTRUCTIONS if f" {flag}" in text), "")
    return f"{lines[0] if lines else platform.machine()}{f' ({widest})' if widest else ''}"
