"""Photos of a dataset against its labels as a library stores them: what a search would find."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.errors import PhotoError
from mkt_search.photos import decode as images
from mkt_search.scoring import StreamScores, score_similarities
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Vector

SIMILARITIES_AT_ONCE = 1 << 24  # of stored vectors with labels: 64 MB


def score_stored(index: LocalSnapshot, slots: Rows, labels: Vector) -> StreamScores:
    """Score stored photos for labels (L, D), (n, L) each: what a search would find."""
    m = index.encoding.m
    most = max(1, SIMILARITIES_AT_ONCE // ((1 + m) * max(1, len(labels))))
    parts = [
        score_similarities(
            index.similarities(block, labels), index.counts(block), k=index.encoding.top_k
        )
        for block in index.blocks(slots, most=most)
    ]
    nothing = np.zeros((0, len(labels)), np.float32)
    return StreamScores(
        np.concatenate([part.global_ for part in parts] or [nothing]),
        np.concatenate([part.local for part in parts] or [nothing]),
    )


def find_stored(index: LocalSnapshot, dataset: PhotoDataset, rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows of the photos that a library has, and their slots in its index.

    A photo is known by its path and size, else by its content.
    """
    catalog = index.store.catalog
    known = {
        os.path.realpath(record.path): (record.size, record.content)
        for record in catalog.photos(state="indexed")
        if record.content is not None
    }
    contents = [_content(dataset.folder / dataset.files[row], known) for row in rows]
    ids = catalog.content_ids_of({content for content in contents if content})
    live = np.flatnonzero(index.live)
    slot_of = dict(zip(index.contents[live].tolist(), live.tolist(), strict=True))
    slots = [slot_of.get(ids.get(content or "", -1), -1) for content in contents]
    is_there = np.array(slots, np.int64) >= 0
    return rows[is_there], np.array(slots, np.int64)[is_there]


def _content(path: Path, known: Mapping[str, tuple[int, str | None]]) -> str | None:
    """The SHA-256 of a photo's bytes, in hex; None for one that cannot be read."""
    try:
        size, content = known.get(os.path.realpath(path), (-1, None))
        if size == path.stat().st_size:
            return content
        return hashlib.sha256(images.read(path)).hexdigest()
    except (OSError, PhotoError):
        return None
