"""Label vectors, encoded once each and then remembered in memory and in the database."""

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter

import numpy as np

from mkt_search.errors import StoreError, UnknownLabel
from mkt_search.models.label_file import LabelFile
from mkt_search.models.vocabulary import about_labels
from mkt_search.progress import Progress, ProgressCallback
from mkt_search.scoring import unit
from mkt_search.spelling import clean_label
from mkt_search.store.catalog import Catalog
from mkt_search.types import LabelEncoder, Vector

LABELS_PER_ENCODING = 1_000  # of a vocabulary, encoded and remembered together
STEP = "reading labels"


class LabelVectors:
    """The label vectors a library remembers. Only one thread may call `of` at a time.

    Remembered is the vector of a text under the fingerprint of an encoder, templates included. The
    mean over a label's phrases is not, so no change of phrases or templates leaves an old vector in
    use.

    Args:
        catalog: remembers them.
        file: the phrases of labels.
    """

    def __init__(self, catalog: Catalog, file: LabelFile | None = None) -> None:
        self._catalog = catalog
        self._file = file or LabelFile()
        self._known: dict[str, dict[str, Vector]] = {}  # by fingerprint of the encoder

    def of(self, labels: Sequence[str], encoder: LabelEncoder) -> Vector:
        """Return (L, D) unit vectors. Raises UnknownLabel."""
        known = self._known.setdefault(encoder.fingerprint, {})

        def vectors_of(texts: Sequence[str]) -> Vector:
            new = [text for text in dict.fromkeys(texts) if text not in known]
            if new:
                known.update(self._remembered(encoder, new))
            return np.stack([known[text] for text in texts])

        return self._file.vectors(list(map(clean_label, labels)), vectors_of)

    def of_vocabulary(
        self, labels: Sequence[str], encoder: LabelEncoder, progress: ProgressCallback
    ) -> Vector:
        """Return (L, D) as `of` does, but encode in pieces and keep none of them in memory.

        Phrases of the vocabulary count for labels to which `labels.toml` gives none.

        Raises:
            UnknownLabel: names every unknown label of the vocabulary.
        """

        def vectors_of(texts: Sequence[str]) -> Vector:
            found = self._remembered(encoder, texts)
            return np.stack([found[text] for text in texts])

        file = about_labels(labels, self._file)
        labels = list(map(clean_label, labels))
        vectors = np.empty((len(labels), encoder.dim), np.float32)
        for first in range(0, len(labels), LABELS_PER_ENCODING):
            progress(Progress(STEP, first, len(labels)))
            piece = labels[first : first + LABELS_PER_ENCODING]
            try:
                vectors[first : first + LABELS_PER_ENCODING] = file.vectors(piece, vectors_of)
            except UnknownLabel:
                file.vectors(labels, encoder.encode)  # names every unknown label
                raise
        return vectors

    def known(
        self, labels: Sequence[str], encoder: LabelEncoder, progress: ProgressCallback
    ) -> tuple[list[str], Vector]:
        """Return those labels of a vocabulary that an encoder knows, and their vectors (L, D).

        If it does not know all, labels that the library remembers come with them.
        """
        try:
            return list(labels), self.of_vocabulary(labels, encoder, progress)
        except UnknownLabel as error:
            unknown = error.labels
        file = about_labels(labels, self._file)
        known = [label for label in labels if unknown.isdisjoint(file.texts(clean_label(label)))]
        vectors = self.of_vocabulary(known, encoder, progress)
        texts, remembered = self._all_remembered(encoder)
        is_new = np.array([text not in set(known) for text in texts], np.bool_)
        known += [text for text, new in zip(texts, is_new, strict=True) if new]
        return known, np.concatenate([vectors, remembered[is_new]])

    def _all_remembered(self, encoder: LabelEncoder) -> tuple[list[str], Vector]:
        """Return at most `LABELS_PER_ENCODING` remembered texts and their unit vectors."""
        found = islice(self._catalog.remembered_labels(encoder.fingerprint), LABELS_PER_ENCODING)
        return _sound(found, encoder.dim)

    def nearest(self, label: Vector, encoder: LabelEncoder, count: int) -> list[tuple[str, Vector]]:
        """Return the remembered texts most like a label, the most alike first.

        Args:
            label: (D,), a unit vector.
            encoder: what made the vectors.
            count: how many at most.

        Returns:
            Each text with its unit vector (D,).
        """
        remembered = self._catalog.remembered_labels(encoder.fingerprint)
        best: list[tuple[float, str, Vector]] = []
        while piece := list(islice(remembered, LABELS_PER_ENCODING)):
            texts, vectors = _sound(piece, encoder.dim)
            found = zip((vectors @ label).tolist(), texts, vectors, strict=True)
            best = heapq.nlargest(count, [*best, *found], key=itemgetter(0))
        return [(text, vector) for _, text, vector in best]

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


def _sound(remembered: Iterable[tuple[str, bytes]], dim: int) -> tuple[list[str], Vector]:
    """Return texts and their unit vectors (n, D), without those of another length."""
    sound = [(text, data) for text, data in remembered if len(data) == 4 * dim]
    vectors = np.frombuffer(b"".join(data for _, data in sound), "<f4").astype(np.float32)
    return [text for text, _ in sound], unit(vectors.reshape(-1, dim))
