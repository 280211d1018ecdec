"""What judgements of hits teach of a label: a step of its vector, and an offset of p."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.calibration.feedback import (
    DEFAULT,
    JudgedPhotos,
    Strength,
    best_offset,
    learn,
    like_the_label,
    shifted,
)
from mkt_search.scoring import score
from tests.calibration.made import STAMP, draw, fitted

CALIBRATOR = fitted()
REFERENCE = CALIBRATOR.reference
LABELED, Z = draw(1)
LABEL = Z[0]
K = STAMP.top_k
PROBABILITIES = st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=20)


def scores(vector: np.ndarray, rows: np.ndarray) -> np.ndarray:
    photos = LABELED.at(rows)
    vectors, counts = photos.vectors, photos.counts
    return score(vector[None], vectors[:, 0], vectors[:, 1:], counts, k=K).fused[:, 0]


def judged(rows: np.ndarray, is_yes: np.ndarray) -> JudgedPhotos:
    photos = LABELED.at(rows)
    return JudgedPhotos(photos.vectors, photos.counts, is_yes)


def truth(rows: np.ndarray) -> np.ndarray:
    return LABELED.targets[rows, 0] > 0


def test_without_judgements_nothing_changes() -> None:
    rows = np.empty(0, np.int64)
    for calibrator in (None, CALIBRATOR):
        found = learn(LABEL, judged(rows, truth(rows)), REFERENCE, calibrator, k=K)
        assert found.vector is LABEL and found.offset == 0


@pytest.mark.parametrize("calibrator", [None, CALIBRATOR], ids=["without", "with calibrator"])
def test_photos_like_those_with_a_yes_rise_and_those_with_a_no_fall(calibrator) -> None:
    rows = np.argsort(-scores(LABEL, np.arange(200)))[:10]
    before = scores(LABEL, rows)
    is_yes = np.arange(10) % 2 == 0
    found = learn(LABEL, judged(rows, is_yes), REFERENCE, calibrator, k=K)
    change = scores(found.vector, rows) - before
    assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-5)
    assert change[is_yes].mean() > change[~is_yes].mean()


def test_what_was_expected_teaches_little() -> None:
    rows = np.argsort(-scores(LABEL, np.arange(200)))[:5]
    expected = learn(LABEL, judged(rows, np.ones(5, bool)), REFERENCE, CALIBRATOR, k=K)
    surprise = learn(LABEL, judged(rows, np.zeros(5, bool)), REFERENCE, CALIBRATOR, k=K)
    assert expected.vector @ LABEL > 0.999 > surprise.vector @ LABEL
    assert abs(expected.offset) < 0.1 < -surprise.offset


def test_a_calibrator_at_chance_gives_no_offset() -> None:
    rows = np.arange(8)
    chance = replace(CALIBRATOR, quality=replace(CALIBRATOR.quality, auroc=0.5))
    with_it = learn(LABEL, judged(rows, truth(rows)), REFERENCE, chance, k=K)
    without = learn(LABEL, judged(rows, truth(rows)), REFERENCE, None, k=K)
    assert with_it.offset == 0
    np.testing.assert_array_equal(with_it.vector, without.vector)


def test_judgements_of_no_strength_change_nothing() -> None:
    rows = np.arange(8)
    none = Strength(step=0, offset_variance=0)
    found = learn(LABEL, judged(rows, truth(rows)), REFERENCE, CALIBRATOR, k=K, strength=none)
    np.testing.assert_allclose(found.vector, LABEL, atol=1e-6)
    assert found.offset == 0


@settings(max_examples=50, deadline=None)
@given(PROBABILITIES)
def test_an_offset_is_where_its_prior_and_the_answers_balance(
    answers: list[tuple[float, bool]],
) -> None:
    p = np.clip(np.array([one for one, _ in answers], float), 0.005, 0.995)
    is_yes = np.array([answer for _, answer in answers], bool)
    offset = best_offset(p, is_yes, DEFAULT.offset_variance)
    pull = offset / DEFAULT.offset_variance
    assert (is_yes - shifted(p, offset)).sum() == pytest.approx(pull, abs=1e-6)
    assert abs(offset) <= len(answers) * DEFAULT.offset_variance
    more = best_offset(np.append(p, 0.5), np.append(is_yes, True), DEFAULT.offset_variance)
    assert more > offset


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=10), st.floats(-5, 5))
def test_an_offset_keeps_the_order_of_p_and_can_be_taken_off(p: list[float], offset: float) -> None:
    rising = np.sort(np.array(p))
    found = shifted(rising, offset)
    assert (np.diff(found) >= 0).all() and ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(shifted(found, -offset), rising, atol=1e-9)


def test_scores_of_a_new_vector_have_the_mean_and_spread_of_the_label() -> None:
    label, other = (CALIBRATOR.statistics(z[None]) for z in Z[:2])
    assert like_the_label(other.mean, other, label) == pytest.approx(label.mean)
    assert like_the_label(other.mean + other.spread, other, label) == pytest.approx(
        label.mean + label.spread
    )
