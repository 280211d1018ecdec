"""The data that passes between rooms: frozen dataclasses and the `LabelEncoder` protocol.

Imports nothing of the project and nothing heavier than numpy.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import QueryError

Vector = NDArray[np.float32]
"""A float32 array; the docstring of each function states the shape."""

Pooling = Literal["cover", "topk", "all"]
Precision = Literal["fp16", "int8", "int4"]
"""Of stored vectors: int8 or int4 if pooled, fp16 if every patch is stored."""
PatchVectors = Literal["kk", "value", "own"]
"""Of a CLIP: its last attention's values, near and alike ones averaged (kk) or each alone (value);
or what the model itself gives for a patch (own), also for every trained student."""
DEFAULT_PATCH_VECTORS: PatchVectors = "kk"
Resize = Literal["squash", "crop"]
Source = Literal["auto", "human", "imported"]
LEVEL = "|"
"""Separates the levels of a hierarchy, as other programs for photos write it: `animal|dog`."""
DateSource = Literal["exif", "xmp", "gps", "name", "mtime"]
"""Where a photo's date comes from; the last two are the name and the time of the file."""


MAX_DIM = 16_384  # D of any model
MAX_PATCHES = 65_536  # P of any photo
MAX_SIDE = 4_096  # pixels of a student's input
EQUAL_SHARES = 0.5  # of the local stream in the score: that of the paper


def check_whole(name: str, value: object, *, least: int, most: int) -> None:
    """Raise ValueError unless a value is a whole number within limits."""
    if type(value) is not int or not least <= value <= most:
        shown = str(value) if not isinstance(value, int) or abs(value) < 10**18 else "a long number"
        raise ValueError(
            f"{name} must be a whole number from {least:,} to {most:,}, not {shown[:40]}"
        )


def is_finite(value: object) -> bool:
    """Return True for a number that is neither NaN nor infinite."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # type: ignore[arg-type]


def check_grid(grid: tuple[object, object]) -> None:
    """Raise ValueError unless rows and columns of patches are within limits."""
    rows, columns = grid
    for name, value in (("rows of patches", rows), ("columns of patches", columns)):
        check_whole(name, value, least=1, most=MAX_PATCHES)
    assert isinstance(rows, int) and isinstance(columns, int)
    check_whole("patches", rows * columns, least=1, most=MAX_PATCHES)


@dataclass(frozen=True)
class ImageSpec:
    """A student's input: (height, width) in pixels, and mean and std per RGB channel on [0, 1].

    `squash` resizes the whole photo and changes its aspect; `crop` scales the photo to fill the
    input and keeps the center, as CLIP was trained. A `crop` with `shorter_side` scales the shorter
    side to that many pixels and then crops the center, exactly as torchvision's Resize and
    CenterCrop, for students whose published results used these.

    Raises:
        ValueError: a value is out of range, or `shorter_side` comes without `crop` or is smaller
            than the crop.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Resize = "squash"
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            check_whole(name, getattr(self, name), least=1, most=MAX_SIDE)
        for values in (self.mean, self.std):
            if len(values) != 3 or not all(is_finite(value) for value in values):
                raise ValueError("mean and std must be three numbers each")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be {' or '.join(get_args(Resize))}")
        if self.shorter_side is None:
            return
        check_whole("shorter_side", self.shorter_side, least=1, most=MAX_SIDE)
        if self.resize != "crop" or self.shorter_side < max(self.height, self.width):
            raise ValueError(
                f"shorter_side {self.shorter_side} needs a crop no larger than that, not a"
                f" {self.resize} of {self.height} x {self.width}"
            )

    @property
    def decode_side(self) -> int | None:
        """The shorter side to which decoding may reduce a photo; None if it needs every pixel."""
        return max(self.height, self.width) if self.shorter_side is None else None

    def as_key(self) -> dict[str, object]:
        """Return the fields that affect a pixel, for fingerprints; without fields that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Box:
    """A rectangle in an upright photo; edges are fractions of its width and height, in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class PhotoFile:
    """A photo file. `path` is relative to `root`, as text from `path_to_text`; `size` in bytes."""

    root: Path
    path: str
    absolute: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that indexing does not take, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PhotoFacts:
    """Facts from the file itself; width and height are of the upright photo, in pixels.

    `taken_at` is a local time without a zone; `date_source` says where it comes from.
    """

    width: int
    height: int
    format: str
    orientation: int = 1
    taken_at: datetime | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    date_source: DateSource | None = None


