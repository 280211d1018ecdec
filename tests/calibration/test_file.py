"""The file of a calibrator."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkt_search.calibration.calibrator import Stamp
from mkt_search.calibration.file import FILE, MAX_BYTES, find, load, save
from mkt_search.errors import CalibrationError
from tests.calibration.made import STAMP, draw, fitted


def of(stamp: Stamp) -> Callable[[Stamp], str]:
    """Return what compares the stamp of a calibrator with that of the scores."""
    return lambda found: found.difference(stamp)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the file of a calibrator."""
    save(fitted(), tmp_path / FILE)
    return tmp_path / FILE


def changed(path: Path, **arrays: Any) -> None:
    """Replace arrays of a calibrator's file."""
    with np.load(path) as found:
        kept = {name: found[name] for name in found.files}
    np.savez_compressed(path, **{**kept, **arrays})


def test_a_calibrator_that_was_saved_gives_the_same_probabilities(saved: Path) -> None:
    before, after = fitted(), load(saved)
    _, z = draw()
    scores = np.linspace(-1, 1, 50, dtype=np.float32)[:, None].repeat(len(z), axis=1)
    assert np.array_equal(
        before.probabilities(scores, before.statistics(z)),
        after.probabilities(scores, after.statistics(z)),
    )
    assert (after.stamp, after.quality, after.labels) == (
        before.stamp,
        before.quality,
        before.labels,
    )
    assert after.baselines.thresholds == before.baselines.thresholds
    assert after.baselines.platt.offset == before.baselines.platt.offset
    assert saved.stat().st_size < MAX_BYTES


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.array([1.0, 0.0]), "y": np.array([0.0, 1.0])},
        {"x": np.array([0.0, 1.0]), "y": np.array([0.5, 2.0])},
        {"x": np.array([0.0, np.nan]), "y": np.array([0.5, 0.6])},
        {"weights": np.array([-1.0, 1.0])},
        {"weights": np.array([1.0])},
        {"platt": np.array([np.nan, 0.0])},
        {"counts": np.zeros((1, 1), np.int64)},
        {"steps": np.zeros(3, np.float32)},
        {"vectors": np.zeros((2, 2, 2), np.float32)},
        {"meta": np.frombuffer(b"[]", np.uint8)},
        {"meta": np.array([{"format": 1}], dtype=object)},
    ],
    ids=lambda arrays: "-".join(arrays),
)
def test_a_file_with_other_arrays_is_refused(saved: Path, arrays: dict[str, Any]) -> None:
    changed(saved, **arrays)
    with pytest.raises(CalibrationError, match="cannot be read"):
        load(saved)


@pytest.mark.parametrize(("name", "value"), [("pooling", "mean"), ("patch_vectors", "none")])
def test_a_stamp_of_no_pooling_is_refused(saved: Path, name: str, value: str) -> None:
    with np.load(saved) as found:
        meta = json.loads(found["meta"].tobytes())
    stamp = {**meta["stamp"], name: value}
    changed(saved, meta=np.frombuffer(json.dumps({**meta, "stamp": stamp}).encode(), np.uint8))
    with pytest.raises(CalibrationError, match=value):
        load(saved)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04" + bytes(100)])
def test_bytes_that_are_no_archive_are_refused(saved: Path, data: bytes) -> None:
    saved.write_bytes(data)
    with pytest.raises(CalibrationError, match="cannot be read"):
        load(saved)


def test_a_file_of_a_later_format_is_refused(saved: Path) -> None:
    with np.load(saved) as found:
        meta = json.loads(found["meta"].tobytes())
    changed(saved, meta=np.frombuffer(json.dumps({**meta, "format": 2}).encode(), np.uint8))
    with pytest.raises(CalibrationError, match="format"):
        load(saved)


def test_a_damaged_file_is_refused_or_says_the_same(saved: Path) -> None:
    data = saved.read_bytes()
    for at in range(0, len(data), len(data) // 40):
        saved.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            load(saved)
        except CalibrationError:
            continue


def test_the_first_folder_with_a_fitting_calibrator_gives_it(saved: Path) -> None:
    other = saved.parent / "other"
    other.mkdir()
    assert find([other, saved.parent], of(STAMP)).calibrator is not None
    missing = find([other], of(STAMP))
    assert missing.calibrator is None and "no calibrator" in missing.why
    assert not missing.is_unusable


def test_a_calibrator_of_another_model_is_not_used(saved: Path) -> None:
    found = find([saved.parent], of(replace(STAMP, checkpoint="d" * 12)))
    assert found.calibrator is None and "does not fit" in found.why


def test_a_damaged_calibrator_is_not_used_and_the_reason_is_kept(saved: Path) -> None:
    saved.write_bytes(b"damaged")
    found = find([saved.parent], of(STAMP))
    assert found.calibrator is None and found.is_unusable and "mkt calibrate" in found.why
