"""A vector database on the same photos: LanceDB, on disk, with its own indexes.

    pip install lancedb

It stores one global vector a photo (float32), then every fused vector as a row with its photo
(float16, which takes half the disk and is as fast). Its columns of several vectors a row are not
used, because they are indexed by cosine only and the lengths of fused vectors matter here. Each
photo counts once among the nearest rows. Indexes are built with the defaults. Searches start with
the defaults and then probe more partitions and compare more original vectors (`nprobes`,
`refine_factor`) until the recall is reached. LanceDB uses every core for a query; the library's own
rows use one.
"""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peer_data import PeerData
from search_table import Ids, SearchTable, answers, folder_bytes, recalls, share_found, timed

from mkt_search.types import Vector

ROWS_PER_PHOTO = 8  # rows fetched for each photo wanted: those of a photo resemble each other
ROWS_PER_BATCH = 16_384  # written together


@dataclass(frozen=True)
class Setting:
    """Partitions probed, and original vectors compared per row wanted; None is the default."""

    nprobes: int | None = None
    refine: int | None = None

    def __str__(self) -> str:
        if self.nprobes is None and self.refine is None:
            return "defaults"
        return f"nprobes {self.nprobes or 'default'}, refine {self.refine}"


DEFAULTS = (Setting(), Setting(refine=10))
GLOBAL_SETTINGS = (*DEFAULTS, Setting(100, 50))
FUSED_SETTINGS = (*DEFAULTS, Setting(100, 10), Setting(400, 10), Setting(400, 40))


def is_installed() -> bool:
    """Return True if LanceDB is installed."""
    return find_spec("lancedb") is not None


def lancedb(data: PeerData, table: SearchTable, *, recall: float) -> None:
    """Time LanceDB on the sampled photos with more and more effort until `recall` is reached."""
    if not is_installed():
        table.skip("LanceDB", "not installed: pip install lancedb")
        return
    photos = np.arange(len(data.sample))
    measure = partial(_measure, table, "global vectors", GLOBAL_SETTINGS, data, recall)
    _with_table(data.global_vectors[data.sample], photos, ("IVF_PQ",), measure)
    fused = data.fused.reshape(-1, data.fused.shape[2])
    measure = partial(_measure, table, "every fused vector", FUSED_SETTINGS, data, recall)
    _with_table(fused, np.repeat(photos, data.fused.shape[1]), ("IVF_PQ", "IVF_RQ"), measure)


def _with_table(vectors: NDArray[Any], photos: Ids, kinds: tuple[str, ...], measure: Any) -> None:
    """Write rows (n, D) and their photos (n,), then build and measure each kind of index."""
    import lancedb as peer

    with tempfile.TemporaryDirectory() as folder:
        reader = _record_batches(vectors, photos)
        rows = peer.connect(folder).create_table("photo", reader)
        for kind in kinds:
            building = timed(partial(_index, rows, kind))
            _drop_old_indexes(rows)
            note = (
                f"{photos[-1] + 1:,} photos, {len(vectors):,} rows, built in "
                f"{building / 1e3:.0f} s, {folder_bytes(Path(folder)) / 1e6:,.0f} MB of disk"
            )
            measure(rows, kind, vectors.dtype, note)


def _record_batches(vectors: NDArray[Any], photos: Ids) -> Any:
    import pyarrow as pa

    schema = pa.schema(
        [
            ("photo", pa.int64()),
            ("vector", pa.list_(pa.from_numpy_dtype(vectors.dtype), vectors.shape[1])),
        ]
    )

    def batches() -> Iterator[Any]:
        for first in range(0, len(vectors), ROWS_PER_BATCH):
            part = slice(first, first + ROWS_PER_BATCH)
            values = pa.array(vectors[part].ravel())
            lists = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
            yield pa.record_batch([pa.array(photos[part]), lists], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _index(rows: Any, kind: str) -> None:
    """Build an index by inner product with the default settings."""
    from lancedb.index import IvfPq, IvfRq

    index = {"IVF_PQ": IvfPq, "IVF_RQ": IvfRq}[kind]
    rows.create_index("vector", config=index(distance_type="dot"), replace=True)


def _drop_old_indexes(rows: Any) -> None:
    """Delete the files of earlier indexes, so that the disk is that of one index."""
    with warnings.catch_warnings(action="ignore"):  # it warns about other readers; there are none
        rows.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)


def _measure(
    table: SearchTable,
    what: str,
    settings: tuple[Setting, ...],
    data: PeerData,
    recall: float,
    rows: Any,
    kind: str,
    dtype: Any,
    note: str,
) -> None:
    """Add a row for each setting, up to the first that reaches the recall."""
    best = data.best_of_sample
    rows_per_photo = 1 if rows.count_rows() == len(data.sample) else ROWS_PER_PHOTO
    for setting in settings:
        search = partial(_nearest, rows, setting, best.shape[1], rows_per_photo, dtype)
        search(data.labels[0])
        found, times = answers(search, data.labels)
        name = f"{what}, LanceDB {kind}, {setting}"
        table.add(name, times, recalls=recalls(best, found), note=note)
        if share_found(best, found, best.shape[1]) >= recall:
            return


def _nearest(
    rows: Any, setting: Setting, k: int, rows_per_photo: int, dtype: Any, label: Vector
) -> Ids:
    """Return the photos of the nearest rows, each once, the k nearest."""
    query = rows.search(label.astype(dtype), vector_column_name="vector").distance_type("dot")
    query = query.select(["photo", "_distance"]).limit(k * rows_per_photo)
    if setting.nprobes is not None:
        query = query.nprobes(setting.nprobes)
    if setting.refine is not None:
        query = query.refine_factor(setting.refine)
    photos = query.to_arrow()["photo"].to_numpy()
    unique, first = np.unique(photos, return_index=True)
    nearest: Ids = unique[np.argsort(first)][:k]
    return nearest
