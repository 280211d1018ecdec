"""The file of a calibrator: `calibrator.npz`, in a checkpoint or in a library.

    vectors (R, 1 + m, D) int8, steps (R, 1 + m) float32   the reference photos
    counts (R, m) int64
    weights (F,), offset ()                                the logistic regression
    platt (2,)                                             that over the score alone: weight, offset
    x (K,), y (K,)                                         the corners of the curve
    meta ()                                                JSON: everything else

Everything is checked when it is read: the file is data, from wherever a checkpoint came.
"""

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.baselines import Baselines
from mkt_search.calibration.calibrator import Calibrator, Reference, Stamp
from mkt_search.calibration.features import NAMES
from mkt_search.calibration.isotonic import MAX_KNOTS, Isotonic
from mkt_search.calibration.logistic import Logistic
from mkt_search.calibration.quality import Quality, Reached
from mkt_search.errors import CalibrationError
from mkt_search.files import read_bytes, write_atomically
from mkt_search.store.segments.coding import decode, encode
from mkt_search.types import MAX_DIM, MAX_PATCHES, PatchVectors, Pooling, check_whole, is_finite

FILE = "calibrator.npz"
FORMAT = 1
MAX_BYTES = 500_000
MAX_REFERENCES = 1_000
MAX_TEXT = 200  # characters of a fingerprint
NONE = "There is no calibrator for this model. Make one with `mkt calibrate`."


def save(calibrator: Calibrator, path: Path) -> None:
    """Write a calibrator; replace the one that is there.

    Raises:
        CalibrationError: the file cannot be written.
    """
    codes, steps = encode(calibrator.reference.vectors, "int8")
    meta = {
        "format": FORMAT,
        "stamp": asdict(calibrator.stamp),
        "present_from": calibrator.present_from,
        "quality": asdict(calibrator.quality),
        "thresholds": [
            [asked, None if np.isinf(lowest) else lowest]
            for asked, lowest in calibrator.baselines.thresholds.items()
        ],
        "labels": calibrator.labels,
        "made_from": calibrator.made_from,
    }
    platt = calibrator.baselines.platt
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        vectors=codes.view(np.int8),
        steps=steps,
        counts=calibrator.reference.counts,
        weights=calibrator.logistic.weights,
        offset=np.float64(calibrator.logistic.offset),
        platt=np.append(platt.weights, platt.offset),
        x=calibrator.curve.x,
        y=calibrator.curve.y,
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
    )
    try:
        write_atomically(path, stream.getvalue())
    except OSError as error:
        raise CalibrationError(
            f"The calibrator {path} cannot be written ({error.strerror}); name another place."
        ) from error


@dataclass(frozen=True)
class Found:
    """The calibrator to use, or None and the reason with the way out.

    `is_unusable` says that there is a file, which is damaged or of other scores.
    """

    calibrator: Calibrator | None
    why: str = ""
    is_unusable: bool = False

    @property
    def can_tell(self) -> bool:
        """Whether there is a calibrator that can tell which photos show a label."""
        return self.calibrator is not None and not self.calibrator.quality.is_chance

    def needed(self) -> Calibrator:
        """Return the calibrator. Raises CalibrationError with the reason if there is none."""
        if self.calibrator is None:
            raise CalibrationError(self.why)
        return self.calibrator


def find(folders: Iterable[Path], difference: Callable[[Stamp], str]) -> Found:
    """Return the calibrator of some scores from the first folder that has one.

    Args:
        folders: a library, then its checkpoint.
        difference: says how the scores of a stamp differ from those at hand, or "".
    """
    reasons = []
    for folder in folders:
        path = folder / FILE
        if not path.is_file():
            continue
        try:
            calibrator = load(path)
        except CalibrationError as error:
            reasons.append(str(error))
            continue
        wrong = difference(calibrator.stamp)
        if not wrong:
            return Found(calibrator)
        reasons.append(
            f"The calibrator {path} does not fit: {wrong}. Make another with `mkt calibrate`."
        )
    if reasons:
        return Found(None, reasons[0], is_unusable=True)
    return Found(None, NONE)


def load(path: Path) -> Calibrator:
    """Read a calibrator. Raises CalibrationError if it is damaged or no calibrator at all."""
    try:
        data = read_bytes(path, at_most=MAX_BYTES)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > 4 * MAX_BYTES:
                raise ValueError("it is far larger unpacked")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return _calibrator({name: arrays[name] for name in arrays.files})
    except Exception as error:  # a damaged header raises nearly anything
        raise CalibrationError(
            f"The calibrator {path} cannot be read ({error}). Make it again with `mkt calibrate`, "
            "or delete it."
        ) from error


