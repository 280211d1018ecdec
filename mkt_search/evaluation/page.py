"""An evaluation as one HTML file with tables and plots inside and no scripts."""

import base64
from collections.abc import Mapping

from mkt_search.evaluation.calibration_report import CalibrationReport
from mkt_search.evaluation.report import Report
from mkt_search.pages import html


def render(report: Report | CalibrationReport, plots: Mapping[str, bytes]) -> str:
    """Return an evaluation as an HTML page.

    Args:
        report: the evaluation.
        plots: PNG bytes by file name, from `plots`; may be empty.
    """
    uris = {
        name: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
        for name, png in plots.items()
    }
    return html.render("evaluation.html", report=report, plots=uris)
