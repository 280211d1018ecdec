"""A table of measures, as Markdown and as HTML; the best of each column stands out."""

import html
import math
from dataclasses import dataclass

NOTHING = "–"  # in the place of a measure that there is none of


def shown(value: float) -> str:
    """Return a measure on [0, 1] as tables show it."""
    return NOTHING if math.isnan(value) else f"{value:.4f}"


@dataclass(frozen=True)
class Table:
    """Headings and cells; the first `names` columns are words, the others numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int

    def best(self) -> set[tuple[int, int]]:
        """Return (row, column) of the highest number of each column where numbers differ."""
        found: set[tuple[int, int]] = set()
        for column in range(self.names, len(self.columns)):
            values = {i: float(r[column]) for i, r in enumerate(self.rows) if r[column] != NOTHING}
            if len(set(values.values())) > 1:
                most = max(values.values())
                found |= {(i, column) for i, value in values.items() if value == most}
        return found

    def markdown(self) -> str:
        """Return the table as GitHub's Markdown has it."""
        best = self.best()
        lines = [
            "| " + " | ".join(self.columns) + " |",
            "|" + "---|" * self.names + "--:|" * (len(self.columns) - self.names),
        ]
        for i, row in enumerate(self.rows):
            cells = [
                f"**{cell}**" if (i, j) in best else cell.replace("|", "\\|")
                for j, cell in enumerate(row)
            ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def html(self) -> str:
        """Return the table as an HTML fragment; numbers are cells of the class `number`."""
        best = self.best()
        head = "".join(
            f"<th{self._side(j)}>{html.escape(name)}</th>" for j, name in enumerate(self.columns)
        )
        rows = "\n".join(
            "<tr>" + "".join(self._cell(i, j, (i, j) in best) for j in range(len(row))) + "</tr>"
            for i, row in enumerate(self.rows)
        )
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"

    def _side(self, column: int) -> str:
        return "" if column < self.names else ' class="number"'

    def _cell(self, row: int, column: int, is_best: bool) -> str:
        text = html.escape(self.rows[row][column])
        return f"<td{self._side(column)}>{f'<b>{text}</b>' if is_best else text}</td>"