def _calibrator(arrays: Mapping[str, NDArray[Any]]) -> Calibrator:
    meta = json.loads(arrays["meta"].tobytes())
    if meta["format"] != FORMAT:
        raise ValueError(f"its format is {str(meta['format'])[:20]}, not {FORMAT}")
    labels = meta["labels"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("its labels are not a list of text")
    stamp = _stamp(meta["stamp"])
    weights = _numbers(arrays, "weights", (len(NAMES),))
    if (weights < 0).any():
        raise ValueError("a weight is negative")
    return Calibrator(
        stamp=stamp,
        reference=_reference(arrays, stamp),
        logistic=Logistic(weights, float(_numbers(arrays, "offset", ()))),
        curve=_curve(arrays),
        present_from=_share(meta["present_from"]),
        quality=_quality(meta["quality"]),
        baselines=_baselines(arrays, meta["thresholds"]),
        labels=tuple(labels),
        made_from=str(meta["made_from"]),
    )


def _stamp(data: Mapping[str, Any]) -> Stamp:
    if set(data) != {item.name for item in fields(Stamp)}:
        raise ValueError("its stamp is incomplete")
    for name, value in data.items():
        if name in ("m", "top_k"):
            check_whole(name, value, least=int(name == "top_k"), most=MAX_PATCHES)
        elif not isinstance(value, str) or len(value) > MAX_TEXT:
            raise ValueError(f"{name} is not text")
    if data["pooling"] not in get_args(Pooling):
        raise ValueError(f"there is no pooling {data['pooling'][:20]!r}")
    if data["patch_vectors"] not in get_args(PatchVectors):
        raise ValueError(f"there are no patch vectors {data['patch_vectors'][:20]!r}")
    return Stamp(**data)


def _reference(arrays: Mapping[str, NDArray[Any]], stamp: Stamp) -> Reference:
    codes = arrays["vectors"]
    if codes.dtype != np.int8 or codes.ndim != 3:
        raise ValueError(f"its vectors are {codes.dtype} {codes.shape}")
    photos, vectors, dim = codes.shape
    if not (0 < photos <= MAX_REFERENCES and vectors == 1 + stamp.m and 0 < dim <= MAX_DIM):
        raise ValueError(f"its vectors have the shape {codes.shape}")
    steps = _numbers(arrays, "steps", (photos, vectors)).astype(np.float32)
    counts = arrays["counts"]
    if counts.dtype != np.int64 or counts.shape != (photos, stamp.m):
        raise ValueError(f"its counts are {counts.dtype} {counts.shape}")
    if len(counts) and (counts.min(initial=0) < 0 or counts.max(initial=0) > MAX_PATCHES):
        raise ValueError("its counts are out of range")
    return Reference(decode(codes.view(np.uint8), steps, "int8", dim), counts)


def _baselines(arrays: Mapping[str, NDArray[Any]], thresholds: Any) -> Baselines:
    weight, offset = _numbers(arrays, "platt", (2,))
    lowest = {}
    for asked, score in thresholds:
        _number_or_none(score)
        lowest[_share(asked)] = np.inf if score is None else float(score)
    return Baselines(Logistic(np.array([weight]), float(offset)), lowest)


def _curve(arrays: Mapping[str, NDArray[Any]]) -> Isotonic:
    corners = arrays["x"].size
    if not 0 < corners <= MAX_KNOTS:
        raise ValueError(f"its curve has {corners} corners")
    x, y = (_numbers(arrays, name, (corners,)) for name in "xy")
    if (np.diff(x) <= 0).any() or (np.diff(y) < 0).any() or y[0] < 0 or y[-1] > 1:
        raise ValueError("its curve falls, or leaves 0 to 1")
    return Isotonic(x, y)


def _numbers(
    arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    found = arrays[name]
    if found.dtype.kind != "f" or found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"{name} are not finite numbers of the shape {shape}")
    return found.astype(np.float64)


def _quality(data: Mapping[str, Any]) -> Quality:
    rest = {name: value for name, value in data.items() if name != "reached"}
    for name in ("labels", "photos"):
        check_whole(name, rest[name], least=0, most=1 << 40)
    for name in set(rest) - {"labels", "photos"}:
        _number_or_none(rest[name])
    reached = {}
    for asked, found in data["reached"].items():
        for value in found.values():
            _number_or_none(value)
        reached[_share(float(asked))] = Reached(**found)
    return Quality(**rest, reached=reached)


def _number_or_none(value: object) -> None:
    if value is not None and not is_finite(value):
        raise ValueError("its quality is not a number")


def _share(value: object) -> float:
    if not is_finite(value) or not 0 <= value <= 1:  # type: ignore[operator]
        raise ValueError("a share is not between 0 and 1")
    return float(value)  # type: ignore[arg-type]
