"""Vectors of labels, each asked of a text tower once: memory and the database remember them."""

from collections.abc import Sequence

import numpy as np

from mkt_search.errors import StoreError, UnknownLabel
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.store.catalog import Catalog
from mkt_search.types import LabelEncoder, Vector

AT_ONCE = 1_000  # labels of a vocabulary that are encoded and remembered together
READING = "reading labels"


class LabelVectors:
    """What a library knows of labels. `of` is for one caller at a time."""

    def __init__(self, catalog: Catalog) -> None:
        """Remember by the database of a library."""
        self._catalog = catalog
        self._known: dict[str, dict[str, Vector]] = {}  # by fingerprint of the encoder

    def of(self, labels: Sequence[str], encoder: LabelEncoder) -> Vector:
        """Return (L, D) unit vectors. Raises UnknownLabel."""
        known = self._known.setdefault(encoder.fingerprint, {})
        new = [label for label in dict.fromkeys(labels) if label not in known]
        if new:
            known.update(self._remembered(encoder, new))
        return np.stack([known[label] for label in labels])

    def of_vocabulary(
        self, labels: Sequence[str], encoder: LabelEncoder, progress: ProgressCallback
    ) -> Vector:
        """Return (L, D) as `of` does, but put together in pieces and not kept in memory."""
        vectors = np.empty((len(labels), encoder.dim), np.float32)
        for first in range(0, len(labels), AT_ONCE):
            progress(Progress(READING, first, len(labels)))
            piece = labels[first : first + AT_ONCE]
            try:
                found = self._remembered(encoder, piece)
            except UnknownLabel:
                encoder.encode(labels)  # tells of every unknown label, not of this piece's alone
                raise
            vectors[first : first + AT_ONCE] = [found[label] for label in piece]
        return vectors

    def _remembered(self, encoder: LabelEncoder, labels: Sequence[str]) -> dict[str, Vector]:
        """Return vectors by way of the database."""
        known = self._catalog.label_vectors(encoder.fingerprint, labels)
        new = [label for label in labels if label not in known]
        if new:
            made = {
                label: vector.astype("<f4").tobytes()
                for label, vector in zip(new, encoder.encode(new), strict=True)
            }
            known |= made
            self._remember(encoder.fingerprint, made)
        return {label: np.frombuffer(known[label], "<f4").astype(np.float32) for label in labels}

    def _remember(self, encoder: str, made: dict[str, bytes]) -> None:
        """Keep vectors if the database takes them now; they are only a convenience."""
        try:
            self._catalog.remember_label_vectors(encoder, made)
        except StoreError:
            pass
