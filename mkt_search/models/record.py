"""Use a model without opening it: what a library recorded of it holds while its files are the same.

Reading a text tower takes seconds and torch; comparing a stamp takes a few file names and sizes.
"""

import hashlib
import json
import os
import stat
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mkt_search.errors import ModelError
from mkt_search.models import checkpoint
from mkt_search.models.build import Model, locate, open_model
from mkt_search.types import Encoding, ImageSpec, LabelEncoder, ModelRecord

if TYPE_CHECKING:
    from mkt_search.models.encoder import TwoStream

STAMP_VERSION = 1
"""Part of every stamp; raise it when a fingerprint of a model is computed in another way."""


def model_stamp(spec: str | Path) -> str:
    """Return 16 hex digits that change when a file of a model changes; cheap, opens no weights.

    A checkpoint: the bytes of its `meta.json`, the size and time of its files and of an external
    text tower. NAME/FILE and an open_clip folder: the size and time of the file. NAME/TAG: the
    name. A file that is missing counts as well.
    """
    place = locate(spec)
    folder = Path(place).expanduser()
    if checkpoint.is_checkpoint(folder):
        parts = _checkpoint_parts(folder)
    elif (folder / checkpoint.CLIP_CONFIG).is_file():
        parts = _clip_folder_parts(folder)
    else:
        model, _, weights = place.partition("/")
        parts = [model, _file_state(Path(weights).expanduser()) or weights]
    text = json.dumps([STAMP_VERSION, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def record_of(model: Model, *, stamp: str) -> ModelRecord | None:
    """Return what to record of a model; None for one without a usable label encoder.

    Args:
        model: the model.
        stamp: its stamp from before it was opened, so that a file replaced since is noticed.
    """
    try:
        return ModelRecord(stamp, model.label_fingerprint, model.image)
    except ModelError:
        return None


def open_recorded(name: str, encoding: Encoding, record: ModelRecord | None) -> Model:
    """Return a model by name; one whose files are those recorded is not opened before it must be.

    Args:
        name: as `open_model` takes it.
        encoding: of the vectors that the recorded model made.
        record: of that model, if there is one.

    Raises:
        ModelError: there is no such model.
    """
    if record is not None and model_stamp(name) == record.stamp:
        return RecordedModel(name, encoding, record)
    return open_model(name)


class RecordedModel(Model):
    """A model as a library recorded it; opened when an encoder is asked for."""

    def __init__(self, name: str, encoding: Encoding, record: ModelRecord) -> None:
        super().__init__(name)
        self._encoding = encoding
        self._record = record

    @property
    def fingerprint(self) -> str:
        """12 hex digits over what decides a photo's vectors."""
        return self._encoding.checkpoint

    @property
    def image(self) -> ImageSpec:
        """The pixels that the student wants."""
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
        """How many patches the local score is the mean of."""
        return self.opened.top_k

    @cached_property
    def opened(self) -> Model:
        """The model itself."""
        return open_model(self.name)

    def student(self) -> "TwoStream":
        """Build the student, in float32 on the CPU."""
        return self.opened.student()

    def label_encoder(self) -> LabelEncoder:
        """Return the label encoder; the same one every time."""
        return self.opened.label_encoder()


def _checkpoint_parts(folder: Path) -> list[object]:
    meta = checkpoint.read_meta(folder)
    text = (folder / checkpoint.META).read_text(encoding="utf-8")
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
    """Size in bytes and time of change in ns; None when there is no such file."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return (about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else None
