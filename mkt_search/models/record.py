"""Use a model without opening it, from the facts a library recorded while its files are unchanged.

Loading a text tower takes torch and seconds; comparing a stamp takes a few file names and sizes.
"""

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mkt_search.errors import ModelError
from mkt_search.files import read_text
from mkt_search.models import checkpoint
from mkt_search.models.build import Model, locate, open_model, takes_templates
from mkt_search.models.templates import templates_fingerprint
from mkt_search.types import (
    DEFAULT_PATCH_VECTORS,
    Encoding,
    ImageSpec,
    LabelEncoder,
    ModelRecord,
    PatchVectors,
    Vector,
)

if TYPE_CHECKING:
    from mkt_search.models.encoder import TwoStream

STAMP_VERSION = 1
"""Part of every stamp; increase it when the computation of a model's fingerprints changes."""


def model_stamp(spec: str | Path) -> str:
    """Return 16 hex digits that change when a file of a model changes, without opening weights.

    Covers, for a checkpoint: the bytes of `meta.json`, and size and modification time of its files
    and of an external text tower; for NAME/FILE and an open_clip folder: size and modification
    time of the file; for NAME/TAG: the name. A missing file changes the stamp too.
    """
    path = locate(spec)
    folder = Path(path).expanduser()
    if checkpoint.is_checkpoint(folder):
        parts = _checkpoint_parts(folder)
    elif (folder / checkpoint.CLIP_CONFIG).is_file():
        parts = _clip_folder_parts(folder)
    else:
        model, _, weights = path.partition("/")
        parts = [model, _file_state(Path(weights).expanduser()) or weights]
    text = json.dumps([STAMP_VERSION, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_of(model: Model, *, stamp: str) -> ModelRecord | None:
    """Return the facts to record about a model; None if it has no usable label encoder.

    Args:
        model: the model.
        stamp: its stamp from before it was opened, so a file replaced in between is noticed.
    """
    try:
        return ModelRecord(stamp, model.label_fingerprint, model.image)
    except ModelError:
        return None


def open_recorded(name: str, encoding: Encoding, record: ModelRecord | None) -> Model:
    """Return a model by name; if its files match the record, open it only when it is needed.

    Args:
        name: as for `open_model`.
        encoding: the encoding of the vectors that the recorded model made.
        record: the record of that model, if there is one.

    Raises:
        ModelError: there is no such model.
    """
    if record is not None and model_stamp(name) == record.stamp:
        return RecordedModel(name, encoding, record)
    return open_model(name)


class RecordedModel(Model):
    """A model known from its record; it is opened when an encoder is needed."""

    def __init__(self, name: str, encoding: Encoding, record: ModelRecord) -> None:
        super().__init__(name)
        self._encoding = encoding
        self._record = record

    @property
    def fingerprint(self) -> str:
        """12 hex digits over all that affects a photo's vectors."""
        return self._encoding.checkpoint

    @property
    def image(self) -> ImageSpec:
        """The student's input pixels."""
        return self._record.image

    @property
    def dim(self) -> int:
        """D, the length of every vector."""
        return self._encoding.dim

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self._encoding.grid

    @property
    def label_fingerprint(self) -> str:
        """The fingerprint of the label encoder."""
        return self._record.label_encoder

    @property
    def top_k(self) -> int:
        """The number of best patches that the local score averages."""
        return self.opened.top_k

    @property
    def local_share(self) -> float:
        """The weight of the local stream in the score, between 0 and 1."""
        return self.opened.local_share

    @cached_property
    def opened(self) -> Model:
        """The model itself."""
        return open_model(self.name)

    @property
    def why_own(self) -> str:
        """Why the model gives only its own patch vectors; "" if it gives every form of them."""
        return self.opened.why_own

    def patch_vectors(self, wanted: PatchVectors) -> PatchVectors:
        """Return the form that the model gives if `wanted` is asked for."""
        is_recorded = wanted in ("own", self._encoding.patch_vectors)
        return wanted if is_recorded else self.opened.patch_vectors(wanted)

    def student(self, patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS) -> "TwoStream":
        """Build the student in float32 on the CPU."""
        return self.opened.student(patch_vectors)

    def label_encoder(self, templates: Sequence[str] = ()) -> LabelEncoder:
        """Return a label encoder that opens the model's own when a label must be encoded."""
        return RecordedLabelEncoder(self, templates if takes_templates(self.name) else ())


class RecordedLabelEncoder:
    """The label encoder of a recorded model: known by its fingerprint, opened to encode."""

    def __init__(self, model: RecordedModel, templates: Sequence[str]) -> None:
        self._model = model
        self._templates = templates

    @property
    def dim(self) -> int:
        """D, the length of a label vector."""
        return self._model.dim

    @property
    def fingerprint(self) -> str:
        """A short content hash: under the same one, the same labels have the same vectors."""
        plain = self._model.label_fingerprint
        return templates_fingerprint(plain, self._templates) if self._templates else plain

    def encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32. Raises ModelError, UnknownLabel."""
        return self._model.opened.label_encoder(self._templates).encode(labels)


def _checkpoint_parts(folder: Path) -> list[object]:
    meta = checkpoint.read_meta(folder)
    text = read_text(folder / checkpoint.META, ModelError, at_most=checkpoint.MAX_META)
    parts: list[object] = [text, *(_file_state(folder / name) for name in sorted(meta.files))]
    prompt = meta.prompt
    if prompt is not None and prompt.weights:
        parts.append(_file_state(folder / prompt.weights))  # None for a tag of open_clip
    elif prompt is not None:
        parts += _clip_folder_parts(folder / prompt.model)
    return parts


def _clip_folder_parts(folder: Path) -> list[object]:
    files = (folder / checkpoint.CLIP_CONFIG, folder / checkpoint.CLIP_WEIGHTS)
    return [_file_state(file) for file in files]


def _file_state(path: Path) -> tuple[int, int] | None:
    """Return size in bytes and modification time in ns; None if there is no such file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None
