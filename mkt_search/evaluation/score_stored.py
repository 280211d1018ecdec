"""Score the photos of a dataset as a library stores them: what a search would find."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.errors import PhotoError
from mkt_search.photos import decode as images
from mkt_search.scoring import StreamScores, score_similarities
from mkt_search.store.catalog import Catalog
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Vector

MAX_PHOTOS_PER_BLOCK = 256
SIMILARITIES_PER_BLOCK = 1 << 24  # 64 MB


def score_stored(
    snapshot: Snapshot,
    content_ids: ContentIds,
    labels: Vector,
    *,
    k: int = 0,
    similarities_per_block: int = SIMILARITIES_PER_BLOCK,
) -> StreamScores:
    """Score stored photos for labels (L, D): (n, L) for each stream.

    Args:
        snapshot: of the library.
        content_ids: (n,), the photos.
        labels: (L, D).
        k: patches in the mean of the local score; 0 is the library's number.
        similarities_per_block: bounds memory.
    """
    encoding = snapshot.facts.encoding
    per_photo = (1 + encoding.m) * max(1, len(labels))
    size = min(MAX_PHOTOS_PER_BLOCK, max(1, similarities_per_block // per_photo))
    global_scores, local_scores = np.empty((2, len(content_ids), len(labels)), np.float32)
    for first in range(0, len(content_ids), size):
        block = slice(first, first + size)
        snapshot.checked_contents(content_ids[block])
        products, counts = snapshot.similarities(content_ids[block], labels)
        scores = score_similarities(products, counts, k=k or encoding.top_k)
        global_scores[block], local_scores[block] = scores.global_scores, scores.local_scores
    return StreamScores(global_scores, local_scores)


def find_stored(
    catalog: Catalog, snapshot: Snapshot, dataset: PhotoDataset, rows: Rows
) -> tuple[Rows, ContentIds]:
    """Return the rows of the photos that a library has, and their content ids.

    A photo is found by its path and size, else by its content.
    """
    known = {
        os.path.realpath(record.path): (record.size, record.content)
        for record in catalog.photos(state="indexed")
        if record.content is not None
    }
    contents = [_content(dataset.folder / dataset.files[row], known) for row in rows]
    ids = catalog.content_ids_of({content for content in contents if content})
    found = np.array([ids.get(content or "", -1) for content in contents], np.int64)
    is_stored = np.isin(found, snapshot.content_ids())
    return rows[is_stored], found[is_stored]


def _content(path: Path, known: Mapping[str, tuple[int, str | None]]) -> str | None:
    """Return the SHA-256 of a photo's bytes, in hex; None if it cannot be read."""
    try:
        size, content = known.get(os.path.realpath(path), (-1, None))
        if size == path.stat().st_size:
            return content
        return hashlib.sha256(images.read(path)).hexdigest()
    except (OSError, PhotoError):
        return None
