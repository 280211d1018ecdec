"""The nouns that pass between modules: plain frozen data, no behaviour beyond what derives from it.

Imports nothing of the project and nothing heavier than numpy.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
"""Any float32 array; its shape is said by whoever takes or gives it."""

Pooling = Literal["cover", "topk", "all"]
Precision = Literal["fp16", "int8", "int4"]
"""Of stored vectors; pooled ones are made in int8 or int4, every patch in fp16."""
Resize = Literal["squash", "crop"]
Source = Literal["auto", "human", "imported"]


@dataclass(frozen=True)
class ImageSpec:
    """What a student wants to see: pixels of (height, width), scaled by mean and std (RGB, 0..1).

    `squash` shows the whole photo, its aspect changed; `crop` scales the shorter side to fit and
    keeps the centre, as CLIP was trained. A `crop` with `shorter_side` scales that side to so many
    pixels first and then keeps the centre, both as torchvision's Resize and CenterCrop do: for
    students whose published results came from these.
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize: Resize = "squash"
    shorter_side: int | None = None

    def __post_init__(self) -> None:
        if self.shorter_side is None:
            return
        if self.resize != "crop" or self.shorter_side < max(self.height, self.width):
            raise ValueError(
                f"shorter_side {self.shorter_side} goes with a crop that is not larger, not with a"
                f" {self.resize} of {self.height} x {self.width}"
            )

    @property
    def decode_side(self) -> int | None:
        """How far decoding may reduce a photo's shorter side; None: every pixel is wanted."""
        return max(self.height, self.width) if self.shorter_side is None else None

    def as_key(self) -> dict[str, object]:
        """Every field that decides a pixel, for fingerprints; one left unset does not count."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Box:
    """A rectangle in an upright photo; edges as fractions of its width and height, in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class PhotoFile:
    """A file the walk found. `path` is relative to `root`, "/"-separated, always storable text."""

    root: Path
    path: str
    absolute: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class PhotoFacts:
    """What the file says of itself; width and height are those of the upright image, in pixels."""

    width: int
    height: int
    format: str
    orientation: int = 1
    taken_at: datetime | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None


@dataclass(frozen=True)
class Encoded:
    """Vectors of a batch from the student, unscaled float32.

    `global_vectors` (B, D); `patches` (B, P, D) in row order of the encoder's grid.
    """

    global_vectors: Vector
    patches: Vector


@dataclass(frozen=True)
class PhotoVectors:
    """Pooled vectors of n photos, scaled so that a score is a plain inner product.

    `global_vectors` (n, D) and `local_vectors` (n, m, D) float32; `members` (n, m, P) bool marks
    the patches whose mean each local vector is. A local vector without members is padding.
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
    """All that decides what a stored vector is: two photos compare only under the same encoding."""

    checkpoint: str
    dim: int
    grid: tuple[int, int]
    pooling: Pooling
    m: int
    top_k: int
    precision: Precision
    dtype: str = "float32"

    @property
    def patches(self) -> int:
        """P, the number of patches the student gives for a photo."""
        return self.grid[0] * self.grid[1]

    @property
    def fingerprint(self) -> str:
        """12 hex digits over every field, the same on every machine."""
        text = json.dumps(self.as_settings(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def as_settings(self) -> dict[str, Any]:
        """Return the JSON that the database stores, and whose digest every segment has.

        `pooling` is stored as `local`, its earlier name, and `scale` and `vocabulary`, which were
        fields, as constants: otherwise the fingerprints of existing libraries would change.
        """
        settings = asdict(self)
        return settings | {"local": settings.pop("pooling"), "scale": "cosine", "vocabulary": ""}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Undo `as_settings`; `scale` and `vocabulary` are ignored."""
        known = {f.name: settings[f.name] for f in fields(cls) if f.name in settings}
        return cls(**{**known, "pooling": settings["local"], "grid": tuple(settings["grid"])})


@dataclass(frozen=True)
class ModelRecord:
    """What a library records of its model, so that a search need not open it.

    `stamp` identifies the model's files at the time (see `models.record.model_stamp`),
    `label_encoder` is the fingerprint of its label encoder, `image` what its student sees.
    """

    stamp: str
    label_encoder: str
    image: ImageSpec


class LabelEncoder(Protocol):
    """label -> vector. Two implementations: a CLIP text tower and a table of known vectors."""

    @property
    def dim(self) -> int:
        """D, the length of a label vector."""

    @property
    def fingerprint(self) -> str:
        """A short content hash: under the same one, the same labels have the same vectors."""

    def encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32. Raises UnknownLabel.

        Each row has length 1, or about 1 where a checkpoint keeps its text tower's own lengths.
        """


@dataclass(frozen=True)
class Term:
    """One part of a query: a label or a photo, and how much it counts (negative: unwanted)."""

    label: str | None = None
    photo: Path | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Filters:
    """Conditions on photos, all of which must hold; None asks for nothing."""

    path: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    tag: str | None = None
    camera: str | None = None
    min_width: int | None = None
    min_height: int | None = None

    @property
    def is_empty(self) -> bool:
        """True when no condition is set."""
        return self == Filters()


@dataclass(frozen=True)
class Hit:
    """A photo with its score and the reason for it.

    `score` = `global_part` + `local_part` (for several terms: their weighted sums). `boxes` are the
    patches that made the local part of the strongest positive term; `copies` are the paths of
    other photos with the very same bytes.
    """

    photo_id: int
    path: Path
    score: float
    global_part: float
    local_part: float
    boxes: tuple[Box, ...] = ()
    copies: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Tag:
    """A label on a photo; `score` is None for tags a person set."""

    path: Path
    label: str
    score: float | None
    source: Source
    run: int | None = None


@dataclass(frozen=True)
class Summary:
    """What a run over photos did, counted; `reasons` counts failures by their reason."""

    indexed: int = 0
    unchanged: int = 0
    renamed: int = 0
    duplicates: int = 0
    failed: int = 0
    missing: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class RepairSummary:
    """What a repair did.

    `segments` damaged segments were removed and `encoded` photos encoded again; `failed` can no
    longer be read, `missing` have no file any more, `away` are in a folder that does not exist now.
    `candidate_index` is True if the candidate index was damaged and was rebuilt.
    """

    candidate_index: bool = False
    segments: int = 0
    encoded: int = 0
    failed: int = 0
    missing: int = 0
    away: int = 0
    seconds: float = 0.0
