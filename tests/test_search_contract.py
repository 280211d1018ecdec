"""One contract for score, search and recall, through the command line.

Whatever form the vectors are stored in, whatever the filter and the query: `mkt search --exact`
finds what a slow reference finds, and `mkt search` finds the share of it that it promises.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mkt_search.library import Library
from mkt_search.pooling.pool import pool
from mkt_search.store.store import Store
from mkt_search.types import Encoded, Encoding, PhotoFacts, PhotoVectors, Vector
from tests import made
from tests.command_line import mkt
from tests.tiny import tiny_checkpoint, tiny_table

pytestmark = pytest.mark.slow

PHOTOS, K = 1_000, 10
RECALL = 0.7  # low enough for the candidate index to answer many of the queries
FORMS = [
    ("--pooling", "cover", "--precision", "int8"),
    ("--pooling", "cover", "--precision", "int4"),
    ("--pooling", "topk", "--precision", "int8"),
    ("--pooling", "topk", "--precision", "int4"),
    ("--pooling", "all"),
]
LABELS = tiny_table()


@dataclass(frozen=True)
class MadePhoto:
    """A photo that is only recorded, and what the filters look at."""

    number: int

    @property
    def path(self) -> str:
        return f"{'trip' if self.number % 3 == 0 else 'home'}/{self.number:04}.jpg"

    @property
    def facts(self) -> PhotoFacts:
        taken_at = datetime(2024, 1, 1) + timedelta(hours=6 * self.number)
        camera = "Pinhole 3000" if self.number % 4 else None
        return PhotoFacts(100 + self.number, 80, "JPEG", taken_at=taken_at, camera=camera)

    @property
    def is_tagged(self) -> bool:
        return self.number % 12 == 0

    def passes(self, filters: Sequence[str]) -> bool:
        """What each filter means, in one line."""
        tests = {
            "--path=*trip/*": self.path.startswith("trip/"),
            "--path=home/000": self.path.startswith("home/000"),  # seven photos
            "--after=2024-06": self.number >= 4 * 152,
            "--camera=pinhole": self.number % 4 > 0,
            "--min-width=300": self.number >= 200,
            "--tag=kept": self.is_tagged,
        }
        return all(tests[name] for name in filters)


ALL = [MadePhoto(number) for number in range(PHOTOS)]
FILTERS: list[tuple[str, ...]] = [
    (),
    ("--path=*trip/*",),
    ("--path=home/000",),
    ("--after=2024-06", "--camera=pinhole"),
    ("--tag=kept", "--min-width=300"),
]


class Query(NamedTuple):
    """Words of a query and what they mean."""

    words: str
    weights: dict[str, float]


QUERIES = [
    Query("dog", {"dog": 1}),
    Query("cat + beach", {"cat": 1, "beach": 1}),
    Query("2*tree + 0.5*night + car", {"tree": 2, "night": 0.5, "car": 1}),
    Query("person - snow", {"person": 1, "snow": -1}),
    Query("green + blue - 0.5*red", {"green": 1, "blue": 1, "red": -0.5}),
]


class Stored(NamedTuple):
    """A library, and what is stored in it: (n, D), (n, m, D) and patches of each vector (n, m)."""

    home: Path
    encoding: Encoding
    global_vectors: Vector
    local_vectors: Vector
    counts: Vector


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: "-".join(form[1::2]))
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    home = tmp_path_factory.mktemp("home")
    made.index_nothing(home, tiny_checkpoint(home / "student"), "--m", "6", *request.param)
    store = Store.open(home / ".mkt")
    assert store.active is not None
    encoding, root = store.active.encoding, home / "photos"
    vectors = random_vectors(encoding)
    photos = [made.photo(root, p.path, row=p.number, facts=p.facts) for p in ALL]
    made.add(store, root, photos, vectors)
    made.optimize_active(store)
    store.close()
    with Library.open(home) as library:
        library.add_tag([root / photo.path for photo in ALL if photo.is_tagged], "kept")
    return Stored(home, encoding, *made.as_stored(vectors, encoding))


def random_vectors(encoding: Encoding) -> PhotoVectors:
    """Pool random patches as the library would."""
    rng, dim = np.random.default_rng(0), encoding.dim
    global_vectors = rng.standard_normal((PHOTOS, dim)).astype(np.float32)
    patches = rng.standard_normal((PHOTOS, encoding.patches, dim)).astype(np.float32)
    return pool(Encoded(global_vectors, patches + global_vectors[:, None]), encoding)


class Scores(NamedTuple):
    """Of every photo, (n,) each."""

    global_part: Vector
    local_part: Vector

    @property
    def fused(self) -> Vector:
        return self.global_part + self.local_part


def reference(stored: Stored, query: Query) -> Scores:
    """Score every photo: the paper's formula, summed over the terms."""
    global_part, local_part = np.zeros(PHOTOS), np.zeros(PHOTOS)
    for label, weight in query.weights.items():
        z = LABELS.encode([label])[0]
        global_part += weight * (stored.global_vectors @ z)
        for number, (local_vectors, counts) in enumerate(
            zip(stored.local_vectors, stored.counts, strict=True)
        ):
            local_part[number] += weight * best_patches(
                local_vectors @ z, counts, stored.encoding.top_k
            )
    return Scores(global_part, local_part)


def best_patches(similarities: Vector, counts: Vector, k: int) -> float:
    """The mean of the k best patches of one photo, from the products of its local vectors."""
    best = sorted(similarities[counts > 0], reverse=True)
    return float(np.mean(best[: -(-k // int(counts.max()))]))


class Answer(NamedTuple):
    """What `mkt search` printed: numbers of photos, both parts of their scores, and the plan."""

    numbers: list[int]
    global_part: list[float]
    local_part: list[float]
    plan: str


def search(stored: Stored, query: Query, filters: Sequence[str], *options: str) -> Answer:
    arguments = (query.words, "-k", str(K), *filters, *options, "--library", stored.home)
    result = mkt("search", *arguments, "--json", "--explain")
    hits = json.loads(result.stdout)
    numbers = [int(Path(hit["path"]).stem) for hit in hits]
    return Answer(numbers, [h["global"] for h in hits], [h["local"] for h in hits], result.stderr)


def test_search_agrees_with_a_slow_reference(stored: Stored) -> None:
    shares = []
    for query in QUERIES:
        scores = reference(stored, query)
        for filters in FILTERS:
            passing = [photo.number for photo in ALL if photo.passes(filters)]
            best = sorted(passing, key=lambda number: -scores.fused[number])[:K]
            exact = search(stored, query, filters, "--exact")
            fast = search(stored, query, filters, "--recall", str(RECALL))
            assert exact.numbers == best, (query, filters)
            assert set(fast.numbers) <= set(passing), (query, filters)
            for answer in exact, fast:
                for found, part in zip(answer[1:3], scores, strict=True):
                    np.testing.assert_allclose(found, part[answer.numbers], atol=2e-6)
            if fast.plan.startswith("plan: candidates"):
                shares.append(len(set(fast.numbers) & set(best)) / len(best))
            else:
                assert fast.numbers == best, (query, filters)
    assert len(shares) > 5, "few of these queries use the candidate index"
    assert np.mean(shares) >= RECALL
