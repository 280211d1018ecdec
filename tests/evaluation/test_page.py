"""The page of an evaluation: whole in one file, safe for any name."""

import re
from dataclasses import replace

from mkt_search.evaluation.page import render
from tests.evaluation.test_report import made


def test_tables_plots_and_notes_are_in_the_page() -> None:
    page = render(made(), {"scores.png": b"\x89PNG"})
    assert page.count("<table>") == 3
    assert '<img class="plot" src="data:image/png;base64,iVBORw==" alt="scores.png">' in page
    assert "left out 1 label" in page and "16 photos of home/photos" in page


def test_nothing_is_loaded_from_elsewhere() -> None:
    page = render(made(), {})
    assert "<script" not in page and "<img" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_the_best_number_of_a_column_is_bold() -> None:
    page = render(made(), {})
    cells = re.findall(r'<td class="number">(<b>)?(\d\.\d{4}|–)(</b>)?</td>', page)
    assert {(bool(start), bool(end)) for start, _, end in cells} == {(True, True), (False, False)}
    assert '<th>model</th><th>stream</th><th class="number">ZSL mAP</th>' in page


def test_names_are_text_not_markup() -> None:
    page = render(replace(made(), dataset="<i>photos</i>", notes=("<b>",)), {})
    assert "<i>" not in page and "<b></li>" not in page
