"""Queries as the store receives them: weighted sums of labels."""

import numpy as np
import pytest

from mkt_search.store.interfaces import SnapshotFacts, WeightedQuery
from tests import made


def query(*weights: float) -> WeightedQuery:
    """Label i is the axis i."""
    labels = np.eye(len(weights), 4, dtype=np.float32)
    return WeightedQuery(labels, np.array(weights, np.float32))


@pytest.mark.parametrize(
    ("weights", "kind"),
    [((1,), "single"), ((-1,), "single"), ((1, 2), "multi"), ((1, 2, -0.5), "negated")],
)
def test_the_kind_says_whose_recall_applies(weights: tuple[float, ...], kind: str) -> None:
    assert query(*weights).kind == kind
    assert query(*weights).terms == len(weights)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((1,), True), ((-1,), False), ((1, -1), True), ((1, -2), False), ((3, -1, -1), True)],
)
def test_a_query_is_mostly_wanted_if_wanted_weights_outweigh_the_others(
    weights: tuple[float, ...], expected: bool
) -> None:
    assert query(*weights).is_mostly_wanted is expected


def test_a_single_label_is_its_own_direction() -> None:
    np.testing.assert_array_equal(query(2).directions, [[1, 0, 0, 0]])


def test_several_labels_have_a_direction_each_if_wanted_and_one_for_their_sum() -> None:
    np.testing.assert_array_equal(
        query(2, -1, 3).directions, [[1, 0, 0, 0], [0, 0, 1, 0], [2, -1, 3, 0]]
    )


def test_a_scan_is_built_when_no_photo_has_to_be_read_in() -> None:
    facts = SnapshotFacts(made.stored(), revision=1, photos=5)
    assert facts.scan_is_built
    assert not SnapshotFacts(made.stored(), 1, 5, photos_to_scan=2).scan_is_built
