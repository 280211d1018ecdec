"""What the calibrator knows of a score."""

import numpy as np
import pytest

from mkt_search.calibration.features import MIN_SPREAD, LabelStatistics, features
from mkt_search.scoring import StreamScores


def test_a_score_is_also_told_in_spreads_of_its_label() -> None:
    over = np.array([[0.1, 0.3], [0.3, 0.3]], np.float32)
    statistics = LabelStatistics.of(StreamScores(over, np.zeros_like(over)))
    assert statistics.mean == pytest.approx([0.2, 0.3])
    assert statistics.spread == pytest.approx([0.1, MIN_SPREAD])
    found = features(np.array([[0.4, 0.3]], np.float32), statistics)
    assert found[0, 0] == pytest.approx([0.4, 2.0])
    assert found[0, 1] == pytest.approx([0.3, 0.0], abs=1e-4)
