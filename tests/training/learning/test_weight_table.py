"""The table of held-out results: by weight with equal streams, by share at one weight."""

import numpy as np

from training.learning.weight_table import SHARES, WeightTable


def test_a_table_is_the_mean_of_the_folds_that_are_known() -> None:
    low, high = (np.full((2, len(SHARES), 2), value) for value in (0.2, 0.4))
    low[1, SHARES.index(0.7)] = 0.8, 0.6
    table = WeightTable.mean((0.0, 0.3), [low, high, np.full_like(low, np.nan)])
    assert [point.weight for point in table.by_weight()] == [0.0, 0.3]
    np.testing.assert_allclose([point.held_out for point in table.by_weight()], 0.3)
    at_seven = table.by_share(0.3)[SHARES.index(0.7)]
    np.testing.assert_allclose((at_seven.held_out, at_seven.trained), (0.6, 0.5))


def test_a_table_without_a_known_fold_has_no_curve() -> None:
    table = WeightTable.mean((0.0,), [])
    assert table.by_weight() == table.by_share(0.0) == ()
