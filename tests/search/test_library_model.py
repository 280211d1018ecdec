"""The model of a library is opened only when needed, and never mistaken for another one."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from mkt_search import CheckpointMismatch, Library, ModelError, StoreError
from mkt_search.models import checkpoint
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import TOWER, Prompt, read_meta
from mkt_search.models.clip import create_clip, text_state
from mkt_search.models.record import RecordedModel
from mkt_search.search.library_model import LibraryModel
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store
from mkt_search.types import Vector
from tests.tiny import paint, tiny_checkpoint, tiny_clip, tiny_meta, tiny_student


def random_context(seed: int) -> torch.Tensor:
    return torch.randn(6, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of two photos whose model has a text tower and a learned prompt; to copy."""
    home = tmp_path_factory.mktemp("home")
    name, _, weights = tiny_clip(home / "clip").partition("/")
    text = text_state(create_clip(name, pretrained=weights))
    student = tiny_student().state()
    meta = tiny_meta(prompt=Prompt(name, TOWER))
    checkpoint.write(home / "model", meta, student, text=text, context=random_context(0))
    for colour in ("red", "blue"):
        paint(home / "photos" / f"{colour}.png", colour, size=(40, 40))
    with Library.create(home) as library:
        library.index(home / "photos", model=home / "model", device="cpu", dtype="float32")
    return home


@pytest.fixture
def home(indexed: Path, tmp_path: Path) -> Path:
    """A copy of the library; its model is `home`/model."""
    home = shutil.copytree(indexed, tmp_path / "home")
    with Library.open(home) as library:
        library.store.record_model(str(home / "model"), stored(library).encoding.checkpoint, None)
        library.search("dog")  # opens the model and records it
        assert stored(library).record is not None
    return home


def stored(library: Library) -> StoredEncoding:
    active = library.store.active
    assert active is not None
    return active


def is_recorded(home: Path, **options: Any) -> bool:
    """Return whether a library takes its model from the record."""
    with Library.open(home, **options) as library:
        models = LibraryModel(library.store, options.get("model"))
        return isinstance(models.of(stored(library)), RecordedModel)


def vector_of(label: str, home: Path, **options: Any) -> Vector:
    with Library.open(home, **options) as library:
        return library.label_vectors([label])


def retrain_prompt(folder: Path) -> None:
    """Replace a checkpoint by one with the same student and another prompt."""
    meta = replace(read_meta(folder), trained={"epochs": 1})
    tuned = folder.with_name("tuned")
    checkpoint.write_tuned(tuned, meta, folder, context=random_context(1))
    shutil.rmtree(folder)
    tuned.rename(folder)


def test_an_unchanged_model_is_not_opened_again(home: Path) -> None:
    assert is_recorded(home)


def test_indexing_records_the_model(indexed: Path) -> None:
    assert is_recorded(indexed)


def test_a_retrained_prompt_gives_other_label_vectors_at_once(home: Path) -> None:
    before = vector_of("dog", home)
    retrain_prompt(home / "model")
    assert not is_recorded(home)
    after = vector_of("dog", home)
    expected = open_model(home / "model").label_encoder().encode(["dog"])
    np.testing.assert_array_equal(after, expected)
    assert np.abs(after - before).max() > 1e-3
    assert is_recorded(home)  # from now on the new prompt


def test_replaced_weights_are_another_checkpoint(home: Path, tmp_path: Path) -> None:
    shutil.rmtree(home / "model")
    tiny_checkpoint(home / "model", seed=1)
    with (
        Library.open(home) as library,
        pytest.raises(CheckpointMismatch, match="--rebuild"),
    ):
        library.search("dog")


def test_damaged_text_tower_is_refused(home: Path) -> None:
    path = home / "model" / TOWER
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with Library.open(home) as library, pytest.raises(ModelError, match="replaced or damaged"):
        library.search("cat")


def test_a_moved_checkpoint_is_missed_and_served_from_where_it_is(home: Path) -> None:
    before = vector_of("dog", home)
    (home / "model").rename(home / "moved")
    with Library.open(home) as library, pytest.raises(ModelError, match="there is no checkpoint"):
        library.search("dog")
    assert is_recorded(home, model=str(home / "moved"))
    np.testing.assert_array_equal(vector_of("dog", home, model=home / "moved"), before)


def test_another_prompt_that_is_named_is_not_recorded_as_the_librarys(home: Path) -> None:
    shutil.copytree(home / "model", home / "other")
    retrain_prompt(home / "other")
    before = vector_of("dog", home)
    other = vector_of("dog", home, model=home / "other")
    assert np.abs(other - before).max() > 1e-3
    assert is_recorded(home)
    np.testing.assert_array_equal(vector_of("dog", home), before)


def test_a_library_that_cannot_be_written_is_searched_all_the_same(home: Path) -> None:
    class ReadOnly:
        def record_model(self, *_: object, wait: bool) -> None:
            assert not wait
            raise StoreError("read-only")

    with Library.open(home) as library:
        old = replace(stored(library), record=None)
        model = LibraryModel(cast(Store, ReadOnly())).of(old)
        assert model.fingerprint == old.encoding.checkpoint and not isinstance(model, RecordedModel)


def test_threads_share_one_model(home: Path) -> None:
    with Library.open(home) as library, ThreadPoolExecutor(4) as threads:
        models = LibraryModel(library.store)
        found = list(threads.map(lambda _: models.of(stored(library)), range(8)))
    assert all(model is found[0] for model in found)


def test_another_model_is_refused(home: Path, tmp_path: Path) -> None:
    other = tiny_checkpoint(tmp_path / "other", seed=1)
    with (
        Library.open(home, model=other) as library,
        pytest.raises(CheckpointMismatch, match=r"mkt index --rebuild"),
    ):
        library.search("dog")
