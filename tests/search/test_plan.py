"""The plan: a pure function of the query, the facts of a snapshot and the policy."""

from dataclasses import replace

import numpy as np
import pytest

from mkt_search.search.plan import DEFAULT, Plan, may_use_index, plan
from mkt_search.store.interfaces import CandidateIndexFacts, SnapshotFacts, WeightedQuery
from mkt_search.store.recall_curve import RecallCurve, RecallPoint
from tests import made

PHOTOS = 100_000
FACTS = SnapshotFacts(made.stored(), revision=1, photos=PHOTOS)
CURVE = RecallCurve(
    {
        kind: {10: (RecallPoint(800, 0.995),), 100: (RecallPoint(4_800, 0.992),)}
        for kind in ("single", "multi", "negated")
    }
)
INDEX = CandidateIndexFacts(photos=PHOTOS, newer=0, shortlist_per_k=5, recall=CURVE)


def query(*weights: float) -> WeightedQuery:
    labels = np.ones((len(weights), made.DIM), np.float32)
    return WeightedQuery(labels, np.array(weights, np.float32))


def planned(*weights: float, **changes: object) -> Plan:
    given: dict[str, object] = {
        "k": 10,
        "recall": 0.99,
        "searched": PHOTOS,
        "facts": FACTS,
        "candidate_index": INDEX,
    }
    return plan(query(*weights), **(given | changes))  # type: ignore[arg-type]


def test_one_label_goes_through_candidates_at_the_depth_measured() -> None:
    assert planned(1) == Plan(
        "candidates", "800 probes reach a recall of 0.99", PHOTOS, 800, 10, 0.995
    )
    assert planned(1, k=11).probes == 4_800 and planned(1, k=11).depth == 100


@pytest.mark.parametrize("weights", [(1, 1), (1, -1), (20, 1), (1, 0.5, -0.5)])
def test_several_labels_go_through_candidates(weights: tuple[float, ...]) -> None:
    assert planned(*weights).path == "candidates"


@pytest.mark.parametrize("weights", [(-1,), (1, -2), (-1, -1)])
def test_a_mostly_unwanted_query_scores_every_photo(weights: tuple[float, ...]) -> None:
    found = planned(*weights)
    assert (found.path, found.recall) == ("every photo", 1)
    assert "mostly unwanted" in found.why
    assert not may_use_index(query(*weights), 0.9)


def test_a_recall_of_one_is_exact_and_loads_no_index() -> None:
    found = planned(1, recall=1.0)
    assert (found.path, found.recall, found.probes) == ("exact scan", 1, 0)
    assert not may_use_index(query(1), 1.0) and may_use_index(query(1), 0.99)


def test_a_recall_that_was_not_reached_is_exact() -> None:
    found = planned(1, recall=0.999)
    assert found.path == "exact scan" and "no measured number of probes" in found.why


def test_without_an_index_one_label_is_scanned_and_several_score_every_photo() -> None:
    assert planned(1, candidate_index=None).path == "exact scan"
    assert planned(1, 1, candidate_index=None).path == "every photo"


@pytest.mark.parametrize(
    ("weights", "break_even"),
    [
        ((1,), 5 * 10 + 1_000),  # the shortlist, and the work of a scan of the codes
        ((1, 1), 3 * 800 // 2 + 3 * 1_000),  # of three directions
    ],
)
def test_a_filter_that_leaves_less_work_than_probing_scores_its_photos(
    weights: tuple[float, ...], break_even: int
) -> None:
    few, more = (planned(*weights, searched=break_even + one) for one in (0, 1))
    assert (few.path, few.recall) == ("every photo", 1) and "less work" in few.why
    assert more.path == "candidates"


def test_a_small_library_is_always_scored_whole() -> None:
    small = replace(INDEX, photos=100)
    facts = replace(FACTS, photos=100)
    assert planned(1, k=1, searched=100, facts=facts, candidate_index=small).path == "every photo"
    policy = replace(DEFAULT, score_all_up_to_photos=10)
    assert (
        planned(1, k=1, searched=100, facts=facts, candidate_index=small, policy=policy).path
        == "candidates"
    )


def test_a_filter_without_an_index_is_scored_below_a_share_of_the_library() -> None:
    few, more = (planned(1, candidate_index=None, searched=n) for n in (5_000, 5_001))
    assert (few.path, more.path) == ("every photo", "exact scan")


def test_the_scan_is_built_once_as_much_was_scored_as_building_it_takes() -> None:
    fresh = replace(FACTS, photos_to_scan=PHOTOS)
    first = planned(1, candidate_index=None, facts=fresh)
    assert first.path == "every photo" and "would not pay yet" in first.why
    later = replace(fresh, photos_scored=9 * PHOTOS)
    assert planned(1, candidate_index=None, facts=later).path == "exact scan"
    few_new = replace(FACTS, photos_to_scan=10)
    assert planned(1, candidate_index=None, facts=few_new).path == "exact scan"
