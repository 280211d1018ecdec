"""The report of the demo: errors are marked, text is escaped, missing measures are shown."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from mkt_search.demo.report import Findings, Search, Step, TaggedPhoto, Tagging, render, table_rows
from mkt_search.types import Box, Hit
from tests.tiny import paint


def findings(folder: Path, **changes: Any) -> Findings:
    photo = paint(folder / "p.jpg", "red")
    hit = Hit(1, photo, 0.5, 0.3, 0.2, (Box(0.0, 0.0, 0.5, 0.5),))
    given: dict[str, Any] = {
        "photos": 1,
        "searches": [Search("<b>", "unseen", [hit, hit], [True, False])],
        "tagging": Tagging(1, 0.5, 0.25, [TaggedPhoto(photo, [("sea", 0.1)], frozenset({"day"}))]),
        "evaluation": {"rows": [], "seen": ["a"], "unseen": ["b"]},
        "steps": [Step("mkt & more", 1.25)],
        "made_at": datetime(2024, 5, 17, 8, 9),
    }
    return Findings(**{**given, **changes})


def test_a_report_marks_errors_and_escapes_text(tmp_path: Path) -> None:
    text = render(findings(tmp_path))
    assert "<b>" not in text.split("<body>")[1].replace("<b>0.5000</b>", "")
    assert "1 of 2 right" in text
    assert text.count('class="wrong"') == 1
    assert "mkt &amp; more" in text and "2024-05-17 08:09" in text
    assert re.search(r'class="no"[^>]*>sea', text) and re.search(r'class="missed">day', text)


def test_a_row_of_the_table_may_lack_a_measure(tmp_path: Path) -> None:
    row = {"model": "m", "prompt": "template", "stream": "fused", "scale": "vocabulary"}
    rows = [
        {**row, "protocol": "GZSL", "standard": 0.25, "paper": {"F1@3": 0.5}},
        {**row, "protocol": "GZSL", "scale": "cosine", "standard": 0.75, "paper": {}},
    ]
    evaluation = {"rows": rows, "seen": ["a"], "unseen": ["b"]}
    (found,) = table_rows(evaluation)
    assert (found["zsl"], found["gzsl"], found["f3"], found["f5"]) == (None, 0.25, 0.5, None)
    text = render(findings(tmp_path, evaluation=evaluation))
    assert "0.250" in text and "–" in text
