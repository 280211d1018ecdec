"""An evaluation as one HTML file with its tables and plots in it, for offline, without scripts."""

import base64
from collections.abc import Mapping

from mkt_search.evaluation.report import Report
from mkt_search.pages import html


def render(report: Report, plots: Mapping[str, bytes]) -> str:
    """Return the page.

    Args:
        report: what was found.
        plots: PNG bytes by name, as `plots.draw_all` gives them; may be empty.
    """
    uris = {
        name: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
        for name, png in plots.items()
    }
    retrieval = {group: report.retrieval_table(group) for group in report.groups}
    return html.render("evaluation.html", report=report, plots=uris, retrieval=retrieval)
