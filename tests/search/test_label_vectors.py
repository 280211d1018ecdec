"""Label vectors: each is encoded once, and remembered by the library."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mkt_search.errors import LibraryLocked, UnknownLabel
from mkt_search.models.label_file import LabelFile
from mkt_search.progress import Progress, no_progress
from mkt_search.scoring import unit
from mkt_search.search.label_vectors import LABELS_PER_ENCODING, STEP, LabelVectors
from mkt_search.store.catalog import Catalog
from mkt_search.store.store import Store
from mkt_search.types import Vector


class CountingEncoder:
    """A label encoder that keeps what it was asked for; labels with a "?" are unknown."""

    dim = 4

    def __init__(self, fingerprint: str = "one") -> None:
        self.fingerprint = fingerprint
        self.encoded: list[str] = []

    def encode(self, labels: Sequence[str]) -> Vector:
        unknown = [label for label in labels if "?" in label]
        if unknown:
            raise UnknownLabel(", ".join(unknown), frozenset(unknown))
        self.encoded += labels
        return np.stack([vector_of(label) for label in labels])


def vector_of(label: str) -> Vector:
    rng = np.random.default_rng(list(label.encode()))
    return rng.standard_normal(CountingEncoder.dim).astype(np.float32)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    store = Store.create(tmp_path / ".mkt")
    yield store.catalog
    store.close()


def test_a_label_is_encoded_once(catalog: Catalog) -> None:
    encoder, vectors = CountingEncoder(), LabelVectors(catalog)
    first = vectors.of(["dog", "cat", "dog"], encoder)
    np.testing.assert_array_equal(first, [vector_of("dog"), vector_of("cat"), vector_of("dog")])
    vectors.of(["cat", "bird"], encoder)
    assert encoder.encoded == ["dog", "cat", "bird"]


def test_a_label_is_encoded_without_what_cannot_be_seen_but_with_its_capitals(
    catalog: Catalog,
) -> None:
    encoder, vectors = CountingEncoder(), LabelVectors(catalog)
    vectors.of(["Apple", "Apple\u200b", " apple"], encoder)
    vectors.of_vocabulary(["Apple\u00a0", "Cafe\u0301"], encoder, no_progress)
    assert encoder.encoded == ["Apple", "apple", "Café"]


def test_another_process_reads_it_from_the_database(catalog: Catalog) -> None:
    LabelVectors(catalog).of(["dog"], CountingEncoder())
    encoder = CountingEncoder()
    found = LabelVectors(catalog).of(["dog"], encoder)
    np.testing.assert_array_equal(found, [vector_of("dog")])
    assert encoder.encoded == []


def test_another_encoder_has_vectors_of_its_own(catalog: Catalog) -> None:
    vectors, other = LabelVectors(catalog), CountingEncoder("other")
    vectors.of(["dog"], CountingEncoder())
    vectors.of(["dog"], other)
    assert other.encoded == ["dog"]


def test_a_change_of_phrases_leaves_no_old_vector_in_use(catalog: Catalog) -> None:
    encoder = CountingEncoder()
    plain = LabelVectors(catalog).of(["crane"], encoder)
    file = LabelFile({"crane": ("tower crane", "gru")})
    described = LabelVectors(catalog, file).of(["crane", "dog"], encoder)
    expected = file.vectors(["crane", "dog"], lambda texts: np.stack([*map(vector_of, texts)]))
    np.testing.assert_allclose(described, expected, atol=1e-6)
    np.testing.assert_array_equal(
        LabelVectors(catalog, file).of_vocabulary(["crane", "dog"], encoder, no_progress), described
    )
    np.testing.assert_array_equal(LabelVectors(catalog).of(["crane"], encoder), plain)
    assert encoder.encoded == ["crane", "tower crane", "gru", "dog"]


def test_a_phrase_that_the_table_lacks_is_named(catalog: Catalog) -> None:
    vectors = LabelVectors(catalog, LabelFile({"crane": ("gru?",)}))
    with pytest.raises(UnknownLabel, match=r"gru\?"):
        vectors.of(["crane"], CountingEncoder())
    with pytest.raises(UnknownLabel, match=r"gru\?"):
        vectors.of_vocabulary(["dog", "crane"], CountingEncoder(), no_progress)


def test_a_vocabulary_is_encoded_in_pieces(catalog: Catalog) -> None:
    labels = [f"label {number}" for number in range(LABELS_PER_ENCODING + 2)]
    encoder, vectors, events = CountingEncoder(), LabelVectors(catalog), list[Progress]()
    found = vectors.of_vocabulary(labels, encoder, events.append)
    np.testing.assert_array_equal(found, [vector_of(label) for label in labels])
    assert [(e.step, e.done, e.total) for e in events] == [
        (STEP, 0, len(labels)),
        (STEP, LABELS_PER_ENCODING, len(labels)),
    ]
    vectors.of_vocabulary(labels, encoder, no_progress)
    assert encoder.encoded == labels


def test_every_unknown_label_of_a_vocabulary_is_named(catalog: Catalog) -> None:
    labels = ["first?", *map(str, range(LABELS_PER_ENCODING)), "last?"]
    with pytest.raises(UnknownLabel, match=r"first\?, last\?"):
        LabelVectors(catalog).of_vocabulary(labels, CountingEncoder(), no_progress)


def test_a_vocabulary_that_is_known_is_known_whole(catalog: Catalog) -> None:
    labels, found = LabelVectors(catalog).known(["dog", "cat"], CountingEncoder(), no_progress)
    assert labels == ["dog", "cat"]
    np.testing.assert_array_equal(found, [vector_of("dog"), vector_of("cat")])


def test_of_a_vocabulary_what_is_unknown_is_left_out_and_what_is_remembered_comes_too(
    catalog: Catalog,
) -> None:
    encoder, file = CountingEncoder(), LabelFile({"crane": ("gru?",)})
    vectors = LabelVectors(catalog, file)
    vectors.of(["red kite", "dog"], encoder)
    labels, found = vectors.known(["dog", "lynx?", "crane", "cat"], encoder, no_progress)
    assert labels == ["dog", "cat", "red kite"]
    expected = [vector_of("dog"), vector_of("cat"), unit(vector_of("red kite"))]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_locked_database_is_no_reason_to_fail(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise LibraryLocked("another process writes")

    monkeypatch.setattr(catalog, "remember_label_vectors", locked)
    found = LabelVectors(catalog).of(["dog"], CountingEncoder())
    np.testing.assert_array_equal(found, [vector_of("dog")])


def test_the_nearest_remembered_labels_are_those_most_alike(catalog: Catalog) -> None:
    encoder, vectors = CountingEncoder(), LabelVectors(catalog)
    labels = [f"label {number}" for number in range(LABELS_PER_ENCODING + 20)]
    vectors.of_vocabulary(labels, encoder, no_progress)
    vectors.of(["dog"], CountingEncoder("another"))
    label = unit(vector_of("dog"))
    every = unit(np.stack([vector_of(text) for text in labels]))
    found = vectors.nearest(label, encoder, 3)
    assert [text for text, _ in found] == [labels[row] for row in np.argsort(-every @ label)[:3]]
    for text, vector in found:
        np.testing.assert_allclose(vector, unit(vector_of(text)), rtol=1e-6)
    assert vectors.nearest(label, CountingEncoder("a third"), 3) == []
