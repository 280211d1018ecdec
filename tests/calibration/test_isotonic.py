"""Isotonic regression."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mkt_search.calibration.isotonic import MAX_KNOTS, fit_isotonic

heights = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def slow_isotonic(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the best rising values for y (n,), by the formula of minima of maxima of means."""
    n = len(y)
    return np.array(
        [max(min(y[a : b + 1].mean() for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
    )


@settings(max_examples=40, deadline=None)
@given(y=heights)
def test_the_curve_has_the_heights_of_the_slow_formula(y: list[float]) -> None:
    given_y = np.array(y)
    curve = fit_isotonic(np.arange(len(y), dtype=float), given_y)
    expected = slow_isotonic(given_y)
    assert np.allclose(np.unique(curve.y.round(9)), np.unique(expected.round(9)))


@settings(max_examples=40, deadline=None)
@given(y=heights, x=st.lists(st.integers(0, 5), min_size=12, max_size=12))
def test_the_curve_never_falls_also_with_equal_places(y: list[float], x: list[int]) -> None:
    curve = fit_isotonic(np.array(x[: len(y)], float), np.array(y))
    assert (np.diff(curve.at(np.linspace(-1, 6, 50))) >= 0).all()
    assert (np.diff(curve.x) > 0).all()


def test_a_curve_has_a_bounded_number_of_corners() -> None:
    steps = np.arange(5_000, dtype=float)
    assert len(fit_isotonic(steps, steps / 5_000).x) == MAX_KNOTS
