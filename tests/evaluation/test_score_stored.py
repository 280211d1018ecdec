"""Photos of a dataset as a library stores them: found by path or by content, scored as searched."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.datasets.read import read_published
from mkt_search.evaluation.score_stored import find_stored, score_stored
from mkt_search.library import Library
from mkt_search.settings.config import DataConfig
from tests.command_line import mkt
from tests.labeled import colour_model, labeled_photos


@pytest.fixture
def home(tmp_path: Path) -> Path:
    labeled_photos(tmp_path)
    colour_model(tmp_path / "student")
    (tmp_path / "photos" / "05.png").rename(tmp_path / "05.png")
    (tmp_path / "photos" / "11.png").unlink()
    mkt("init", tmp_path)
    mkt("index", tmp_path / "photos", "--model", tmp_path / "student", "--library", tmp_path)
    shutil.copy(tmp_path / "photos" / "02.png", tmp_path / "photos" / "11.png")
    (tmp_path / "05.png").rename(tmp_path / "photos" / "05.png")
    return tmp_path


@pytest.fixture
def library(home: Path) -> Iterator[Library]:
    with Library.open(home) as opened:
        yield opened


@pytest.fixture
def dataset(home: Path) -> PhotoDataset:
    data = DataConfig(photos=str(home / "photos"), labels=str(home / "labels.json"))
    return read_published(data).dataset


def test_photos_are_known_by_path_and_by_content(library: Library, dataset: PhotoDataset) -> None:
    (dataset.folder / "07.png").unlink()
    shutil.move(dataset.folder / "00.png", dataset.folder / "07.png")  # 07 is green, 00 red
    wanted = np.array([0, 1, 7, 9, 11])
    rows, ids = find_stored(library.store.catalog, library.snapshot(), dataset, wanted)
    assert rows.tolist() == [1, 7, 9, 11]  # 00 is gone; 11 has the bytes of 02, which is there
    labels = library.label_vectors(["red", "green", "blue"])
    found = score_stored(library.snapshot(), ids, labels).global_scores.argmax(axis=1)
    assert found[[0, 2, 3]].tolist() == [1, 0, 2]


def test_a_photo_the_library_never_saw_is_not_there(
    library: Library, dataset: PhotoDataset
) -> None:
    (dataset.folder / "05.png").write_bytes(b"other bytes")
    rows, ids = find_stored(library.store.catalog, library.snapshot(), dataset, np.arange(12))
    assert 5 not in rows and len(rows) == len(ids) == 11


def test_stored_scores_are_those_of_a_search(library: Library, dataset: PhotoDataset) -> None:
    rows, ids = find_stored(library.store.catalog, library.snapshot(), dataset, np.arange(12))
    snapshot, labels = library.snapshot(), library.label_vectors(["red", "blue"])
    scores = score_stored(snapshot, ids, labels, similarities_per_block=100)  # many blocks
    by_path = {
        str(path): (hit.global_part, hit.local_part)
        for hit in library.search("blue", k=20)
        for path in (hit.path, *hit.copies)
    }
    for place, row in enumerate(rows):
        path = str((dataset.folder / dataset.files[row]).resolve())
        if path in by_path:
            parts = scores.global_scores[place, 1], scores.local_scores[place, 1]
            assert parts == pytest.approx(by_path[path], abs=1e-5)
    nothing = score_stored(snapshot, ids[:0], np.ones((2, 8), np.float32))
    assert nothing.fused.shape == (0, 2)
