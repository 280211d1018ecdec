"""Plots of an evaluation as PNG: precision-recall curves, AP of each label, score histograms.

Needs matplotlib, which is imported when a plot is drawn. All plots of scores are on the vocabulary
scale, as the paper's table of the same page; reliability diagrams are of probabilities.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mkt_search.calibration.baselines import CALIBRATOR, PLATT
from mkt_search.errors import EvaluationError
from mkt_search.evaluation.calibration_report import CalibrationReport
from mkt_search.evaluation.protocol import STREAMS, Group, Stream
from mkt_search.evaluation.report import Histogram, PlotData, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#3a6ea5", "#c1571a", "#2f8f6b", "#8f4fa8", "#b8860b", "#c04a6b", "#557a2c", "#5f5e59")
SEEN, UNSEEN, NEVER_NAMED, FAINT = "#9db4cc", "#c1571a", "#2f8f6b", "#5f5e59"
STYLES: dict[Stream, Any] = {"fused": "solid", "global": "dashed", "local": (0, (1, 1.2))}
MAX_BARS = 40  # labels in one plot; of more labels, the best and the worst are drawn
MAX_NAME_LENGTH = 28  # of a label, or of a title in a narrow place, in characters
DPI = 130


def draw_all(report: Report) -> dict[str, bytes]:
    """Return every plot as PNG bytes, by file name.

    Raises:
        EvaluationError: matplotlib is not installed.
    """
    found = {
        "precision-recall.png": precision_recall(report),
        "scores.png": scores(report),
        "streams.png": streams(report),
    }
    for number, data in enumerate(report.plot_data, start=1):
        slug = (
            re.sub(r"[^A-Za-z0-9]+", "-", data.entry.title).strip("-")[-MAX_NAME_LENGTH:] or "model"
        )
        found[f"labels-{number}-{slug}.png"] = label_precision(report, data)
    return found


def draw_calibration(report: CalibrationReport) -> dict[str, bytes]:
    """Return every plot of probabilities as PNG bytes, by file name.

    Raises:
        EvaluationError: matplotlib is not installed.
    """
    return {"reliability.png": reliability(report)}


def reliability(report: CalibrationReport) -> bytes:
    """Return reliability diagrams as PNG, a panel for each model: p against what is true."""

    def draw(canvas: "Figure") -> None:
        panels = canvas.subplots(1, len(report.entries), squeeze=False)[0]
        for panel, entry in zip(panels, report.entries, strict=True):
            panel.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="dotted")
            for name, colour in ((PLATT, SEEN), (CALIBRATOR, UNSEEN)):
                found = entry.methods[name].reliability
                p, share = [one.p for one in found], [one.share for one in found]
                panel.plot(p, share, color=colour, marker="o", markersize=4, label=name)
            panel.grid(color=FAINT, alpha=0.15)
            panel.set(
                xlim=(0, 1),
                ylim=(0, 1),
                xlabel="mean p of a bin",
                ylabel="share that shows the label",
                title=_short(entry.model, 40),
                aspect="equal",
            )
            panel.legend(loc="upper left", frameon=False)

    return _png(draw, width=4.4 * len(report.entries), height=4.4)


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        EvaluationError: it is not; the text says how to install it.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise EvaluationError(
            "plots need matplotlib, which is not installed. Run `pip install 'mkt-search[plots]'`,"
            " or leave out --plots."
        ) from None


def precision_recall(report: Report) -> bytes:
    """Return the mean precision-recall curves as PNG, a panel for each group of labels."""

    def draw(canvas: "Figure") -> None:
        panels = canvas.subplots(1, len(report.groups), sharey=True, squeeze=False)[0]
        for panel, group in zip(panels, report.groups, strict=True):
            panel.grid(color=FAINT, alpha=0.15)
            _draw_curves(panel, report, group)
            panel.set(
                xlabel="recall", title=_group_title(report, group), xlim=(0, 1), ylim=(0, 1.02)
            )
        panels[0].set_ylabel("precision, mean over labels")

    return _png(draw, width=5.2 * len(report.groups), height=4.2 + 0.2 * len(report.plot_data))


def label_precision(report: Report, data: PlotData) -> bytes:
    """Return the AP of each label as PNG: bars with the number of positives, best first."""
    shown = np.flatnonzero(~np.isnan(data.ap))
    order = shown[np.argsort(-data.ap[shown], kind="stable")]
    is_cut = len(order) > MAX_BARS
    half = MAX_BARS // 2
    kept = np.concatenate([order[:half], order[-half:]]) if is_cut else order

    def draw(canvas: "Figure") -> None:
        panel = canvas.subplots()
        positions = np.arange(len(kept)) + (np.arange(len(kept)) >= half) * 1.5 * is_cut
        _draw_bars(panel, report, data, kept, positions)
        if is_cut:
            rest = f"{len(order) - len(kept):,} labels between"
            panel.text(
                0.5, half + 0.25, rest, ha="center", va="center", color=FAINT, style="italic"
            )

    return _png(draw, width=7.5, height=1.9 + 0.21 * (len(kept) + 1.5 * is_cut))


def scores(report: Report) -> bytes:
    """Return histograms of the fused scores of positives and negatives as PNG."""
    rows, columns = len(report.plot_data), len(report.groups)

    def draw(canvas: "Figure") -> None:
        panels = canvas.subplots(rows, columns, squeeze=False)
        for line, data in zip(panels, report.plot_data, strict=True):
            for panel, group in zip(line, report.groups, strict=True):
                _draw_histogram(panel, data.histograms[group, "fused"])
                panel.set_title(
                    f"{_short(data.entry.title)}: {_group_title(report, group)}", size=9
                )
        for panel in panels[-1]:
            panel.set_xlabel("fused score (vocabulary)")
        handles, names = panels[0][0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)

    return _png(draw, width=5.2 * columns, height=0.9 + 1.9 * rows)


def streams(report: Report) -> bytes:
    """Return how the scores of each stream spread as PNG: a row for each entry (MKT, figure 4).

    The labels are the unseen ones where there are any.
    """
    group = report.groups[0]

    def draw(canvas: "Figure") -> None:
        panels = canvas.subplots(len(report.plot_data), len(STREAMS), squeeze=False)
        for line, data in zip(panels, report.plot_data, strict=True):
            for panel, stream in zip(line, STREAMS, strict=True):
                _draw_histogram(panel, data.histograms[group, stream])
                panel.set_title(f"{_short(data.entry.title)}: {stream}", size=9)
        for panel in panels[-1]:
            panel.set_xlabel(f"score (vocabulary), {_group_title(report, group)}")
        handles, names = panels[0][0].get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=2, frameon=False)

    return _png(draw, width=3.6 * len(STREAMS), height=0.9 + 1.9 * len(report.plot_data))


def _draw_curves(panel: "Axes", report: Report, group: Group) -> None:
    streams: list[Stream] = ["fused"]
    if len(report.plot_data) == 1:
        streams += ["global", "local"]
    for number, data in enumerate(report.plot_data):
        for stream in streams:
            row = report.find(data.entry, stream, group)
            curve = data.curves[group, stream]
            panel.plot(
                np.linspace(0, 1, len(curve)),
                curve,
                color=COLOURS[number % len(COLOURS)],
                linestyle=STYLES[stream],
                linewidth=2.0 if stream == "fused" else 1.3,
                label=f"{_short(data.entry.title, 40)}, {stream}: mAP {row.standard:.3f}",
            )
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=8, frameon=False)


def _draw_bars(
    panel: "Axes", report: Report, data: PlotData, kept: np.ndarray[Any, Any], positions: Any
) -> None:
    is_seen = kept < len(report.seen)
    is_named = kept < len(report.seen) + len(report.unseen)
    groups = (
        ("never named", ~is_named, NEVER_NAMED),
        ("unseen", is_named & ~is_seen, UNSEEN),
        ("seen", is_seen, SEEN),
    )
    for name, chosen, colour in groups:
        if chosen.any():
            panel.barh(
                positions[chosen], data.ap[kept[chosen]], color=colour, height=0.72, label=name
            )
    for position, column in zip(positions, kept, strict=True):
        count = f"{data.positives[column]:,}"
        panel.text(data.ap[column] + 0.01, position, count, va="center", size=7, color=FAINT)
    panel.grid(axis="x", color=FAINT, alpha=0.15)
    panel.set_axisbelow(True)
    names = [_short(report.labels[column]) for column in kept]
    panel.set_yticks(positions, names, size=8)
    panel.set(
        xlim=(0, 1.08),
        xlabel="AP of the fused score; the number at a bar counts the photos that show the label",
    )
    panel.set_ylim(float(positions[-1]) + 0.8 if len(positions) else 1, -0.8)
    panel.set_title(f"{_short(data.entry.title, 60)}: AP of each label", loc="left")
    panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=8)


def _draw_histogram(panel: "Axes", found: Histogram) -> None:
    histograms = (("not shown", found.negatives, SEEN), ("shown", found.positives, UNSEEN))
    for name, shares, colour in histograms:
        panel.stairs(shares, found.edges, fill=True, color=colour, alpha=0.55, label=name)
        panel.stairs(shares, found.edges, color=colour, linewidth=1.2)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)


def _png(draw: "Callable[[Figure], None]", *, width: float, height: float) -> bytes:
    """Draw on a figure and return it as PNG; width and height are in inches."""
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "text.parse_math": False,  # labels may contain dollar signs
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.edgecolor": FAINT,
    }
    target = io.BytesIO()
    with rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the font may lack letters of a label
        canvas = Figure(figsize=(width, height), layout="constrained")
        draw(canvas)
        canvas.savefig(target, format="png", dpi=DPI)
    return target.getvalue()


def _group_title(report: Report, group: Group) -> str:
    named = {"unseen": "unseen labels", "never named": "labels never named"}
    return f"{report.count(group):,} {named.get(group, 'labels')}"


def _short(text: str, length: int = MAX_NAME_LENGTH) -> str:
    """Return a name that fits; a long one loses its start, as paths differ at the end."""
    return text if len(text) <= length else "…" + text[1 - length :]
