"""A vector database on the same photos: LanceDB, on disk, with the indexes it is made for.

    pip install lancedb

It is given one global vector a photo (float32), then every fused vector as a row with its photo
(float16, which takes half the disk and is as fast): its columns of several vectors a row are
indexed by cosine only, and the lengths of fused vectors matter here. Of the nearest rows, each
photo counts once. Indexes are built with its defaults; searches begin with its defaults and then
look into more partitions and compare more true vectors (`nprobes`, `refine_factor`) until the
recall is reached. It uses every core for a query; the library's own rows use one.
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
from offered import Offered
from table import Ids, answers, left_out, recalls, row, share, size, timed

from mkt_search.types import Vector

ROWS = 8  # rows asked for one photo: its rows resemble each other and come together
AT_ONCE = 16_384  # rows written together


@dataclass(frozen=True)
class Setting:
    """How many partitions are looked into, and how many true vectors compared for a row wanted."""

    nprobes: int | None = None
    refine: int | None = None

    def __str__(self) -> str:
        if self.nprobes is None and self.refine is None:
            return "its defaults"
        return f"nprobes {self.nprobes or 'default'}, refine {self.refine}"


BY_DEFAULT = (Setting(), Setting(refine=10))
FOR_GLOBALS = (*BY_DEFAULT, Setting(100, 50))
FOR_FUSED = (*BY_DEFAULT, Setting(100, 10), Setting(400, 10), Setting(400, 40))


def is_installed() -> bool:
    """Say whether there is a LanceDB to measure."""
    return find_spec("lancedb") is not None


def lancedb(offered: Offered, *, recall: float) -> None:
    """Time LanceDB over the photos whose fused vectors are offered, until `recall` is reached."""
    if not is_installed():
        left_out("LanceDB", "not installed: pip install lancedb")
        return
    photos = np.arange(len(offered.some))
    global_ = partial(_measured, "global vectors", FOR_GLOBALS, offered, recall)
    _with_table(offered.globals[offered.some], photos, ("IVF_PQ",), global_)
    fused = offered.fused.reshape(-1, offered.fused.shape[2])
    every = partial(_measured, "every fused vector", FOR_FUSED, offered, recall)
    _with_table(fused, np.repeat(photos, offered.fused.shape[1]), ("IVF_PQ", "IVF_RQ"), every)


def _with_table(vectors: NDArray[Any], photos: Ids, kinds: tuple[str, ...], measured: Any) -> None:
    """Write rows (n, D) and their photos (n,), build each index, and have it measured."""
    import lancedb as peer

    with tempfile.TemporaryDirectory() as folder:
        reader = _record_batches(vectors, photos)
        table = peer.connect(folder).create_table("photo", reader)
        for kind in kinds:
            building = timed(partial(_index, table, kind))
            _drop_old_indexes(table)
            note = (
                f"{photos[-1] + 1:,} photos, {len(vectors):,} rows, built in "
                f"{building / 1e3:.0f} s, {size(Path(folder)) / 1e6:,.0f} MB of disk"
            )
            measured(table, kind, vectors.dtype, note)


def _record_batches(vectors: NDArray[Any], photos: Ids) -> Any:
    import pyarrow as pa

    schema = pa.schema(
        [
            ("photo", pa.int64()),
            ("vector", pa.list_(pa.from_numpy_dtype(vectors.dtype), vectors.shape[1])),
        ]
    )

    def batches() -> Iterator[Any]:
        for first in range(0, len(vectors), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            values = pa.array(vectors[part].ravel())
            lists = pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])
            yield pa.record_batch([pa.array(photos[part]), lists], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _index(table: Any, kind: str) -> None:
    """Build an index by inner product, all else by default."""
    from lancedb.index import IvfPq, IvfRq

    made = {"IVF_PQ": IvfPq, "IVF_RQ": IvfRq}[kind]
    table.create_index("vector", config=made(distance_type="dot"), replace=True)


def _drop_old_indexes(table: Any) -> None:
    """Delete what no index in use needs, so that the disk is that of one index."""
    with warnings.catch_warnings(action="ignore"):  # it warns of other readers; there are none
        table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)


def _measured(
    what: str,
    settings: tuple[Setting, ...],
    offered: Offered,
    recall: float,
    table: Any,
    kind: str,
    dtype: Any,
    note: str,
) -> None:
    """Print a row for each setting, up to the first that reaches the recall."""
    best = offered.best_of_some
    rows_for_each = 1 if table.count_rows() == len(offered.some) else ROWS
    for setting in settings:
        ask = partial(_nearest, table, setting, best.shape[1], rows_for_each, dtype)
        ask(offered.labels[0])
        found, times = answers(ask, offered.labels)
        row(f"{what}, LanceDB {kind}, {setting}", times, recall=recalls(best, found), note=note)
        if share(best, found, best.shape[1]) >= recall:
            return


def _nearest(
    table: Any, setting: Setting, k: int, rows_for_each: int, dtype: Any, label: Vector
) -> Ids:
    """Return the photos of the nearest rows, each once, the k nearest."""
    query = table.search(label.astype(dtype), vector_column_name="vector").distance_type("dot")
    query = query.select(["photo", "_distance"]).limit(k * rows_for_each)
    if setting.nprobes is not None:
        query = query.nprobes(setting.nprobes)
    if setting.refine is not None:
        query = query.refine_factor(setting.refine)
    photos = query.to_arrow()["photo"].to_numpy()
    unique, first = np.unique(photos, return_index=True)
    nearest: Ids = unique[np.argsort(first)][:k]
    return nearest
