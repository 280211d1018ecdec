"""Encode and pool a batch of photos, with a student that is built when the first one comes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import CheckpointMismatch, MktError, ModelError
from mkt_search.models.build import Model
from mkt_search.models.record import open_recorded
from mkt_search.models.views import Views, encode_views
from mkt_search.store.manifest import StoredEncoding
from mkt_search.types import (
    DEFAULT_PATCH_VECTORS,
    Encoded,
    Encoding,
    ImageSpec,
    PatchVectors,
    PhotoVectors,
)

if TYPE_CHECKING:
    from mkt_search.models.encoder import Dtype, PhotoEncoder


class Encoder(Protocol):
    """What the pipeline needs of a student; `PhotoEncoder` and `LazyEncoder` have it."""

    @property
    def spec(self) -> ImageSpec:
        """The pixels that the student wants."""

    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        """Encode pixels (B, H, W, 3) uint8 RGB."""


class LazyEncoder:
    """The photo encoder of a model, built when it is first used: torch takes seconds to load."""

    def __init__(
        self,
        model: Model,
        *,
        device: str = "auto",
        dtype: "Dtype" = "auto",
        patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS,
    ) -> None:
        self._model = model
        self._patch_vectors = patch_vectors
        self._device = device
        self._wanted_dtype: Dtype = dtype
        self._built: PhotoEncoder | None = None

    @property
    def spec(self) -> ImageSpec:
        """The pixels that the student wants."""
        return self._model.image

    @property
    def dtype(self) -> str:
        """Number format of the student; "auto" is decided when it is built."""
        return self.build().dtype if self._wanted_dtype == "auto" else self._wanted_dtype

    @property
    def is_built(self) -> bool:
        """True once the student is loaded."""
        return self._built is not None

    def build(self) -> "PhotoEncoder":
        """Return the photo encoder; build it at the first call. Raises ModelError."""
        if self._built is None:
            self._built = self._model.photo_encoder(
                device=self._device, dtype=self._wanted_dtype, patch_vectors=self._patch_vectors
            )
        return self._built

    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        """Encode pixels (B, H, W, 3) uint8 RGB."""
        return self.build().encode(pixels)


def reopened(stored: StoredEncoding, name: str, *, device: str = "auto") -> LazyEncoder:
    """Return the encoder of stored vectors, built.

    Args:
        stored: the encoding of the vectors.
        name: a checkpoint folder or open_clip name.
        device: where the student runs.

    Raises:
        CheckpointMismatch: `name` is another model than that of the vectors.
        ModelError: there is no such model, or it cannot be used.
    """
    model = open_recorded(name, stored.encoding, stored.record)
    if model.fingerprint != stored.encoding.checkpoint:
        raise CheckpointMismatch(
            f"the library was made with checkpoint {stored.encoding.checkpoint} "
            f"({stored.model}), but {model.name} is {model.fingerprint}; name the first with "
            "--model"
        )
    encoder = LazyEncoder(
        model,
        device=device,
        dtype=cast("Dtype", stored.encoding.dtype),
        patch_vectors=stored.encoding.patch_vectors,
    )
    encoder.build()
    return encoder


def encode_batch(
    encoder: Encoder,
    photos: Sequence[Views],
    encoding: Encoding,
    *,
    files: Sequence[Path],
) -> PhotoVectors | None:
    """Encode photos and pool their patches; None for no photos.

    Args:
        encoder: the student.
        photos: the views of each, as `encoder.spec` wants them.
        encoding: how patches are pooled.
        files: where they are from, for messages.

    Raises:
        ModelError: the student failed, or gave vectors that are not finite.
    """
    if not photos:
        return None
    from mkt_search.pooling.pool import pool  # imports torch

    try:
        encoded = encode_views(encoder, photos)  # (V, D), (V, P, D) for V views of all photos
    except MktError:
        raise
    except Exception as problem:
        raise ModelError(
            f"the student failed on {len(photos)} photos, the first of them {files[0]}: {problem}. "
            "What was committed before is kept. If memory ran out, try a smaller --batch-size; "
            "otherwise --device cpu or --dtype float32."
        ) from problem
    return pool(encoded, encoding, views=[len(views) for views in photos])