@dataclass(frozen=True)
class Encoded:
    """Vectors of a batch from the student, unscaled float32.

    `global_vectors` (B, D); `patches` (B, P, D) in row order of the encoder's grid; `local_share`
    is the weight of the local stream in the student's score, between 0 and 1.
    """

    global_vectors: Vector
    patches: Vector
    local_share: float = EQUAL_SHARES

    def only(self, rows: slice) -> "Encoded":
        """Return some rows of the batch."""
        return Encoded(self.global_vectors[rows], self.patches[rows], self.local_share)

    @classmethod
    def join(cls, batches: "Sequence[Encoded]") -> "Encoded":
        """Return batches of the same student as one."""
        return cls(
            np.concatenate([batch.global_vectors for batch in batches]),
            np.concatenate([batch.patches for batch in batches]),
            batches[0].local_share,
        )


@dataclass(frozen=True)
class PhotoVectors:
    """Pooled vectors of n photos, scaled so that a score is a plain inner product.

    `global_vectors` (n, D) and `local_vectors` (n, m, D) float32; `members` (n, m, P) bool marks
    the patches whose mean each local vector is. A local vector without members is padding.

    If one of them is a panorama of V views, `members` is (n, m, V P), one view after the other. A
    local vector of a panorama has members in one view, and is their mean, plus the global vector of
    that view, less the global vector of the photo.
    """

    global_vectors: Vector
    local_vectors: Vector
    members: NDArray[np.bool_]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n, m): the number of patches of each local vector; 0 for padding."""
        counts: NDArray[np.int64] = self.members.sum(axis=-1)
        return counts

    def __len__(self) -> int:
        return len(self.global_vectors)


@dataclass(frozen=True)
class Encoding:
    """All that determines a stored vector; only vectors of the same encoding can be compared.

    `decoder` is the version of `photos/` that decoded the photos, and `patch_vectors` the form of
    patch vectors that were pooled; 1 and "own" where none was recorded.
    """

    checkpoint: str
    dim: int
    grid: tuple[int, int]
    pooling: Pooling
    m: int
    top_k: int
    precision: Precision
    dtype: str = "float32"
    decoder: int = 1
    patch_vectors: PatchVectors = "own"

    @property
    def patches(self) -> int:
        """P, the number of patches of a photo."""
        return self.grid[0] * self.grid[1]

    @property
    def fingerprint(self) -> str:
        """12 hex digits over every field; the same on every machine."""
        text = json.dumps(self.as_settings(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def as_settings(self) -> dict[str, Any]:
        """Return the JSON that the database stores, and whose digest every segment has.

        `pooling` is stored as `local`, its earlier name, and `scale` and `vocabulary`, which were
        fields, as constants, and the first `decoder` and a model's own `patch_vectors` not at all:
        otherwise the fingerprints of existing libraries would change.
        """
        settings = asdict(self)
        if self.decoder == 1:
            del settings["decoder"]
        if self.patch_vectors == "own":
            del settings["patch_vectors"]
        return settings | {"local": settings.pop("pooling"), "scale": "cosine", "vocabulary": ""}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Undo `as_settings`; `scale` and `vocabulary` are ignored.

        Raises:
            KeyError, TypeError, ValueError: the settings are incomplete or impossible.
        """
        known = {f.name: settings[f.name] for f in fields(cls) if f.name in settings}
        rows, columns = settings["grid"]
        found = cls(**{**known, "pooling": settings["local"], "grid": (rows, columns)})
        for name, most in (("dim", MAX_DIM), ("m", MAX_PATCHES), ("top_k", MAX_PATCHES)):
            check_whole(name, getattr(found, name), least=int(name != "m"), most=most)
        check_grid(found.grid)
        for name in ("checkpoint", "pooling", "precision", "dtype"):
            if not isinstance(getattr(found, name), str):
                raise TypeError(f"{name} is not text")
        if found.precision not in get_args(Precision):
            raise ValueError(f"there is no precision {found.precision[:40]!r}")
        if found.patch_vectors not in get_args(PatchVectors):
            raise ValueError(f"there are no patch vectors {str(found.patch_vectors)[:40]!r}")
        return found


@dataclass(frozen=True)
class ModelRecord:
    """Facts that a library records about its model, so that a search need not open it.

    `stamp` identifies the model's files at that time (see `models.record.model_stamp`),
    `label_encoder` is the fingerprint of its label encoder, `image` the input of its student.
    """

    stamp: str
    label_encoder: str
    image: ImageSpec


