"""Measure probabilities on photos and labels that nothing was fitted on."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mkt_search import Library
from mkt_search.calibration.baselines import CALIBRATOR, ORACLE, PLATT, THRESHOLD
from mkt_search.calibration.calibrator import Calibrator, Reference
from mkt_search.calibration.file import FILE, save
from mkt_search.errors import CalibrationError, EvaluationError
from tests.calibration.made import calibrator_of
from tests.labeled import record_training
from tests.tiny import LABELS, SIDE, tiny_checkpoint

PHOTOS = 110


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a library of some photos of noise, all of them with labels in turn."""
    home = tmp_path_factory.mktemp("made")
    (home / "photos").mkdir()
    rng = np.random.default_rng(0)
    shown = {}
    for number in range(PHOTOS):
        name = f"{number:03}.png"
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        Image.fromarray(pixels).save(home / "photos" / name)
        shown[name] = [LABELS[number % len(LABELS)]]
    (home / "labels.json").write_text(json.dumps(shown))
    with Library.create(home) as library:
        library.index(home / "photos", model=tiny_checkpoint(home / "student"))
    return home


@pytest.fixture
def library(made: Path) -> Iterator[Library]:
    """Open it with a calibrator of other photos, which "red" had a part in."""
    record_training(made / "student", seen=[], unseen=[])
    with Library.open(made) as library:
        own = calibrator_of(library)
        others = Reference(own.reference.vectors[:, ::-1] * -1, own.reference.counts)
        keep(library, replace(own, reference=others))
        yield library


def keep(library: Library, calibrator: Calibrator) -> None:
    save(calibrator, library.directory / FILE)


def data(home: Path) -> dict[str, str]:
    return {"photos": str(home / "photos"), "labels": str(home / "labels.json")}


def test_labels_that_the_calibrator_saw_are_left_out_and_named(
    made: Path, library: Library
) -> None:
    report = library.evaluate_calibration(only="all", **data(made))  # type: ignore[arg-type]
    assert set(report.labels) == {*LABELS} - {"red"} and report.photos == PHOTOS
    assert any("1 label that a calibrator was fitted on: red" in note for note in report.notes)
    assert not any("reference photos" in note for note in report.notes)
    [entry] = report.entries
    assert list(entry.methods) == [CALIBRATOR, PLATT, ORACLE, THRESHOLD]
    assert entry.methods[THRESHOLD].quality is None
    assert sum(one.pairs for one in entry.methods[CALIBRATOR].reliability) == PHOTOS * 11


def test_random_weights_are_said_to_be_chance(made: Path, library: Library) -> None:
    report = library.evaluate_calibration(only="all", **data(made))  # type: ignore[arg-type]
    assert any("cannot tell" in note for note in report.notes)


def test_photos_that_the_calibrator_was_fitted_on_are_recognized(
    made: Path, library: Library
) -> None:
    keep(library, calibrator_of(library))
    report = library.evaluate_calibration(only="all", **data(made))  # type: ignore[arg-type]
    assert any(f"{PHOTOS} of the {PHOTOS} reference photos" in note for note in report.notes)


def test_labels_that_the_model_was_trained_on_are_left_out(made: Path, library: Library) -> None:
    record_training(made / "student", seen=list(LABELS[:6]), unseen=[])
    student = made / "student"  # opened again
    with pytest.raises(EvaluationError, match=r"6 labels that neither .* --leave-out"):
        library.evaluate_calibration(student, only="all", **data(made))  # type: ignore[arg-type]


def test_a_file_names_the_labels_to_test(made: Path, library: Library) -> None:
    (made / "unseen.txt").write_text("\n".join(LABELS[1:11]))
    given = {**data(made), "unseen": str(made / "unseen.txt")}
    report = library.evaluate_calibration(only="all", **given)  # type: ignore[arg-type]
    assert set(report.labels) == {*LABELS[1:11]}


def test_too_few_photos_are_refused(made: Path, library: Library) -> None:
    with pytest.raises(EvaluationError, match=r"11 photos \(test\) are too few .* --only all"):
        library.evaluate_calibration(**data(made))  # type: ignore[arg-type]


def test_without_a_calibrator_that_fits_the_way_out_is_named(made: Path, library: Library) -> None:
    keep(library, calibrator_of(library, stamp={"checkpoint": "d" * 12}))
    with pytest.raises(CalibrationError, match=r"does not fit: .* `mkt calibrate`"):
        library.evaluate_calibration(**data(made))  # type: ignore[arg-type]
    (library.directory / FILE).unlink()
    with pytest.raises(CalibrationError, match="no calibrator for this model"):
        library.evaluate_calibration(made / "student", **data(made))  # type: ignore[arg-type]


def test_the_calibrator_of_a_checkpoint_serves_where_the_library_has_none(
    made: Path, library: Library
) -> None:
    (library.directory / FILE).rename(made / "student" / FILE)
    try:
        for models in ((), made / "student"):
            report = library.evaluate_calibration(models, only="all", **data(made))  # type: ignore[arg-type]
            assert [entry.model for entry in report.entries] == ["student"]
    finally:
        (made / "student" / FILE).unlink()
