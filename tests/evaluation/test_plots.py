"""Plots of an evaluation: pictures of any labels, and the error without matplotlib."""

import io
import sys
from dataclasses import replace

import pytest
from PIL import Image

from mkt_search.errors import EvaluationError
from mkt_search.evaluation import plots
from mkt_search.evaluation.report import Report
from tests.evaluation.test_report import made

pytest.importorskip("matplotlib", reason="the extra `plots` is not installed")


def size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size


@pytest.fixture(scope="module")
def report() -> Report:
    return made()


def test_there_is_a_plot_of_each_kind_and_bars_for_each_entry(report: Report) -> None:
    found = plots.draw_all(report)
    assert list(found) == [
        "precision-recall.png",
        "scores.png",
        "streams.png",
        "labels-1-student.png",
        "labels-2-student-plain-template.png",
    ]
    assert all(min(size(png)) > 150 for png in found.values())


def test_plots_are_the_same_bytes_every_time(report: Report) -> None:
    assert plots.scores(report) == plots.scores(report)


def test_many_labels_are_cut_to_the_best_and_the_worst(report: Report) -> None:
    many = made(seen=30, labels=90)
    height = size(plots.label_precision(many, many.plot_data[0]))[1]
    few = size(plots.label_precision(report, report.plot_data[0]))[1]
    assert few < height < 1_600


@pytest.mark.slow
def test_labels_of_any_letters_can_be_drawn(report: Report) -> None:
    strange = replace(report, seen=("$\\frac{", "猫 " * 40), unseen=("<b>", "a\nb"))
    for png in plots.draw_all(strange).values():
        size(png)


@pytest.mark.slow
@pytest.mark.parametrize("seen", [0, 4])
def test_one_group_of_labels_is_one_panel(seen: int) -> None:
    report = made(seen=seen)
    assert size(plots.scores(report))[0] < size(plots.scores(made()))[0]
    size(plots.precision_recall(report))


def test_labels_that_no_photo_shows_have_no_bar() -> None:
    report = made(is_partial=True)
    whole = size(plots.label_precision(made(), made().plot_data[0]))[1]
    assert size(plots.label_precision(report, report.plot_data[0]))[1] < whole


def test_without_matplotlib_the_error_says_what_to_install(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EvaluationError, match=r"pip install 'mkt-search\[plots\]'"):
        plots.scores(report)
