"""Fitting a calibrator, on labels whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from mkt_search.calibration.fit import Fold, Labeled, Part, fit, fit_on_folds
from mkt_search.calibration.quality import measure
from mkt_search.errors import CalibrationError
from mkt_search.scoring import score
from tests.calibration.made import LABELS, NAMES, PHOTOS, STAMP, draw, fitted


def test_probabilities_of_labels_never_fitted_are_near_the_truth() -> None:
    quality = fitted().quality
    assert quality.ece < 0.02
    reached = quality.reached[0.8]
    assert reached.precision == pytest.approx(0.8, abs=0.1)
    assert quality.auroc is not None and quality.auroc > 0.9 and not quality.is_chance


def test_scores_without_meaning_are_known_to_be_chance() -> None:
    quality = fitted(strength=0.0).quality
    assert quality.is_chance
    assert quality.reached[0.9].answered == 0


def test_for_one_label_p_never_falls_while_the_score_rises() -> None:
    calibrator = fitted()
    _, z = draw()
    rising = np.linspace(-1, 1, 200, dtype=np.float32)[:, None].repeat(len(z), axis=1)
    p = calibrator.probabilities(rising, calibrator.statistics(z))
    assert (np.diff(p, axis=0) >= 0).all()
    assert p.min() >= 0 and p.max() <= 1


def test_fitting_again_gives_the_same() -> None:
    one, other = fitted(), fitted()
    assert one.curve.y.tolist() == other.curve.y.tolist()
    assert one.labels == other.labels


def test_pairs_of_unknown_truth_take_no_part() -> None:
    labeled, z = draw()
    half = labeled.targets.copy()
    half[::2, 3] = 0
    wrong = half.copy()
    found = fit(replace(labeled, targets=half), NAMES, z, STAMP)
    assert np.isfinite(found.quality.ece)
    wrong[:, 3] = 0  # a label of which nothing is known
    assert NAMES[3] not in fit(replace(labeled, targets=wrong), NAMES, z, STAMP).labels


@pytest.mark.parametrize(("photos", "labels", "why"), [(10, 16, "photos"), (400, 1, "labels")])
def test_too_few_photos_or_labels_are_refused(photos: int, labels: int, why: str) -> None:
    labeled, z = draw(photos=photos, labels=labels)
    with pytest.raises(CalibrationError, match=f"{why} are too few"):
        fit(labeled, NAMES[:labels], z, STAMP)


def folds_of(shift: float, photos: int = PHOTOS) -> list[Fold]:
    """Return folds of students that score all labels otherwise than the model, held-out ones less.

    `shift` is how much the part of a label in its photos lacks if it is held out.
    """
    found = []
    for number in range(2):
        held = NAMES[number * LABELS // 2 : (number + 1) * LABELS // 2]
        strength = np.where(np.isin(NAMES, held), 1.0 - shift, 1.0)
        labeled, z = draw(number + 1, strength=strength, photos=photos)
        found.append(Fold(Part(labeled, NAMES, z), held))
    return found


def own(strength: float = 1.0) -> Part:
    labeled, z = draw(strength=strength)
    return Part(labeled, NAMES, z)


def test_the_level_of_scores_is_the_model_s_own_and_not_that_of_folds() -> None:
    weak, strong = (fit_on_folds(own(s), folds_of(0.0), STAMP) for s in (1.0, 2.0))
    for calibrator, strength in ((weak, 1.0), (strong, 2.0)):
        labeled, z = draw(7, strength=strength)
        vectors = labeled.vectors
        scores = score(z, vectors[:, 0], vectors[:, 1:], labeled.counts, k=STAMP.top_k).fused
        p = calibrator.probabilities(scores, calibrator.statistics(z))
        found = measure(p, labeled.targets, present_from=0.5).reached[0.8]
        assert found.precision is not None and 0.65 < found.precision <= 1


def test_labels_held_out_decide_what_the_score_of_a_new_label_is_worth() -> None:
    same, less = (fit_on_folds(own(), folds_of(shift), STAMP) for shift in (0.0, 0.9))
    assert less.quality.reached[0.5].recall < same.quality.reached[0.5].recall / 2
    assert less.curve.y[-1] < same.curve.y[-1]
    assert set(same.labels) == set(NAMES)


def test_too_few_labels_held_out_are_refused() -> None:
    one = folds_of(0.0)[0]
    with pytest.raises(CalibrationError, match="labels are too few"):
        fit_on_folds(own(), [one], STAMP)
    with pytest.raises(CalibrationError, match="too few"):
        fit_on_folds(own(), [replace(one, held_out=NAMES)], STAMP)


def test_scores_that_are_not_finite_are_refused() -> None:
    labeled, z = draw()
    vectors = labeled.vectors.copy()
    vectors[:, 0, 0] = np.nan
    with pytest.raises(CalibrationError, match="not finite"), np.errstate(invalid="ignore"):
        fit(Labeled(vectors, labeled.counts, labeled.targets), NAMES, z, STAMP)


def test_every_patch_of_a_photo_is_too_much_for_a_calibrator() -> None:
    labeled, z = draw()
    wide = np.repeat(labeled.vectors, 300, axis=1)
    counts = np.ones((len(wide), wide.shape[1] - 1), np.int64)
    with pytest.raises(CalibrationError, match="Pool"):
        fit(Labeled(wide, counts, labeled.targets), NAMES, z, STAMP)


def test_a_score_that_is_not_a_number_has_no_probability() -> None:
    calibrator = fitted()
    _, z = draw()
    with pytest.raises(CalibrationError, match="finite"):
        calibrator.probabilities(np.full((2, len(z)), np.nan, np.float32), calibrator.statistics(z))


def test_the_lowest_score_of_a_probability_has_it_and_those_below_have_not() -> None:
    calibrator = fitted()
    labeled, z = draw(1)
    statistics = calibrator.statistics(z)
    vectors = labeled.vectors
    scores = score(z, vectors[:, 0], vectors[:, 1:], labeled.counts, k=STAMP.top_k).fused
    p = calibrator.probabilities(scores, statistics)
    for asked in (0.0, 0.05, 0.5, 0.9):
        lowest = calibrator.lowest_scores(np.full(len(z), asked), statistics)
        differs = (scores >= lowest) != (p >= asked)
        assert (np.abs(scores - lowest)[differs] < 1e-5).all()
    assert np.isinf(calibrator.lowest_scores(np.full(len(z), 1.1), statistics)).all()
