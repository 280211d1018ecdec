"""Label vectors, encoded once each and then remembered in memory and in the database."""

from collections.abc import Sequence

import numpy as np

from mkt_search.errors import StoreError, UnknownLabel
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.spelling import clean_label
from mkt_search.store.catalog import Catalog
from mkt_search.types import LabelEncoder, Vector

LABELS_PER_ENCODING = 1_000  # of a vocabulary, encoded and remembered together
STEP = "reading labels"


class LabelVectors:
    """The label vectors a library remembers. Only one thread may call `of` at a time."""

    def __init__(self, catalog: Catalog) -> None:
        """Remember in a library's catalog."""
        self._catalog = catalog
        self._known: dict[str, dict[str, Vector]] = {}  # by fingerprint of the encoder

    def of(self, labels: Sequence[str], encoder: LabelEncoder) -> Vector:
        """Return (L, D) unit vectors. Raises UnknownLabel."""
        labels = list(map(clean_label, labels))
        known = self._known.setdefault(encoder.fingerprint, {})
        new = [label for label in dict.fromkeys(labels) if label not in known]
        if new:
            known.update(self._remembered(encoder, new))
        return np.stack([known[label] for label in labels])

    def of_vocabulary(
        self, labels: Sequence[str], encoder: LabelEncoder, progress: ProgressCallback
    ) -> Vector:
        """Return (L, D) as `of` does, but encode in pieces and keep none of them in memory.

        Raises:
            UnknownLabel: names every unknown label of the vocabulary.
        """
        labels = list(map(clean_label, labels))
        vectors = np.empty((len(labels), encoder.dim), np.float32)
        for first in range(0, len(labels), LABELS_PER_ENCODING):
            progress(Progress(STEP, first, len(labels)))
            piece = labels[first : first + LABELS_PER_ENCODING]
            try:
                found = self._remembered(encoder, piece)
            except UnknownLabel:
                encoder.encode(labels)  # raises for every unknown label, not only for this piece's
                raise
            vectors[first : first + LABELS_PER_ENCODING] = [found[label] for label in piece]
        return vectors

    def _remembered(self, encoder: LabelEncoder, labels: Sequence[str]) -> dict[str, Vector]:
        """Return vectors from the catalog, encoding and remembering those it lacks."""
        size = 4 * encoder.dim  # bytes
        remembered = self._catalog.label_vectors(encoder.fingerprint, labels)
        known = {label: vector for label, vector in remembered.items() if len(vector) == size}
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
        """Remember vectors, unless the database cannot be written now: they only save time."""
        try:
            self._catalog.remember_label_vectors(encoder, made)
        except StoreError:
            pass
