"""The file of a map: `map.npz` in a library, not compressed.

    keys (n,) uint64, points (n, 2) float32           the contents, by rising key
    mean (D,), directions (c, D) float32              the principal axes
    coordinates (s, c), anchors (s, 2) float32        the sample: along the axes, on the plane
    meta (b,) uint8                                   JSON: everything else

Everything is checked when it is read: a library may come from somebody else.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import MapError
from mkt_search.files import open_regular, write_atomically
from mkt_search.projection.anchors import Anchors
from mkt_search.projection.clusters import COARSE, FINE, Cluster
from mkt_search.projection.plane import AXES, Axes
from mkt_search.projection.stored import SAMPLE, StoredMap
from mkt_search.store.disk import disk_errors
from mkt_search.types import MAX_DIM, Vector, check_whole, is_finite

FILE = "map.npz"
FORMAT = 1
MAX_BYTES = 1 << 31  # about 100 million photos
MAX_META = 1 << 20  # bytes
MAX_TEXT = 1_000  # characters of a name or a fingerprint
NEVER = 1 << 53  # more than any revision or seed


def save(found: StoredMap, path: Path) -> None:
    """Write a map; replace the one that is there.

    Raises:
        StoreError: the disk is full or cannot be written; the map is as it was.
    """
    meta = {
        "format": FORMAT,
        "encoding": found.encoding,
        "revision": found.revision,
        "seed": found.seed,
        "clusters": [cluster._asdict() for cluster in found.clusters],
    }
    stream = io.BytesIO()
    np.savez(
        stream,
        keys=found.keys.astype("<u8"),
        points=found.points.astype("<f4"),
        mean=found.anchors.axes.mean.astype("<f4"),
        directions=found.anchors.axes.directions.astype("<f4"),
        coordinates=found.anchors.coordinates.astype("<f4"),
        anchors=found.anchors.points.astype("<f4"),
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
    )
    with disk_errors(path.parent):
        write_atomically(path, stream.getbuffer())


def load(path: Path) -> StoredMap | None:
    """Read a map; None if there is none.

    Raises:
        MapError: it is damaged, or no map at all.
    """
    try:
        with open_regular(path, follow_links=False) as file:
            if file.seek(0, io.SEEK_END) > MAX_BYTES:
                raise ValueError("it is far too large")
            _refuse_compressed(file)
            with np.load(file, allow_pickle=False) as arrays:
                return _map({name: arrays[name] for name in arrays.files})
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged header raises nearly anything
        raise MapError(
            f"The map {path} cannot be read ({error}). Make it again with `mkt map`, or delete it."
        ) from error


def _refuse_compressed(file: Any) -> None:
    with zipfile.ZipFile(file) as archive:  # whose entries then take what the file takes
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it is compressed")
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise ValueError("its entries overlap")
    file.seek(0)


def _map(arrays: Mapping[str, NDArray[Any]]) -> StoredMap:
    if arrays["meta"].nbytes > MAX_META:
        raise ValueError("its description is far too long")
    meta = json.loads(arrays["meta"].tobytes())
    if meta["format"] != FORMAT:
        raise ValueError(f"its format is {str(meta['format'])[:20]}, not {FORMAT}")
    if not isinstance(meta["encoding"], str) or len(meta["encoding"]) > MAX_TEXT:
        raise ValueError("its encoding is not text")
    for name in ("revision", "seed"):
        check_whole(name, meta[name], least=0, most=NEVER)
    keys = arrays["keys"]
    if keys.dtype != np.uint64 or keys.ndim != 1 or (keys[1:] <= keys[:-1]).any():
        raise ValueError("its keys do not rise")
    (dim,) = _shape(arrays["mean"], 1)
    axes, _ = _shape(arrays["directions"], 2)
    sample, _ = _shape(arrays["coordinates"], 2)
    if not (0 < dim <= MAX_DIM and axes <= min(AXES, dim) and 0 < sample <= SAMPLE):
        raise ValueError(f"it has {axes} axes of {dim} numbers, and {sample} photos in its sample")
    return StoredMap(
        encoding=meta["encoding"],
        revision=meta["revision"],
        seed=meta["seed"],
        keys=keys,
        points=_points(arrays, "points", len(keys)),
        anchors=Anchors(
            Axes(_numbers(arrays, "mean", (dim,)), _numbers(arrays, "directions", (axes, dim))),
            _numbers(arrays, "coordinates", (sample, axes)),
            _points(arrays, "anchors", sample),
        ),
        clusters=_clusters(meta["clusters"]),
    )


def _shape(array: NDArray[Any], dimensions: int) -> tuple[int, ...]:
    if array.ndim != dimensions:
        raise ValueError(f"an array has {array.ndim} dimensions, not {dimensions}")
    return array.shape


def _numbers(arrays: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> Vector:
    found = arrays[name]
    if found.dtype != np.float32 or found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"{name} are not finite numbers of the shape {shape}")
    return found


def _points(arrays: Mapping[str, NDArray[Any]], name: str, count: int) -> Vector:
    found = _numbers(arrays, name, (count, 2))
    if len(found) and np.abs(found).max() > 1:
        raise ValueError(f"{name} lie outside the map")
    return found


def _clusters(data: object) -> tuple[Cluster, ...]:
    if not isinstance(data, list) or len(data) > COARSE + FINE:
        raise ValueError("its clusters are no list, or too many")
    found = tuple(Cluster(**each) for each in data)
    for cluster in found:
        check_whole("level", cluster.level, least=0, most=1)
        if not isinstance(cluster.name, str) or len(cluster.name) > MAX_TEXT:
            raise ValueError("the name of a cluster is not text")
        if not all(is_finite(number) and abs(number) <= 1 for number in (cluster.x, cluster.y)):
            raise ValueError("a cluster lies outside the map")
    return found
