"""What a benchmark measured: printed as Markdown while it runs, saved as JSON for the documents.

    results = Results.start(parser.parse_args().json)
    ways = results.table("ways", "way", "p50 ms", "recall")
    ways.row("exact scan", 67.7, 1.0)
    results.save()

`scripts/benchmark_tables` renders the tables of docs/benchmarks.md from the files in
benchmarks/results/, so that a document never shows a figure that no program wrote.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
LIBRARIES = ("torch", "faiss-cpu", "numpy", "sqlalchemy")
Cell = str | int | float


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add `--json FILE` to the options of a benchmark."""
    parser.add_argument("--json", type=Path, help="save the tables; benchmarks/results/NAME.json")


@dataclass
class Table:
    """A named table; `row` prints a line and keeps it."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def row(self, *cells: Cell) -> None:
        """Print and keep one row; floats are shown with four significant digits."""
        if len(cells) != len(self.columns):
            raise ValueError(
                f"{len(cells)} cells for the {len(self.columns)} columns of {self.name}"
            )
        self.rows.append(tuple(map(shown, cells)))
        print(line(self.rows[-1]), flush=True)


@dataclass
class Results:
    """The tables and facts of one run, with the command and the machine that gave them."""

    path: Path | None
    tables: list[Table] = field(default_factory=list)
    facts: dict[str, Cell] = field(default_factory=dict)

    @classmethod
    def start(cls, path: Path | None) -> "Results":
        """Begin a run whose results are saved at `path`; None only prints them."""
        return cls(path)

    def table(self, name: str, *columns: str) -> Table:
        """Begin a table and print its heading."""
        table = Table(name, columns)
        self.tables.append(table)
        print(f"\n{line(columns)}\n{rule(len(columns))}", flush=True)
        return table

    def fact(self, name: str, value: Cell, sentence: str = "") -> None:
        """Keep a single figure; print a sentence that contains it."""
        self.facts[name] = value
        print(sentence or f"{name}: {shown(value)}", flush=True)

    def save(self) -> None:
        """Write everything as JSON if a file was asked for."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n")

    def as_dict(self) -> dict[str, Any]:
        """Return command, machine, tables and facts as JSON has them."""
        program = Path(sys.argv[0]).name
        # the file given with --json is no part of what was measured
        words = [word for word in sys.argv[1:] if self.path is None or word != str(self.path)]
        return {
            "command": shlex.join(["python", f"benchmarks/{program}", *words]).replace(
                " --json", ""
            ),
            "date": date.today().isoformat(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
            "facts": self.facts,
            "tables": {table.name: [table.columns, *table.rows] for table in self.tables},
        }


def shown(cell: Cell) -> str:
    """Return a cell as text: whole numbers with commas, others with four significant digits."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{round(cell):,}"
    return f"{cell:.4g}"


def line(cells: tuple[str, ...]) -> str:
    """Return one line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def rule(columns: int) -> str:
    """Return the line below a heading: the first column left, the others right."""
    return "|---|" + "--:|" * (columns - 1)


def processor() -> str:
    """Return the processor's name and the widest vector instructions that it offers."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    name = next((x.split(":")[1].strip() for x in text.splitlines() if "model name" in x), "")
    offered = [
        flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f" {flag}" in text
    ]
    return f"{name} ({offered[0] if offered else platform.machine()})"
