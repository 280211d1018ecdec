"""A report as rows, tables, Markdown and JSON."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest

from mkt_search.evaluation.entries import score_entry
from mkt_search.evaluation.protocol import PhotoScores, Rules, rarity_threshold
from mkt_search.evaluation.report import Entry, Report
from mkt_search.scoring import StreamScores

RULES = Rules(f1_at=(1,), depth=2)


def made(*, seen: int = 2, labels: int = 4, is_partial: bool = False) -> Report:
    """A report of two entries over random scores."""
    rng = np.random.default_rng(1)
    targets = np.where(rng.random((16, labels)) < 0.4, 1, -1).astype(np.int8)
    targets[0] = 1
    if is_partial:
        targets[:, -1] = -1
    metrics = [
        score_entry(entry, PhotoScores(scores, scores, targets), seen=seen, rules=RULES)
        for entry in (
            Entry("student", "abc", prompt="learned", photos=16, has_several_prompts=True),
            Entry("student", "abc", prompt="template", photos=16, has_several_prompts=True),
        )
        for scores in [
            StreamScores(*(rng.normal(size=(16, labels)).astype(np.float32) for _ in range(2)))
        ]
    ]
    names = tuple(f"label {i}" for i in range(labels))
    return Report(
        dataset="home/photos",
        fingerprint="0" * 12,
        photos=16,
        unreadable=3,
        seen=names[:seen],
        unseen=names[seen:],
        rules=RULES,
        rare=rarity_threshold(targets, RULES),
        rows=tuple(row for found in metrics for row in found.rows),
        made_at=datetime(2024, 5, 17, 8, 9, 10),
        notes=("left out 1 label",),
        plot_data=tuple(found.plots for found in metrics),
    )


def test_entries_of_one_model_have_different_titles() -> None:
    entry = Entry("student", "abc", prompt="learned")
    assert entry.title == "student"
    assert replace(entry, prompt="template").title == "student"
    assert (
        replace(entry, prompt="template", has_several_prompts=True).title
        == "student, plain template"
    )
    assert replace(entry, vectors="stored").title == "student, stored"


def test_rows_are_found_by_entry_stream_and_labels() -> None:
    report = made()
    learned, plain = report.entries
    assert (learned.prompt, plain.prompt) == ("learned", "template")
    assert report.find(plain, "local", "unseen").protocol == "ZSL"
    with pytest.raises(KeyError, match="plain template"):
        report.find(replace(plain, photos=1), "local", "unseen")


def test_paper_table_has_each_stream_of_each_entry() -> None:
    report = made()
    table = report.paper_table()
    assert table.columns == (
        *("model", "stream", "ZSL mAP", "ZSL F1@1"),
        *("GZSL mAP", "GZSL F1@1"),
    )
    assert [row[:2] for row in table.rows[:4]] == [
        ("student", "global"),
        ("student", "local"),
        ("student", "fused"),
        ("student, plain template", "global"),
    ]
    fused = report.find(report.entries[0], "fused", "unseen")
    assert table.rows[2][2] == f"{fused.paper['mAP']:.4f}"


def test_the_standard_mean_is_shown_if_it_differs_from_the_papers() -> None:
    report = made(is_partial=True)
    table = report.paper_table()
    assert table.columns[2:5] == ("ZSL mAP", "ZSL mAP shown", "ZSL F1@1")
    assert float(table.rows[0][2]) == pytest.approx(float(table.rows[0][3]) / 2, abs=1e-3)
    assert any("is left out of `mAP shown`" in sentence for sentence in report.legend())


@pytest.mark.parametrize(
    ("seen", "groups"), [(0, ("unseen",)), (4, ("all",)), (2, ("unseen", "all"))]
)
def test_groups_are_those_that_differ(seen: int, groups: tuple[str, ...]) -> None:
    report = made(seen=seen)
    assert report.groups == groups
    assert len(report.paper_table().columns) == 2 + 2 * len(groups)
    assert len(report.retrieval_table(groups[0]).rows) == 2 * 2 * 3  # type: ignore[arg-type]


def test_markdown_has_the_summary_and_the_legend() -> None:
    text = made().markdown()
    assert "16 photos of home/photos, 2 seen and 2 unseen labels, 3 unreadable photos" in text
    assert text.count("| model |") == 3
    assert "is rare (the median of all labels)" in text
    assert text.endswith("- left out 1 label\n")


def test_json_has_every_row_and_label_and_no_nan() -> None:
    report = made(is_partial=True)
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert len(data["rows"]) == len(report.rows) == 2 * 2 * 3 * 3
    assert data["rows"][0]["model"] == "student"
    assert data["protocol"]["f1_at"] == [1]
    assert data["made_at"] == "2024-05-17T08:09:10"
    last = data["labels"][-1]
    assert (last["label"], last["is_seen"], last["positives"]) == ("label 3", False, 0)
    assert last["ap"] == {"student": None, "student, plain template": None}
