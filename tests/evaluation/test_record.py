"""What a library keeps of a report."""

import json
from dataclasses import replace

import pytest

from mkt_search.evaluation.record import evaluations_of, summaries
from tests.evaluation.test_report import made


def test_there_is_an_item_for_each_model_with_its_entries_and_rows() -> None:
    report = replace(made(), settings={"only": "test"})
    (kept,) = evaluations_of(report)
    assert (kept.model, kept.fingerprint, kept.dataset) == ("student", "abc", "home/photos")
    assert (kept.dataset_fingerprint, kept.protocol) == ("0" * 12, "nus-wide")
    assert kept.settings == {"only": "test"}
    assert len(kept.results["entries"]) == 2
    assert len(kept.results["rows"]) == len(report.rows)
    json.dumps(kept.results, allow_nan=False)


def test_a_summary_has_the_papers_map_of_each_entry() -> None:
    report = made()
    (kept,) = evaluations_of(report)
    learned, plain = summaries(kept)
    assert (learned.title, plain.title) == ("student", "student, plain template")
    fused = report.find(report.entries[0], "fused", "unseen")
    assert learned.zsl == pytest.approx(fused.paper["mAP"]) and learned.photos == 16


def test_a_summary_without_unseen_labels_has_no_zsl() -> None:
    (kept,) = evaluations_of(made(seen=4))
    assert next(iter(summaries(kept))).zsl is None
