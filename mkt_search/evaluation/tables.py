"""A table of metrics, and its Markdown; the best number of each column is bold."""

import math
from dataclasses import dataclass

NO_VALUE = "–"  # shown for NaN


def as_cell(value: float) -> str:
    """Return a metric in [0, 1] with four decimals."""
    return NO_VALUE if math.isnan(value) else f"{value:.4f}"


@dataclass(frozen=True)
class Table:
    """Headings and cells; the first `text_columns` are text, the others numbers.

    `has_best`: the highest number of a column is the best, which is not so of errors and counts.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int
    has_best: bool = True

    def best(self) -> set[tuple[int, int]]:
        """Return (row, column) of the highest number of each column whose numbers differ."""
        found: set[tuple[int, int]] = set()
        if not self.has_best:
            return found
        for column in range(self.text_columns, len(self.columns)):
            values = {i: float(r[column]) for i, r in enumerate(self.rows) if r[column] != NO_VALUE}
            if len(set(values.values())) > 1:
                most = max(values.values())
                found |= {(i, column) for i, value in values.items() if value == most}
        return found

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        best = self.best()
        lines = [
            "| " + " | ".join(self.columns) + " |",
            "|" + "---|" * self.text_columns + "--:|" * (len(self.columns) - self.text_columns),
        ]
        for i, row in enumerate(self.rows):
            cells = [
                f"**{cell}**" if (i, j) in best else cell.replace("|", "\\|")
                for j, cell in enumerate(row)
            ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)
