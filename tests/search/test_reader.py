"""The current state of a library: a snapshot until something changes, a model until replaced."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkt_search.errors import ConfigError, LibraryNotFound, QueryError
from mkt_search.library import Library
from mkt_search.search.reader import LibraryReader
from mkt_search.search.search import Explanation
from mkt_search.settings.config import Config
from mkt_search.store.sql.catalog import SqlCatalog
from mkt_search.store.store import Store
from mkt_search.types import Filters, Term
from tests.tiny import paint, tiny_clip


@pytest.fixture
def store(own_library: Path) -> Iterator[Store]:
    store = Store.open(own_library / ".mkt")
    yield store
    store.close()


def names(reader: LibraryReader, *terms: Term, filters: Filters | None = None) -> list[str]:
    hits = reader.search(
        terms, k=1, filters=filters or Filters(), recall=1.0, explanation=Explanation()
    )
    return [hit.path.name for hit in hits]


def test_the_snapshot_is_kept_until_something_changes(store: Store, own_library: Path) -> None:
    reader = LibraryReader(store, Config())
    first = reader.snapshot()
    assert reader.snapshot() is first
    green = reader.photo(own_library / "photos" / "green.png")
    with store.writing("test"):
        store.catalog.mark_missing([green.id])
    second = reader.snapshot()
    assert second is not first and second.facts.photos == first.facts.photos - 1
    assert first.facts.photos == len(first.content_ids())


def test_labels_and_photos_are_terms(store: Store, own_library: Path) -> None:
    reader = LibraryReader(store, Config())
    blue = own_library / "photos" / "blue.png"
    assert names(reader, Term(label="green")) == ["green.png"]
    assert names(reader, Term(photo=blue), Term(label="red", weight=-0.5)) == ["blue.png"]
    assert names(reader, Term(label="green"), filters=Filters(path="*/blue*")) == ["blue.png"]


def test_the_model_is_found_once_and_again_after_it_was_replaced(store: Store) -> None:
    reader = LibraryReader(store, Config())
    model = reader.model()
    assert reader.model() is model
    reader.use_recorded_model()
    assert reader.model() is not model
    assert reader.label_vectors(["red", "blue"]).shape == (2, 8)


def test_a_photo_outside_the_library_is_named(store: Store) -> None:
    with pytest.raises(QueryError, match="is not in the library"):
        LibraryReader(store, Config()).photo("nowhere.jpg")


def test_an_empty_library_has_no_snapshot(tmp_path: Path) -> None:
    empty = Store.create(tmp_path / ".mkt")
    with pytest.raises(LibraryNotFound, match="mkt index"):
        LibraryReader(empty, Config()).snapshot()
    empty.close()


def test_hits_are_read_at_the_time_that_was_searched(
    store: Store, own_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer removes a photo just before its path is read."""
    writer = Store.open(own_library / ".mkt")
    photos = {photo.path.name: photo.id for photo in writer.catalog.photos()}
    of_contents = SqlCatalog.photos_of_contents

    def after_a_commit(catalog: SqlCatalog, *arguments: Any) -> Any:
        writer.catalog.mark_missing([photos["green.png"]])
        writer.vectors.prune()
        return of_contents(catalog, *arguments)

    reader = LibraryReader(store, Config())
    monkeypatch.setattr(SqlCatalog, "photos_of_contents", after_a_commit)
    assert names(reader, Term(label="green")) == ["green.png"]
    monkeypatch.undo()
    assert names(reader, Term(label="green")) != ["green.png"]
    writer.close()


def test_a_commit_between_vectors_and_facts_starts_the_search_again(
    store: Store, own_library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Store.open(own_library / ".mkt")
    (green,) = (photo.id for photo in writer.catalog.photos() if photo.path.name == "green.png")
    reader = LibraryReader(store, Config())
    snapshot = reader.snapshot

    def before_a_commit() -> Any:
        monkeypatch.undo()
        found = snapshot()
        writer.catalog.mark_missing([green])
        return found

    monkeypatch.setattr(reader, "snapshot", before_a_commit)
    assert names(reader, Term(label="green")) != ["green.png"]
    writer.close()


def test_phrases_beside_the_library_say_what_a_label_is(own_library: Path) -> None:
    (own_library / "labels.toml").write_text('[grass]\nphrases = ["green"]\n', encoding="utf-8")
    with Library.open(own_library) as library:
        assert library.search("grass", k=1)[0].path.name == "green.png"
        np.testing.assert_array_equal(*library.label_vectors(["grass", "green"]))
    (own_library / "labels.toml").write_text('[grass]\nphrases = ["blue"]\n', encoding="utf-8")
    with Library.open(own_library) as library:
        np.testing.assert_array_equal(*library.label_vectors(["grass", "blue"]))


def test_a_faulty_file_of_phrases_is_a_sentence_where_labels_are_used(own_library: Path) -> None:
    (own_library / "labels.toml").write_text("[grass", encoding="utf-8")
    with Library.open(own_library) as library:
        assert library.index([own_library / "photos"]).indexed == 0
        with pytest.raises(ConfigError, match=r"labels\.toml: not valid TOML"):
            library.search("green")


def test_other_templates_give_other_vectors_and_index_nothing_again(tmp_path: Path) -> None:
    """Vectors of photos do not depend on templates; those of labels are never mixed up."""
    paint(tmp_path / "photos" / "red.png", "red")
    with Library.create(tmp_path) as library:
        library.index([tmp_path / "photos"], model=tiny_clip(tmp_path / "clip"))
        default = library.label_vectors(["red"])
    found = {}
    for templates in (["{}"], ["{}", "a {}"], []):
        (tmp_path / "mkt.toml").write_text(f"[model]\ntemplates = {templates}\n")
        with Library.open(tmp_path) as library:
            assert library.index().indexed == 0
            found[len(templates)] = library.label_vectors(["red"])
            np.testing.assert_array_equal(
                found[len(templates)], library.model.label_encoder(templates).encode(["red"])
            )
    (tmp_path / "mkt.toml").unlink()
    with Library.open(tmp_path) as library:
        np.testing.assert_array_equal(library.label_vectors(["red"]), default)
    assert len({vector.tobytes() for vector in (default, *found.values())}) == 4
