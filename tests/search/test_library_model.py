"""The model of a library: found by name or by record, checked, opened once."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mkt_search.errors import CheckpointMismatch, ModelError
from mkt_search.models.record import RecordedModel
from mkt_search.search.library_model import LibraryModel
from mkt_search.store.store import Store, StoredEncoding
from tests.tiny import tiny_checkpoint


@pytest.fixture
def store(own_library: Path) -> Iterator[Store]:
    """A library whose model is the folder `student` beside it."""
    store = Store.open(own_library / ".mkt")
    yield store
    store.close()


def active(store: Store) -> StoredEncoding:
    assert store.active is not None
    return store.active


def test_a_model_with_unchanged_files_is_not_opened(store: Store) -> None:
    model = LibraryModel(store).of(active(store))
    assert isinstance(model, RecordedModel)
    assert model.fingerprint == active(store).encoding.checkpoint


def test_a_model_with_new_files_is_opened_and_recorded(store: Store, own_library: Path) -> None:
    os.utime(own_library / "student" / "student.safetensors", (1, 1))
    before = active(store).record
    assert not isinstance(LibraryModel(store).of(active(store)), RecordedModel)
    after = active(store).record
    assert before is not None and after is not None and after.stamp != before.stamp
    assert isinstance(LibraryModel(store).of(active(store)), RecordedModel)


def test_the_model_may_be_named_elsewhere_without_a_record(store: Store, own_library: Path) -> None:
    moved = shutil.move(own_library / "student", own_library / "moved")
    with pytest.raises(ModelError, match="student"):
        LibraryModel(store).of(active(store))
    model = LibraryModel(store, str(moved)).of(active(store))
    assert model.fingerprint == active(store).encoding.checkpoint
    assert active(store).model == str(own_library / "student")


def test_another_model_is_refused(store: Store, own_library: Path) -> None:
    other = tiny_checkpoint(own_library / "other")
    with pytest.raises(CheckpointMismatch, match=r"mkt index --rebuild"):
        LibraryModel(store, str(other)).of(active(store))


def test_threads_share_one_model(store: Store) -> None:
    models = LibraryModel(store)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: models.of(active(store)), range(8)))
    assert all(model is found[0] for model in found)
