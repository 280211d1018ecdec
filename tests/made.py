"""Made-up photos and vectors for tests of the store: real records, no files needed."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.optimize import optimize
from mkt_search.store.records import Batch, FailedPhoto, NewPhoto, RootLocation
from mkt_search.store.segments.coding import decode, encode
from mkt_search.store.store import Store
from mkt_search.types import Encoding, PhotoFacts, PhotoFile, PhotoVectors, Vector
from tests.command_line import mkt

DIM, GRID, M, TOP_K = 20, (3, 4), 5, 4
QUICK = BuildPolicy(calibration_labels=32, calibration_pairs=8)
"""Measures recall on fewer queries, which takes less time."""


def encoding(**changes: object) -> Encoding:
    """A small encoding; name what shall differ."""
    settings: dict[str, object] = {
        "checkpoint": "0123456789ab",
        "dim": DIM,
        "grid": GRID,
        "pooling": "cover",
        "m": M,
        "top_k": TOP_K,
        "precision": "int8",
    }
    return Encoding(**(settings | changes))  # type: ignore[arg-type]


def stored(**changes: object) -> StoredEncoding:
    """The same as a library has it; name what shall differ."""
    return StoredEncoding(1, encoding(**changes), "made", "active")


def sha(name: str) -> str:
    """The content hash of a made-up photo."""
    return hashlib.sha256(name.encode()).hexdigest()


def vectors(
    n: int, seed: int = 0, *, dim: int = DIM, m: int = M, patches: int = 12, each: int = TOP_K
) -> PhotoVectors:
    """n photos of random vectors that stand for `each` patches; a few of them are padding."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, m, (n, patches))
    own = group[:, None, :] == np.arange(m)[None, :, None]  # (n, m, P)
    members = sum(np.roll(own & (own.cumsum(axis=2) == 1), i, axis=2) for i in range(each)) > 0
    local_vectors = rng.standard_normal((n, m, dim)).astype(np.float32)
    local_vectors[~members.any(axis=2)] = 0
    return PhotoVectors(rng.standard_normal((n, dim)).astype(np.float32), local_vectors, members)


def file(root: Path, path: str, *, size: int = 10, mtime_ns: int = 1) -> PhotoFile:
    """A file as the walk would report it."""
    return PhotoFile(root, path, root / path, size, mtime_ns)


def photo(root: Path, path: str, row: int | None = None, **changes: object) -> NewPhoto:
    """A photo whose bytes are its path's name; `content` or `facts` may be given."""
    facts = changes.pop("facts", PhotoFacts(64, 48, "JPEG"))
    content = changes.pop("content", sha(path))
    return NewPhoto(file(root, path), content, facts, row, **changes)  # type: ignore[arg-type]


def failed(root: Path, path: str, reason: str = "not a photo") -> FailedPhoto:
    """A file that could not be read."""
    return FailedPhoto(file(root, path), reason)


def location(store: Store, folder: Path) -> RootLocation:
    """Register a folder, unless it lies below a root; return where it lies."""
    return store.catalog.record_scan(store.catalog.locate(folder), [], [])


def fill(
    store: Store, root: Path, n: int, *, seed: int = 0, name: str = "p", **changes: object
) -> StoredEncoding:
    """Add n photos named p000.jpg ... in one batch; return the encoding they are under."""
    with store.writing("test"):
        stored = store.begin_encoding(encoding(**changes), model="made")
        photos = [photo(root, f"{name}{i:03}.jpg", row=i) for i in range(n)]
        store.add(location(store, root), stored, Batch(photos, (), vectors(n, seed)))
    return stored


def add(store: Store, root: Path, photos: Sequence[NewPhoto], arrays: PhotoVectors) -> None:
    """Add photos and their vectors in one batch, under the active encoding."""
    assert store.active is not None
    with store.writing("test"):
        store.add(location(store, root), store.active, Batch(photos, (), arrays))


def index_nothing(home: Path, model: Path, *options: str) -> None:
    """Make a library in `home` that has recorded its model and its settings, but no photo."""
    (home / "photos").mkdir()
    (home / "photos" / "broken.jpg").write_bytes(b"no photo")
    library = ("--library", home)
    mkt("init", home)
    mkt("index", home / "photos", "--model", model, *library, *options)


def as_stored(arrays: PhotoVectors, encoding: Encoding) -> tuple[Vector, Vector, Vector]:
    """Return global and local vectors as they are after coding, (n, D), (n, m, D), and counts."""
    precision, dim = encoding.precision, encoding.dim
    coded = (encode(array, precision) for array in (arrays.global_vectors, arrays.local_vectors))
    global_vectors, local_vectors = (decode(*codes, precision, dim) for codes in coded)
    return global_vectors, local_vectors, arrays.counts


def optimize_active(store: Store) -> None:
    """Build a candidate index of the active encoding."""
    assert store.active is not None
    with store.writing("test"):
        assert optimize(store, store.active, policy=QUICK) is not None


def optimized(home: Path, n: int, **changes: object) -> Store:
    """A library in `home` of n photos with a candidate index of all of them."""
    (home / "photos").mkdir(parents=True)
    store = Store.create(home / ".mkt")
    fill(store, home / "photos", n, **changes)
    optimize_active(store)
    return store
