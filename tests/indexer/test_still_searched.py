"""A rebuild brings new and edited photos under the searched encoding too, if it can."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.index import index_library
from indexer.repair import repair
from mkt_search.errors import ModelError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.photos.decode import decode, to_pixels
from mkt_search.pooling.pool import pool
from mkt_search.settings.config import Config
from mkt_search.settings.override import override
from mkt_search.store import checks
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store
from tests.indexer.indexed import ENCODING, SPEC, Notes, bring_in, vectors
from tests.tiny import colour_checkpoint, paint, tiny_checkpoint

OTHER = replace(ENCODING, m=5)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A second folder; a rebuild of the first alone is not finished."""
    paint(tmp_path / "elsewhere" / "x.png", "red")
    return tmp_path / "elsewhere"


def change(folder: Path) -> list[str]:
    """Add a photo, and a copy of it, and edit another; return their paths."""
    paint(folder / "a" / "new.png", "red", size=(40, 40))
    shutil.copy(folder / "a" / "new.png", folder / "b" / "copy.png")
    paint(folder / "b" / "01.png", "magenta", size=(64, 48))
    return ["a/new.png", "b/01.png", "b/copy.png"]


def test_new_and_edited_photos_are_found_before_the_switch(
    store: Store, encoder: PhotoEncoder, folder: Path, elsewhere: Path
) -> None:
    bring_in(store, encoder, folder, elsewhere)
    before = vectors(store)
    changed = change(folder)
    bring_in(store, encoder, folder, encoding=OTHER, rebuild=True, open_searched=lambda _: encoder)
    assert store.active is not None and store.active.encoding == ENCODING
    after = vectors(store)
    assert set(after) == set(before) | set(changed)
    for path in changed:
        pixels = to_pixels(decode((folder / path).read_bytes()).image, SPEC)
        expected = pool(encoder.encode(pixels[None]), ENCODING).global_vectors[0]
        np.testing.assert_allclose(after[path][0], expected, atol=3e-3)
    assert all(np.array_equal(after[path], before[path]) for path in set(before) - set(changed))
    assert checks.verify(store) == []
    bring_in(store, encoder, encoding=OTHER)
    assert store.active.encoding == OTHER
    assert {rows.shape for rows in vectors(store).values()} == {(6, 16)}
    assert checks.verify(store) == []


def test_a_killed_rebuild_has_them_too(
    store: Store, encoder: PhotoEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_in(store, encoder, folder)
    change(folder)
    with pytest.raises(KeyboardInterrupt):
        bring_in(
            store,
            encoder,
            encoding=OTHER,
            rebuild=True,
            open_searched=lambda _: encoder,
            notes=Notes(stop_after=2),
        )
    assert checks.verify(store) == []
    summary = bring_in(store, encoder, encoding=OTHER, open_searched=lambda _: encoder)
    assert (summary.failed, summary.missing) == (0, 0)
    assert len(vectors(store)) == 14 and checks.verify(store) == []


def test_without_the_old_model_they_are_found_at_the_end_and_are_no_problem(
    store: Store, encoder: PhotoEncoder, folder: Path, elsewhere: Path
) -> None:
    def gone(_: StoredEncoding) -> PhotoEncoder:
        raise ModelError("there is no checkpoint")

    bring_in(store, encoder, folder, elsewhere)
    change(folder)
    notes = Notes()
    bring_in(store, encoder, folder, encoding=OTHER, rebuild=True, open_searched=gone, notes=notes)
    said = [text for text in notes.messages if "when the rebuild is finished" in text]
    assert said == [
        "new and edited photos are found when the rebuild is finished: there is no checkpoint"
    ]
    assert checks.verify(store) == []
    assert repair(store, gone).encoded == 0
    bring_in(store, encoder, encoding=OTHER)
    assert len(vectors(store)) == 15


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings that name a tiny checkpoint."""
    checkpoint = tiny_checkpoint(tmp_path / "tiny")
    values = {"model.checkpoint": str(checkpoint), "model.device": "cpu", "index.workers": 2}
    return override(Config(), values)


@pytest.mark.parametrize("lost", [False, True], ids=["old model", "lost model"])
def test_another_model_wants_other_pixels(
    store: Store, folder: Path, elsewhere: Path, config: Config, tmp_path: Path, lost: bool
) -> None:
    index_library(store, config, [folder, elsewhere])
    changed = change(folder)
    if lost:
        shutil.rmtree(config.model.checkpoint)
    colours = colour_checkpoint(tmp_path / "colours")
    other, notes = override(config, {"model.checkpoint": str(colours)}), Notes()
    index_library(store, other, [folder], rebuild=True, progress=notes)
    active, building = store.active, store.building
    assert active is not None and building is not None
    assert active.encoding.dim == 16 and building.encoding.dim == 8
    assert checks.verify(store) == []
    said = [text for text in notes.messages if "when the rebuild is finished" in text]
    assert len(said) == lost
    if not lost:
        new = vectors(store)
        assert len(new) == 15 and set(changed) <= set(new)
    index_library(store, other)
    assert len(vectors(store)) == 15 and checks.verify(store) == []
