"""Examples of a label: the best, the middle and the last of its photos."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mkt_search.store.spill import SpillFile
from mkt_search.tagging.examples import Examples

LABELS = 3


@given(records=st.lists(st.tuples(st.integers(0, LABELS - 1), st.integers(0, 40)), max_size=30))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_examples_are_the_highest_the_nearest_to_the_mean_and_the_lowest(
    records: list[tuple[int, int]], tmp_path: Path
) -> None:
    found = Examples(LABELS)
    with SpillFile(tmp_path) as spill:
        for content_id, (label, score) in enumerate(records):
            spill.add(np.array([content_id]), np.array([label]), np.array([score / 40]))
        found.find(spill, piece=4)
    for label in range(LABELS):
        own = {number: score for number, (of, score) in enumerate(records) if of == label}
        chosen = [own[content_id] for content_id in found.of(label).tolist()]
        assert len(chosen) == len(set(found.of(label).tolist())) <= 3
        if not own:
            assert not chosen
            continue
        assert chosen[0] == max(own.values()) and chosen[-1] == min(own.values())
        if len(chosen) == 3:
            mean = sum(own.values()) / len(own)
            nearest = min(abs(score - mean) for score in own.values())
            assert abs(chosen[1] - mean) == pytest.approx(nearest, abs=1e-4)


def test_one_photo_is_the_best_and_two_are_best_and_last(tmp_path: Path) -> None:
    found = Examples(2)
    with SpillFile(tmp_path) as spill:
        spill.add(np.array([5, 6, 7]), np.array([0, 1, 1]), np.array([0.5, 0.2, 0.9]))
        found.find(spill)
    assert found.of(0).tolist() == [5] and found.of(1).tolist() == [7, 6]
