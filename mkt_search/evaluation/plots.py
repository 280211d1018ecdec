"""Plots of an evaluation as PNG: precision over recall, AP of each label, how scores are spread.

Needs matplotlib, which is imported when a plot is drawn. All are on the cosine scale, as a
library scores: the vocabulary scale changes with the set of labels.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mkt_search.errors import EvaluationError
from mkt_search.evaluation.protocol import Group, Stream
from mkt_search.evaluation.report import Figure, Histogram, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

COLOURS = ("#3a6ea5", "#c1571a", "#2f8f6b", "#8f4fa8", "#b8860b", "#c04a6b", "#557a2c", "#5f5e59")
SEEN, UNSEEN, FAINT = "#9db4cc", "#c1571a", "#5f5e59"
STYLES: dict[Stream, Any] = {"fused": "solid", "global": "dashed", "local": (0, (1, 1.2))}
MOST_BARS = 40  # of labels in one plot; of more, the best and the worst
MOST_IN_FULL = 1  # entries whose three streams are all drawn
NAME = 28  # characters of a label, or of a title in a narrow place
DPI = 130


def draw_all(report: Report) -> dict[str, bytes]:
    """Return every plot as PNG bytes, by file name.

    Raises:
        EvaluationError: matplotlib is not installed.
    """
    found = {"precision-recall.png": precision_recall(report), "scores.png": scores(report)}
    for number, figure in enumerate(report.figures, start=1):
        slug = re.sub(r"[^A-Za-z0-9]+", "-", figure.entry.title).strip("-")[-NAME:] or "model"
        found[f"labels-{number}-{slug}.png"] = label_precision(report, figure)
    return found


def require() -> None:
    """Raise EvaluationError, with the way out, where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise EvaluationError(
            "plots need matplotlib, which is not installed. Run `pip install 'mkt-search[plots]'`,"
            " or leave out --plots."
        ) from None


def precision_recall(report: Report) -> bytes:
    """Return the mean precision at each level of recall, a panel for each group of labels."""

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(1, len(report.groups), sharey=True, squeeze=False)[0]
        for panel, group in zip(panels, report.groups, strict=True):
            panel.grid(color=FAINT, alpha=0.15)
            _draw_curves(panel, report, group)
            panel.set(xlabel="recall", title=_words(report, group), xlim=(0, 1), ylim=(0, 1.02))
        panels[0].set_ylabel("precision, mean over labels")

    return _png(draw, width=5.2 * len(report.groups), height=4.2 + 0.2 * len(report.figures))


def label_precision(report: Report, figure: Figure) -> bytes:
    """Return the AP of each label as bars with the number of its positives, best first."""
    shown = np.flatnonzero(~np.isnan(figure.ap))
    order = shown[np.argsort(-figure.ap[shown], kind="stable")]
    is_cut = len(order) > MOST_BARS
    half = MOST_BARS // 2
    kept = np.concatenate([order[:half], order[-half:]]) if is_cut else order

    def draw(canvas: "Canvas") -> None:
        panel = canvas.subplots()
        places = np.arange(len(kept)) + (np.arange(len(kept)) >= half) * 1.5 * is_cut
        _draw_bars(panel, report, figure, kept, places)
        if is_cut:
            rest = f"{len(order) - len(kept):,} labels between"
            panel.text(
                0.5, half + 0.25, rest, ha="center", va="center", color=FAINT, style="italic"
            )

    return _png(draw, width=7.5, height=1.9 + 0.21 * (len(kept) + 1.5 * is_cut))


def scores(report: Report) -> bytes:
    """Return how the fused scores of what photos show, and of what they do not, are spread."""
    rows, columns = len(report.figures), len(report.groups)

    def draw(canvas: "Canvas") -> None:
        panels = canvas.subplots(rows, columns, squeeze=False)
        for line, figure in zip(panels, report.figures, strict=True):
            for panel, group in zip(line, report.groups, strict=True):
                _draw_histogram(panel, figure.histograms[group])
                panel.set_title(f"{_short(figure.entry.title)}: {_words(report, group)}", size=9)
        for panel in panels[-1]:
            panel.set_xlabel("fused score (cosine)")
        handles, names = panels[0][0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)

    return _png(draw, width=5.2 * columns, height=0.9 + 1.9 * rows)


def _draw_curves(panel: "Axes", report: Report, group: Group) -> None:
    streams: list[Stream] = ["fused"]
    if len(report.figures) <= MOST_IN_FULL:
        streams += ["global", "local"]
    for number, figure in enumerate(report.figures):
        for stream in streams:
            row = report.find(figure.entry, stream, group, "cosine")
            curve = figure.curves[group, stream]
            panel.plot(
                np.linspace(0, 1, len(curve)),
                curve,
                color=COLOURS[number % len(COLOURS)],
                linestyle=STYLES[stream],
                linewidth=2.0 if stream == "fused" else 1.3,
                label=f"{_short(figure.entry.title, 40)}, {stream}: mAP {row.standard:.3f}",
            )
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8, frameon=False)


def _draw_bars(
    panel: "Axes", report: Report, figure: Figure, kept: np.ndarray[Any, Any], places: Any
) -> None:
    is_seen = kept < len(report.seen)
    for name, chosen, colour in (("unseen", ~is_seen, UNSEEN), ("seen", is_seen, SEEN)):
        if chosen.any():
            panel.barh(
                places[chosen], figure.ap[kept[chosen]], color=colour, height=0.72, label=name
            )
    for place, column in zip(places, kept, strict=True):
        count = f"{figure.positives[column]:,}"
        panel.text(figure.ap[column] + 0.01, place, count, va="center", size=7, color=FAINT)
    panel.grid(axis="x", color=FAINT, alpha=0.15)
    panel.set_axisbelow(True)
    names = [_short(report.labels[column]) for column in kept]
    panel.set_yticks(places, names, size=8)
    panel.set(
        xlim=(0, 1.08),
        xlabel="AP of the fused score; beside each bar, how many photos show the label",
    )
    panel.set_ylim(float(places[-1]) + 0.8 if len(places) else 1, -0.8)
    panel.set_title(f"{_short(figure.entry.title, 60)}: AP of each label", loc="left")
    panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8)


def _draw_histogram(panel: "Axes", found: Histogram) -> None:
    spread = (("not shown", found.negatives, SEEN), ("shown", found.positives, UNSEEN))
    for name, shares, colour in spread:
        panel.stairs(shares, found.edges, fill=True, color=colour, alpha=0.55, label=name)
        panel.stairs(shares, found.edges, color=colour, linewidth=1.2)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)


def _png(draw: "Callable[[Canvas], None]", *, width: float, height: float) -> bytes:
    """Draw on a canvas of so many inches and return it as PNG, on any machine, with any labels."""
    require()
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    style: dict[Any, Any] = {
        "text.parse_math": False,  # a label may hold dollar signs
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.edgecolor": FAINT,
    }
    target = io.BytesIO()
    with rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label may hold letters that the font has not
        canvas = Canvas(figsize=(width, height), layout="constrained")
        draw(canvas)
        canvas.savefig(target, format="png", dpi=DPI)
    return target.getvalue()


def _words(report: Report, group: Group) -> str:
    counts = {"unseen": len(report.unseen), "seen": len(report.seen), "all": len(report.labels)}
    return f"{counts[group]:,} {'' if group == 'all' else group + ' '}labels"


def _short(text: str, most: int = NAME) -> str:
    """A name that fits; of a long one the end, where paths differ."""
    return text if len(text) <= most else "…" + text[1 - most :]
