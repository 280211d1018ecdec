"""Calibrate the model of a library on labeled photos."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mkt_search import Library
from mkt_search.calibration.file import FILE, load
from mkt_search.errors import CalibrationError
from mkt_search.progress import Progress
from tests.labeled import record_training
from tests.tiny import LABELS, SIDE, tiny_checkpoint

PHOTOS = 110


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a library, and photos of noise with labels in turn."""
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


def data(home: Path) -> dict[str, str]:
    return {"photos": str(home / "photos"), "labels": str(home / "labels.json")}


def test_a_library_gets_a_calibrator_that_its_hits_have_probabilities_by(made: Path) -> None:
    with Library.open(made) as library:
        found = library.calibrate(**data(made), leave_out=["snow"])  # type: ignore[arg-type]
        assert "snow" not in found.labels and len(found.labels) == len(LABELS) - 1
        assert found.quality.is_chance  # random weights know nothing
        used = library.calibrator()
        assert used is not None and used.stamp == load(library.directory / FILE).stamp
        assert all(0 <= (hit.p or 0) <= 1 for hit in library.search("snow"))
        assert library.search("snow", precision=0.9) == []


def test_labels_trained_on_are_taken_only_if_there_are_too_few_others(made: Path) -> None:
    record_training(made / "student", seen=list(LABELS[:2]), unseen=[])
    said: list[Progress] = []
    with Library.open(made) as library:
        found = library.calibrate(**data(made), progress=said.append)  # type: ignore[arg-type]
    assert set(found.labels) == set(LABELS[2:])
    record_training(made / "student", seen=list(LABELS[:8]), unseen=[])
    with Library.open(made) as library:
        found = library.calibrate(**data(made), progress=said.append)  # type: ignore[arg-type]
    assert set(found.labels) == set(LABELS)
    assert any("may be too high" in event.message for event in said)


def test_too_few_photos_are_refused_and_the_old_calibrator_stays(made: Path) -> None:
    few = made / "few.json"
    shown = json.loads((made / "labels.json").read_text())
    few.write_text(json.dumps(dict(list(shown.items())[:50])))
    with Library.open(made) as library:
        library.calibrate(**data(made))  # type: ignore[arg-type]
        before = (library.directory / FILE).read_bytes()
        with pytest.raises(CalibrationError, match="too few"):
            library.calibrate(photos=str(made / "photos"), labels=str(few))
        assert (library.directory / FILE).read_bytes() == before


def test_tags_are_learned_from_without_reading_a_photo(made: Path) -> None:
    shown = json.loads((made / "labels.json").read_text())
    with Library.open(made) as library:
        tag(library, made, shown)
        for name in shown:
            (made / "photos" / name).rename(made / "photos" / f"away {name}")
        found = library.calibrate(from_tags=True, leave_out=["SNOW"])
        for name in shown:
            (made / "photos" / f"away {name}").rename(made / "photos" / name)
        assert set(found.labels) == {*LABELS} - {"snow"} and "tags" in found.made_from
        assert all(hit.p is not None for hit in library.search("snow"))


def test_photos_without_a_word_have_no_part(made: Path) -> None:
    shown = json.loads((made / "labels.json").read_text())
    with Library.open(made) as library:
        tag(library, made, shown)
        before = library.calibrate(from_tags=True)
        rng = np.random.default_rng(1)
        for number in range(5):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(made / "photos" / f"new {number}.png")
        library.index()
        library.tag([*LABELS], top=1)  # tags of runs are no words of a person
        after = library.calibrate(from_tags=True)
    assert after.logistic.offset == before.logistic.offset
    assert after.quality == before.quality


def test_too_few_tags_are_refused_with_what_is_missing(own_library: Path) -> None:
    with Library.open(own_library) as library:
        with pytest.raises(CalibrationError, match=r"0 photos .* 0 labels"):
            library.calibrate(from_tags=True)
        library.add_tag([hit.path for hit in library.search("red", k=4)], "red")
        with pytest.raises(CalibrationError, match=r"4 photos \(100 .* 1 label .* is on"):
            library.calibrate(from_tags=True)
        assert library.calibrator() is None


def test_tags_and_labeled_photos_exclude_each_other(own_library: Path) -> None:
    with Library.open(own_library) as library, pytest.raises(CalibrationError, match="leave out"):
        library.calibrate(from_tags=True, photos="labeled")


def tag(library: Library, home: Path, shown: dict[str, list[str]]) -> None:
    """Set the labels of photos by hand."""
    for label in LABELS:
        named = [home / "photos" / name for name, labels in shown.items() if label in labels]
        library.add_tag(named, label)
