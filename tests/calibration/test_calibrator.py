"""The calibrator, and the probability of several labels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.calibration.calibrator import several
from mkt_search.errors import CalibrationError
from tests.calibration.made import DIM, STAMP, fitted

shares = st.floats(0, 1)


@settings(max_examples=40, deadline=None)
@given(dog=shares, beach=shares, person=shares)
def test_several_labels_count_as_independent(dog: float, beach: float, person: float) -> None:
    p = several(np.array([[dog, beach, person]]), np.array([2, 0.5, -1], np.float32))
    assert p[0] == pytest.approx(dog * beach * (1 - person))
    assert p[0] <= min(dog, beach, 1 - person) + 1e-12


def test_one_wanted_label_has_its_own_probability() -> None:
    assert several(np.array([[0.3]]), np.array([2], np.float32)).tolist() == [0.3]


def test_label_vectors_of_another_length_are_refused() -> None:
    with pytest.raises(CalibrationError, match=f"vectors of {DIM} numbers"):
        fitted().statistics(np.ones((1, DIM + 1), np.float32))


def test_the_difference_of_stamps_is_said_in_words() -> None:
    assert STAMP.difference(STAMP) == ""
    assert "model" in STAMP.difference(replace(STAMP, checkpoint="d" * 12))
    assert "label encoder" in STAMP.difference(replace(STAMP, label_encoder="d" * 12))
    assert "m 3, not 16" in STAMP.difference(replace(STAMP, m=16))
