"""What probabilities are worth, as tables, Markdown and JSON."""

import json
from datetime import datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from mkt_search.calibration.baselines import CALIBRATOR, THRESHOLD, Baselines, compare
from mkt_search.calibration.logistic import Logistic
from mkt_search.evaluation import plots
from mkt_search.evaluation.calibration_report import CalibrationEntry, CalibrationReport
from mkt_search.evaluation.page import render

Numbers = NDArray[np.float64]

SCORES = np.array([[0.9, 0.1], [0.8, 0.9], [0.7, 0.8], [0.1, 0.7], [0.1, 0.0]], np.float32)
P = SCORES.astype(np.float64).round(6)
TARGETS = np.array([[1, -1], [1, 1], [1, 1], [-1, 1], [-1, -1]], np.int8)


def made(p: Numbers = P) -> CalibrationReport:
    """Return a report of two labels on five photos, whose scores order them without a mistake."""
    baselines = Baselines(Logistic(np.array([1.0]), 0.0), {0.9: 0.75, 0.8: 0.05, 0.5: np.inf})
    methods = compare(baselines, p, SCORES, TARGETS, present_from=0.5)
    entry = CalibrationEntry("student", "c" * 12, "calibrating on 12 labels", methods)
    return CalibrationReport(
        "home/photos", 5, 1, ("dog", "<cat>"), (entry,), datetime(2026, 1, 1), ("left out",)
    )


def test_every_way_to_choose_is_a_row_of_the_same_tables() -> None:
    precision, distance = made().tables().values()
    cells = {row[1]: row[2:] for row in precision.rows}
    assert cells[THRESHOLD][:4] == ("1.0000", "1.0000", "0.6667", "2")
    assert cells[THRESHOLD][4:8] == ("0.6750", "0.6000", "1.0000", "2")
    assert cells[THRESHOLD][8:] == ("–", "–", "0.0000", "0")
    assert {row[1]: row[2] for row in distance.rows}[THRESHOLD] == "–"
    assert not precision.best() and not distance.best()


def test_json_has_bins_and_no_number_that_json_lacks() -> None:
    found = json.loads(json.dumps(made().as_dict(), allow_nan=False))
    [model] = found["models"]
    own = model["methods"][CALIBRATOR]
    assert sum(one["pairs"] for one in own["reliability"]) == SCORES.size
    assert own["reached"]["0.9"]["answered"] == 2 and found["labels"] == ["dog", "<cat>"]


def test_a_sentence_says_where_p_is_chance() -> None:
    assert made().chance() == []
    assert "cannot tell" in made(np.zeros(SCORES.shape)).chance()[0]


def test_the_page_and_markdown_have_both_tables_and_the_notes() -> None:
    page = render(made(), {"reliability.png": b"\x89PNG"})
    assert page.count("<table>") == 2 and "left out" in page and "reliability.png" in page
    assert made().markdown().count("| student | calibrator |") == 2


def test_a_reliability_diagram_is_drawn_of_each_model() -> None:
    pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")
    assert plots.draw_calibration(made())["reliability.png"].startswith(b"\x89PNG")
