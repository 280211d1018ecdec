"""The longest prefix whose expected precision is enough."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.calibration.selection import Expected, longest_prefix


@settings(max_examples=60, deadline=None)
@given(p=st.lists(st.floats(0, 1), max_size=20), precision=st.floats(0.05, 1))
def test_the_prefix_is_the_longest_whose_mean_is_enough(p: list[float], precision: float) -> None:
    falling = np.sort(np.array(p, float))[::-1]
    enough = [n for n in range(1, len(p) + 1) if falling[:n].mean() >= precision - 1e-9]
    assert longest_prefix(falling, precision) == max(enough, default=0)


def test_the_expected_count_of_wrong_ones_is_what_lacks_to_certainty() -> None:
    found = Expected.of(np.array([1.0, 0.9, 0.6]))
    assert (found.photos, found.wrong) == (3, pytest.approx(0.5))
    assert found.precision == pytest.approx(2.5 / 3)
    assert Expected.of(np.empty(0)).precision == 1
