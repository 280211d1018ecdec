"""Threads search one library while a writer adds photos and replaces the candidate index.

Every label is new, so a text tower encodes labels at the same time.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Semaphore
from typing import NamedTuple

import numpy as np
import pytest

from mkt_search.library import Library
from mkt_search.models.build import open_model
from mkt_search.pooling.pool import pool
from mkt_search.scoring import score
from mkt_search.settings.config import Config
from mkt_search.store.store import Store
from mkt_search.types import Encoded, Hit, PhotoVectors
from tests import made
from tests.tiny import tiny_clip_folder

pytestmark = pytest.mark.slow

K, SEARCHERS = 5, 3
FIRST, PER_BATCH, N_BATCHES = 300, 20, 12
OPTIMIZED_AFTER = (3, 7)  # batches
PHOTOS = FIRST + PER_BATCH * N_BATCHES
LENGTHS = (1, 3, 7, 2, 5)  # words of a label: the tower reads texts of many lengths
WORDS = ("red", "green", "blue", "dog", "cat", "beach", "tree", "car", "snow")


class Found(NamedTuple):
    """A search: its query, whether it was exact, and its hits."""

    label: str
    is_exact: bool
    hits: list[Hit]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A library without photos that knows its model and its settings."""
    made.index_nothing(tmp_path, tiny_clip_folder(tmp_path / "clip"), "--m", "4")
    return tmp_path


def vectors_of_photos(store: Store) -> PhotoVectors:
    assert store.active is not None
    encoding, rng = store.active.encoding, np.random.default_rng(0)
    global_vectors = rng.standard_normal((PHOTOS, encoding.dim)).astype(np.float32)
    patches = rng.standard_normal((PHOTOS, encoding.patches, encoding.dim)).astype(np.float32)
    return pool(Encoded(global_vectors, patches + global_vectors[:, None]), encoding)


def add(store: Store, root: Path, vectors: PhotoVectors, first: int, end: int) -> None:
    photos = [made.photo(root, f"{i:04}.jpg", row=i - first) for i in range(first, end)]
    arrays = vectors.global_vectors, vectors.local_vectors, vectors.members
    made.add(store, root, photos, PhotoVectors(*(array[first:end] for array in arrays)))


def labels_of(thread: int) -> Iterator[str]:
    """Yield labels that no thread used before, of changing length."""
    words = itertools.cycle(WORDS)
    for number, length in enumerate(itertools.cycle(LENGTHS)):
        yield " ".join([f"thing {thread} {number}", *itertools.islice(words, length)])


def test_threads_that_search_while_photos_arrive_find_right_answers(home: Path) -> None:
    store, root = Store.open(home / ".mkt"), home / "photos"
    vectors = vectors_of_photos(store)
    add(store, root, vectors, 0, FIRST)
    made.optimize_active(store)
    searched, is_done = Semaphore(0), Event()

    def write() -> None:
        try:
            for batch in range(N_BATCHES):
                for _ in range(SEARCHERS):
                    assert searched.acquire(timeout=60), "the searches have stopped"
                first = FIRST + batch * PER_BATCH
                add(store, root, vectors, first, first + PER_BATCH)
                if batch in OPTIMIZED_AFTER:
                    made.optimize_active(store)
        finally:
            is_done.set()

    def search(thread: int) -> list[Found]:
        found = []
        for number, label in enumerate(labels_of(thread)):
            is_exact = number % 2 == 0
            hits = library.search(label, k=K, exact=is_exact, boxes=number % 3 == 0)
            found.append(Found(label, is_exact, hits))
            searched.release()
            if is_done.is_set():
                return found
        raise AssertionError("labels never end")

    with Library.open(home) as library, ThreadPoolExecutor(SEARCHERS + 1) as threads:
        searching = [threads.submit(search, thread) for thread in range(SEARCHERS)]
        writing = threads.submit(write)
        found = [found for thread in searching for found in thread.result()]
        writing.result()
    store.close()
    check(found, home, vectors)


def check(found: list[Found], home: Path, vectors: PhotoVectors) -> None:
    """Compare with scores of every photo: an answer is that of some number of batches."""
    with Library.open(home) as library:
        active = library.store.active
    assert active is not None
    encoder = open_model(str(home / "clip")).label_encoder(Config().model.templates)
    labels = encoder.encode([one.label for one in found])
    arrays = made.as_stored(vectors, active.encoding)
    scores = score(labels, *arrays, k=active.encoding.top_k).fused.T  # (L, n)
    ends = [FIRST + PER_BATCH * batch for batch in range(N_BATCHES + 1)]
    recalls = []
    for one, of_all in zip(found, scores, strict=True):
        numbers = [int(hit.path.stem) for hit in one.hits]
        np.testing.assert_allclose([hit.score for hit in one.hits], of_all[numbers], atol=1e-4)
        best = [np.argsort(-of_all[:end], kind="stable")[:K].tolist() for end in ends]
        if one.is_exact:
            assert numbers in best, one.label
        else:
            recalls.append(max(len(set(numbers) & set(answer)) / K for answer in best))
    assert np.mean(recalls) > 0.9
