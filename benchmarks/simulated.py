"""Simulated photos of several objects each, for benchmarks of large libraries.

A photo is a grid of 14 x 14 patches: about six rectangles of log-uniform size, each showing one of
2,000 concepts (100 topics, Zipf frequencies, two fifths from the topic of the scene), with soft
borders over two background textures. Every patch also contains the scene, a constant and white
noise. The global vector is a mean of the patches weighted by saliency, with noise. Directions have
a falling spectrum, as in real encoders. The photos are pooled by the library's `pool`. Beyond
`BASE` photos, new ones are recombined from pooled ones: some local vectors come from another photo,
all get noise, and the global vector changes accordingly. Everything is seeded.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mkt_search.pooling.pool import pool
from mkt_search.scoring import unit
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import Batch, NewPhoto
from mkt_search.store.store import Store
from mkt_search.types import Encoded, Encoding, PhotoFacts, PhotoFile, PhotoVectors, Vector

DIM, GRID, M, TOP_K = 512, (14, 14), 16, 18
KINDS = ("cover", "topk")  # of local vectors, the default first
CONCEPTS, TOPICS = 2_000, 100
BASE = 20_000  # photos that are not recombined
PHOTOS_PER_BATCH = 256
MERGED_AFTER_COMMITS = 64  # as the indexer does
# Recombined photos yielded and committed together; their segments are not merged.
PART = CompactionPolicy().max_photos
MAX_OBJECTS = 12  # in a photo
SWAPPED = 6  # local vectors of a recombined photo that come from another one


def encoding(pooling: str = KINDS[0], precision: str = "int8") -> Encoding:
    """Return the encoding of simulated photos."""
    return Encoding("simulated", DIM, GRID, pooling, M, TOP_K, precision)  # type: ignore[arg-type]


@dataclass(frozen=True)
class World:
    """Concepts (C, D), unit vectors, with their topics (C,) and frequencies (C,)."""

    concepts: Vector
    topic: np.ndarray
    frequency: np.ndarray
    spectrum: Vector
    bias: Vector
    seed: int

    @classmethod
    def make(cls, seed: int = 0) -> "World":
        """Draw a world."""
        rng = np.random.default_rng(seed)
        spectrum = (np.arange(1, DIM + 1) ** -0.35).astype(np.float32)
        topics = unit(_directions(rng, (TOPICS, DIM), spectrum))
        topic = rng.integers(0, TOPICS, CONCEPTS)
        own = unit(_directions(rng, (CONCEPTS, DIM), spectrum))
        frequency = 1 / np.arange(1, CONCEPTS + 1) ** 0.9
        return cls(
            unit(0.5 * topics[topic] + own),
            topic,
            frequency / frequency.sum(),
            spectrum,
            unit(_directions(rng, (1, DIM), spectrum))[0],
            seed,
        )

    def labels(self, n: int, seed: int = 0) -> Vector:
        """Return (n, D) unit label vectors: concepts with noise, half drawn by frequency."""
        rng = np.random.default_rng((self.seed, 1, seed))
        often = rng.choice(CONCEPTS, n, p=self.frequency)
        which = np.where(np.arange(n) % 2, often, rng.integers(0, CONCEPTS, n))
        return unit(self.concepts[which] + 0.4 * unit(_directions(rng, (n, DIM), self.spectrum)))

    def encoded(self, n: int, seed: int) -> Encoded:
        """Return n photos as a student would return them."""
        rng = np.random.default_rng((self.seed, 2, seed))
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        components, weights, salience = self._compositions(n, rng)
        patches = torch.bmm(torch.from_numpy(weights), torch.from_numpy(components))
        noise = torch.randn(patches.shape, generator=generator)
        patches = torch.nn.functional.normalize(patches.add_(noise, alpha=0.8 / DIM**0.5), dim=2)
        mean = torch.bmm(torch.from_numpy(salience)[:, None], patches).squeeze(1).numpy()
        lost = unit(_directions(rng, (n, DIM), self.spectrum))
        return Encoded(unit(unit(mean) + 0.6 * lost), patches.numpy())

    def _compositions(self, n: int, rng: np.random.Generator) -> tuple[Vector, Vector, Vector]:
        """Return components (n, C, D), weights (n, P, C), and the saliency of patches (n, P)."""
        rows, columns = GRID
        scene_topic = rng.integers(0, TOPICS, n)
        shown = rng.choice(CONCEPTS, (n, MAX_OBJECTS), p=self.frequency)
        near = rng.random((n, MAX_OBJECTS)) < 0.4
        of_topic = np.argsort(self.topic, kind="stable")
        first = np.searchsorted(self.topic[of_topic], scene_topic)
        count = np.maximum(np.bincount(self.topic, minlength=TOPICS)[scene_topic], 1)
        inside = of_topic[
            (first[:, None] + rng.integers(0, 1 << 30, (n, MAX_OBJECTS)) % count[:, None])
            % CONCEPTS
        ]
        shown = np.where(near, inside, shown)
        number = np.clip(rng.poisson(6, n), 1, MAX_OBJECTS)
        area = np.exp(rng.uniform(np.log(3), np.log(60), (n, MAX_OBJECTS)))
        aspect = np.exp(rng.uniform(-0.6, 0.6, (n, MAX_OBJECTS)))
        height, width = np.sqrt(area * aspect), np.sqrt(area / aspect)
        top, left = (
            rng.uniform(-1, rows, (n, MAX_OBJECTS)),
            rng.uniform(-1, columns, (n, MAX_OBJECTS)),
        )
        y, x = np.mgrid[:rows, :columns].reshape(2, 1, 1, -1) + 0.5
        down = np.minimum(y - top[..., None], (top + height)[..., None] - y)
        across = np.minimum(x - left[..., None], (left + width)[..., None] - x)
        cover = np.clip(
            np.minimum(down, across) + 0.5, 0, 1
        )  # (n, MAX_OBJECTS, P), soft at the border
        cover *= (np.arange(MAX_OBJECTS) < number[:, None])[..., None]
        rest = np.ones((n, rows * columns))
        for i in range(MAX_OBJECTS):  # a later object covers earlier ones
            j = MAX_OBJECTS - 1 - i
            cover[:, j] *= rest
            rest -= cover[:, j]
        horizon = rng.integers(3, rows - 2, (n, 1)) > y.ravel()[None]
        background = np.stack([rest * horizon, rest * ~horizon], axis=1)
        textures = unit(_directions(rng, (n, 2, DIM), self.spectrum))
        scene = unit(_directions(rng, (n, 1, DIM), self.spectrum))
        bias = np.broadcast_to(self.bias, (n, 1, DIM))
        components = np.concatenate([self.concepts[shown], textures, scene, bias], axis=1)
        every = np.ones((n, 1, rows * columns))
        weights = np.concatenate([cover, background, 0.4 * every, 0.6 * every], axis=1)
        salience = 0.3 + cover.sum(axis=1)
        salience /= salience.sum(axis=1, keepdims=True)
        return (
            np.ascontiguousarray(components, np.float32),
            np.ascontiguousarray(weights.transpose(0, 2, 1), np.float32),
            salience.astype(np.float32),
        )


def photos(world: World, n: int, stored: Encoding, *, base: int = BASE) -> Iterator[PhotoVectors]:
    """Yield n pooled photos: the first `base` a few hundred at a time, the others `PART`."""
    kept: list[PhotoVectors] = []
    for start in range(0, min(n, base), PHOTOS_PER_BATCH):
        part = pool(world.encoded(min(PHOTOS_PER_BATCH, min(n, base) - start), start), stored)
        if n > base:
            kept.append(_thin(part))
        yield part
    if n > base:
        whole = _joined(kept)
        kept.clear()
        for first in range(base, n, PART):
            end = min(first + PART, n)
            starts = range(first, end, PHOTOS_PER_BATCH)
            yield _joined(
                [
                    _recombined(world, whole, min(PHOTOS_PER_BATCH, end - start), start)
                    for start in starts
                ]
            )


def fill(
    store: Store, stored_as: Encoding, parts: Iterable[PhotoVectors], *, model: str = "simulated"
) -> StoredEncoding:
    """Store simulated photos, one commit a part, and compact segments as the indexer does."""
    root = store.directory / "photos"
    root.mkdir()
    facts, done = PhotoFacts(640, 480, "JPEG"), 0
    with store.writing("benchmark"):
        stored = store.begin_encoding(stored_as, model=model)
        location = store.catalog.record_scan(store.catalog.locate(root), [], [])
        for commits, part in enumerate(parts, start=1):
            records = [
                NewPhoto(PhotoFile(root, f"{i:08}.jpg", root, 1, 1), f"{i:064x}", facts, i - done)
                for i in range(done, done + len(part))
            ]
            store.add(location, stored, Batch(records, (), part))
            done += len(part)
            if commits % MERGED_AFTER_COMMITS == 0:
                compact(store, stored)
        compact(store, stored, CompactionPolicy(min_segments=1))
    return stored


def _joined(parts: list[PhotoVectors]) -> PhotoVectors:
    return PhotoVectors(
        np.concatenate([part.global_vectors for part in parts]),
        np.concatenate([part.local_vectors for part in parts]),
        np.concatenate([part.members for part in parts]),
    )


def _thin(part: PhotoVectors) -> PhotoVectors:
    """Return the vectors in float16; half the memory."""
    return PhotoVectors(
        part.global_vectors.astype(np.float16), part.local_vectors.astype(np.float16), part.members
    )


def _recombined(world: World, whole: PhotoVectors, n: int, seed: int) -> PhotoVectors:
    rng = np.random.default_rng((world.seed, 3, seed))
    one, other = rng.integers(0, len(whole), (2, n))
    swap = np.argsort(rng.random((n, M)), axis=1) < SWAPPED
    local_vectors = np.where(
        swap[..., None], whole.local_vectors[other], whole.local_vectors[one]
    ).astype(np.float32)
    members = np.where(swap[..., None], whole.members[other], whole.members[one])
    lengths = np.linalg.norm(local_vectors, axis=2, keepdims=True)
    noise = rng.standard_normal(local_vectors.shape, np.float32) * np.float32(0.15 / DIM**0.5)
    moved = lengths * unit(local_vectors + lengths * noise)
    share = np.float32(SWAPPED / M)
    mixed = (1 - share) * whole.global_vectors[one] + share * whole.global_vectors[other]
    lost = rng.standard_normal((n, DIM), np.float32) * np.float32(0.3 * 0.5 / DIM**0.5)
    return PhotoVectors(0.5 * unit(mixed.astype(np.float32) + lost), moved, members)


def _directions(rng: np.random.Generator, shape: tuple[int, ...], spectrum: Vector) -> Vector:
    drawn: Vector = rng.standard_normal(shape, np.float32) * spectrum
    return drawn
