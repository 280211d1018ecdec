"""From scores to the rows of a report: the same values as the metrics one by one."""

import numpy as np
import pytest

from mkt_search.evaluation.entries import histogram, score_entry
from mkt_search.evaluation.metrics import (
    average_precisions,
    label_metrics,
    mean_average_precision,
    top_labels,
)
from mkt_search.evaluation.protocol import PhotoScores, Rules
from mkt_search.evaluation.report import Entry
from mkt_search.scoring import StreamScores

RULES = Rules(f1_at=(1, 2), depth=3)
ENTRY = Entry("student", "abc")


@pytest.fixture
def scored() -> PhotoScores:
    rng = np.random.default_rng(0)
    dot, cosine = (
        StreamScores(*(rng.normal(size=(20, 6)).astype(np.float32) for _ in range(2)))
        for _ in range(2)
    )
    targets = rng.choice([-1, 0, 1], (20, 6), p=[0.6, 0.1, 0.3]).astype(np.int8)
    return PhotoScores(dot, cosine, targets)


def test_there_is_a_row_for_each_scale_group_and_stream(scored: PhotoScores) -> None:
    rows = score_entry(ENTRY, scored, seen=4, rules=RULES).rows
    keys = {(row.scale, row.labels, row.stream) for row in rows}
    assert len(rows) == len(keys) == 2 * 3 * 3
    assert {row.entry for row in rows} == {ENTRY}


def test_rows_have_the_metrics_of_their_scores(scored: PhotoScores) -> None:
    columns = {"unseen": slice(4, 6), "seen": slice(0, 4), "all": slice(0, 6)}
    for row in score_entry(ENTRY, scored, seen=4, rules=RULES).rows:
        part = scored.only(columns[row.labels])
        scores = part.streams(row.scale)[row.stream]
        ap = mean_average_precision(scores, part.targets)
        assert row.paper["mAP"] == pytest.approx(ap.paper)
        assert row.standard == pytest.approx(ap.standard)
        assert row.retrieval["all"]["labels"] == ap.counted
        top = top_labels(scores, part.targets, ks=(2,))[2]
        assert (row.paper["P@2"], row.paper["F1@2"]) == (top.precision, top.f1)
        ndcg = label_metrics(scores, part.targets, k=3).at["nDCG"]
        assert row.retrieval["all"]["nDCG@3"] == pytest.approx(np.nanmean(ndcg))


def test_labels_that_training_never_named_are_a_group_of_their_own(scored: PhotoScores) -> None:
    found = score_entry(ENTRY, scored, seen=3, never_named=2, rules=RULES)
    sizes = {"unseen": slice(3, 4), "seen": slice(0, 3), "all": slice(0, 4)}
    assert {row.labels for row in found.rows} == {*sizes, "never named"}
    without = score_entry(ENTRY, scored.only(slice(0, 4)), seen=3, rules=RULES)
    for row in found.rows:
        if row.labels == "never named":
            part = scored.only(slice(4, 6))
            scores = part.streams(row.scale)[row.stream]
            assert row.standard == pytest.approx(
                mean_average_precision(scores, part.targets).standard
            )
            assert set(row.paper) == {"mAP"}
    named = [row.as_dict() for row in found.rows if row.labels != "never named"]
    for row, expected in zip(named, without.rows, strict=True):
        assert row["paper"] == expected.as_dict()["paper"]
    assert len(found.plots.ap) == 6


def test_plots_are_on_the_scale_of_the_papers_table(scored: PhotoScores) -> None:
    plots = score_entry(ENTRY, scored, seen=4, rules=RULES).plots
    ap = average_precisions(scored.streams("vocabulary")["fused"], scored.targets)
    np.testing.assert_allclose(plots.ap, ap)
    assert plots.positives.tolist() == (scored.targets > 0).sum(axis=0).tolist()
    part = scored.only(slice(4, 6))
    curve = label_metrics(part.streams("vocabulary")["local"], part.targets)
    np.testing.assert_allclose(plots.curves["unseen", "local"], curve.mean_curve())
    assert plots.histograms.keys() == {
        (group, stream)
        for group in ("unseen", "seen", "all")
        for stream in ("global", "local", "fused")
    }


def test_histograms_separate_positives_from_negatives() -> None:
    scores = np.array([[0.0, 1.0], [1.0, 0.5]], np.float32)
    targets = np.array([[-1, 1], [1, 0]], np.int8)
    found = histogram(scores, targets)
    assert found.positives[-1] == found.negatives[0] == 1  # 0.5 is unknown and is left out
    assert found.positives.sum() == found.negatives.sum() == 1
    assert (found.edges[0], found.edges[-1]) == (0, 1)


@pytest.mark.parametrize("value", [0, 1])
def test_histograms_of_equal_scores_or_of_no_scores_have_edges(value: int) -> None:
    targets = np.full((2, 2), value, np.int8)
    found = histogram(np.full((2, 2), 0.25, np.float32), targets)
    assert (np.diff(found.edges) > 0).all() and found.negatives.sum() == 0