class LabelEncoder(Protocol):
    """Encodes labels: `PromptedTextEncoder` with a text tower, `LabelTable` by lookup."""

    @property
    def dim(self) -> int:
        """D, the length of a label vector."""

    @property
    def fingerprint(self) -> str:
        """A content hash; encoders with equal fingerprints give equal vectors."""

    def encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32.

        Each row has length 1, or near 1 if a checkpoint keeps the lengths of its text tower.

        Raises:
            UnknownLabel: the table does not have a label.
            ModelError: a label is too long for the text tower.
        """


@dataclass(frozen=True)
class Term:
    """One part of a query: a label or a photo, and its weight; negative for an unwanted one."""

    label: str | None = None
    photo: Path | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Filters:
    """Conditions on photos; all must hold, None is no condition.

    Raises:
        QueryError: no photo can be taken between the dates.
    """

    path: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    tag: str | None = None
    camera: str | None = None
    min_width: int | None = None
    min_height: int | None = None

    def __post_init__(self) -> None:
        if self.after and self.before and self.after >= self.before:
            raise QueryError(
                f"No photo was taken on {self.after:%Y-%m-%d} or later and before "
                f"{self.before:%Y-%m-%d}; name a later end, or an earlier beginning."
            )

    @property
    def is_empty(self) -> bool:
        """True if no condition is set."""
        return self == Filters()


NO_FILTERS = Filters()


@dataclass(frozen=True)
class Hit:
    """A photo that a search found.

    `score` = `global_part` + `local_part` (for several terms: weighted sums). `boxes` are the
    patches behind the local part of the positive term with the largest weight; `copies` are the
    paths of other photos with the same bytes. `taken_at` and `date_source` are as in `PhotoFacts`.
    `p` is the probability that the photo shows all that is wanted and nothing unwanted; it is None
    without a calibrator.
    """

    photo_id: int
    path: Path
    score: float
    global_part: float
    local_part: float
    boxes: tuple[Box, ...] = ()
    copies: tuple[Path, ...] = ()
    taken_at: datetime | None = None
    date_source: DateSource | None = None
    p: float | None = None


@dataclass(frozen=True)
class Tag:
    """A label on a photo; `score` is None for tags set by a person.

    `parents` are those of the label in `labels.toml`, from the topmost down. `is_missing` is True
    if the file was gone, or another picture had its name, when the library last looked. `p` is the
    probability that the photo shows the label, as it was when a run set the tag; it is None for
    tags of persons, and where there was no calibrator.
    """

    path: Path
    label: str
    score: float | None
    source: Source
    run: int | None = None
    is_missing: bool = False
    parents: tuple[str, ...] = ()
    p: float | None = None

    @property
    def hierarchy(self) -> str:
        """The label below its parents, such as `animal|dog`."""
        return LEVEL.join((*self.parents, self.label))


@dataclass(frozen=True)
class Refusal:
    """A label that a person removed from a photo; no run sets it there. The time is UTC.

    `is_missing` is as for a tag.
    """

    path: Path
    label: str
    refused_at: datetime
    is_missing: bool = False


@dataclass(frozen=True)
class Judgement:
    """A person's answer whether a photo shows a label; searches for the label follow it.

    `person` gave it at `judged_at` (UTC), by the scores of the checkpoint with the fingerprint
    `model`. `is_missing` is as for a tag.
    """

    path: Path
    label: str
    is_yes: bool
    judged_at: datetime
    person: str
    model: str
    is_missing: bool = False


@dataclass(frozen=True)
class Feedback:
    """What the judgements for a label come to in searches for it.

    `yes` and `no` count pictures, and `used` those of them that the library has vectors of. The
    label vector was turned by `turned` degrees; `offset` was added to the logit of p, None where
    hits have no p.
    """

    label: str
    yes: int
    no: int
    used: int
    turned: float
    offset: float | None


@dataclass(frozen=True)
class Summary:
    """Counts of photos by what an index run did; `skipped` and `reasons` count by reason.

    `replaced` pictures that a person tagged have gone because other pictures took their paths.
    """

    indexed: int = 0
    unchanged: int = 0
    renamed: int = 0
    duplicates: int = 0
    failed: int = 0
    missing: int = 0
    replaced: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class EncodeReport:
    """What a worker did.

    `photos` were read, and `failed` of them could not be, for the `reasons`; `gone` ones were not
    there. `skipped` shards were done before, and another worker encodes the `busy` ones.
    """

    shards: int = 0
    photos: int = 0
    failed: int = 0
    gone: int = 0
    skipped: int = 0
    busy: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass
class ImportReport:
    """What an import did.

    `shards` were read, `missing` ones are not done yet; of the photos, `indexed` are found from now
    on, `unchanged` ones the library had as they are, or as they were seen later; `damaged` are
    sentences about shards that could not be read.
    """

    shards: int = 0
    missing: int = 0
    indexed: int = 0
    unchanged: int = 0
    failed: int = 0
    damaged: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class RepairSummary:
    """Counts of a repair.

    `segments` damaged segments were removed and `encoded` photos encoded again; `failed` photos can
    no longer be read, `missing` have no file any more, `away` are in a folder that does not exist
    now. `candidate_index` is True if the candidate index was damaged and was rebuilt, `rows` if
    damaged rows of the database were made again. `unsolved` problems are left.
    """

    candidate_index: bool = False
    segments: int = 0
    encoded: int = 0
    failed: int = 0
    missing: int = 0
    away: int = 0
    seconds: float = 0.0
    rows: bool = False
    unsolved: int = 0
