"""Processes search one library while a writer changes it in every way, and every answer is checked.

The writer adds, edits, removes and brings back photos, prunes, builds candidate indexes, tags, and
rebuilds the library with another number of local vectors. It notes when each state of the library
began and ended. An answer must be that of a state between the start and the end of its search.
"""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from mkt_search.library import Library
from mkt_search.models.build import open_model
from mkt_search.pooling.pool import pool
from mkt_search.scoring import score
from mkt_search.settings.config import Config
from mkt_search.store.optimize import optimize
from mkt_search.store.records import Batch
from mkt_search.types import Encoded, Encoding, PhotoVectors, Vector
from tests import made
from tests.tiny import tiny_clip_folder

SECONDS = 600
READERS, K = 2, 10
PHOTOS, CONTENTS, BATCH = 400, 800, 20  # numbers of photos, of their bytes, of photos in a batch
MS = (4, 5)  # local vectors of a photo, by turns
REOPEN_EVERY, VERIFY_EVERY = 10, 40  # searches
SMALL_INDEX = replace(made.QUICK, min_photos=50)
ATOL = 1e-4
WORDS = ("red", "green", "blue", "dog", "cat", "beach", "tree", "car", "snow")


class State(NamedTuple):
    """What a search finds: the encoding, and the bytes (PHOTOS,) of each photo; -1 for none."""

    encoding: Encoding
    contents: NDArray[np.int16]

    def with_photos(self, contents: Mapping[int, int]) -> "State":
        """Return the state after some photos have got other bytes."""
        after = self.contents.copy()
        after[list(contents)] = list(contents.values())
        return State(self.encoding, after)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the photos that are found."""
        found: list[int] = np.flatnonzero(self.contents >= 0).tolist()
        return found


class Answer(NamedTuple):
    """A search by a reader: when it started and ended, and (number of the photo, score)."""

    label: str
    is_exact: bool
    started: float
    ended: float
    hits: list[tuple[int, float]]


@dataclass
class Writer:
    """Changes a library step by step, and notes its states with the time that each began at."""

    library: Library
    root: Path
    vectors: Mapping[Encoding, PhotoVectors]
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    states: list[State] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)  # start and end of each change
    done: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> State:
        """The newest state."""
        return self.states[-1]

    @contextmanager
    def becomes(self, state: State) -> Iterator[None]:
        """Note that the block changes the library to a state, in one commit."""
        started = time.monotonic()
        yield
        self.times.append((started, time.monotonic()))
        self.states.append(state)

    def step(self) -> None:
        """Change something."""
        steps = {
            self.put: 9,
            self.remove: 4,
            self.tag: 1,
            self.prune: 1,
            self.optimize: 0.5,
            self.rebuild: 0.2,
        }
        step = self.chance.choices(list(steps), weights=list(steps.values()))[0]
        step()
        self.done[step.__name__] += 1

    def put(self) -> None:
        """Add photos, edit some, bring some back: whatever their numbers are now."""
        free = sorted(set(range(CONTENTS)) - set(self.state.contents.tolist()))
        numbers = self.chance.sample(range(PHOTOS), BATCH)
        new = dict(zip(numbers, self.chance.sample(free, BATCH), strict=True))
        with self.library.store.writing("put"), self.becomes(self.state.with_photos(new)):
            self._commit(new, self.state.encoding)

    def remove(self) -> None:
        """Mark photos missing; some of them are found again by a later `put`."""
        gone = self.chance.sample(self.state.numbers, BATCH // 2)
        ids = [self.library.photo(self._path(number)).id for number in gone]
        after = self.state.with_photos(dict.fromkeys(gone, -1))
        with self.library.store.writing("remove"), self.becomes(after):
            self.library.store.catalog.mark_missing(ids)

    def tag(self) -> None:
        """Tag every photo, in a transaction that takes a while, and revert that now and then."""
        self.library.tag([self.chance.choice(WORDS) for _ in range(3)], top=2)
        if self.chance.random() < 0.5:
            run = max(info.id for info in self.library.runs() if info.kind == "tag")
            self.library.untag(run)

    def prune(self) -> None:
        """Forget missing photos and merge segments; what is found stays as it is."""
        self.library.prune()

    def optimize(self) -> None:
        """Build the candidate index again."""
        store = self.library.store
        assert store.active is not None
        with store.writing("optimize"):
            assert optimize(store, store.active, policy=SMALL_INDEX) is not None

    def rebuild(self) -> None:
        """Encode every photo again, and switch."""
        store = self.library.store
        encoding = next(other for other in self.vectors if other != self.state.encoding)
        assert store.active is not None
        with store.writing("rebuild"):
            stored = store.begin_encoding(encoding, model=store.active.model, rebuild=True)
            for numbers in np.array_split(self.state.numbers, 5):
                contents = self.state.contents[numbers].tolist()
                self._commit(dict(zip(numbers.tolist(), contents, strict=True)), encoding)
            with self.becomes(State(encoding, self.state.contents)):
                assert store.finish_encoding(stored)

    def _commit(self, contents: Mapping[int, int], encoding: Encoding) -> None:
        """Record photos with their bytes, and the vectors that the library lacks, in one commit."""
        store = self.library.store
        stored = next(one for one in store.encodings() if one.encoding == encoding)
        shas = {content: made.sha(str(content)) for content in contents.values()}
        encoded = store.catalog.copies(set(shas.values()), stored.id).encoded
        new = [content for content, sha in shas.items() if sha not in encoded]
        photos = [
            made.photo(
                self.root,
                self._path(number).name,
                row=new.index(content) if content in new else None,
                content=shas[content],
            )
            for number, content in contents.items()
        ]
        all_of_them = self.vectors[encoding]
        arrays = PhotoVectors(
            all_of_them.global_vectors[new],
            all_of_them.local_vectors[new],
            all_of_them.members[new],
        )
        location = made.location(store, self.root)
        store.add(location, stored, Batch(photos, (), arrays if new else None))

    def _path(self, number: int) -> Path:
        return self.root / f"{number:04}.jpg"


def read(home: Path, reader: int, seconds: float) -> None:
    """Search for labels that are new to the library; print every answer as JSON."""
    chance = random.Random(reader)
    end, number, library = time.monotonic() + seconds, 0, Library.open(home)
    while time.monotonic() < end:
        number += 1
        if number % REOPEN_EVERY == 0:
            library.close()
            library = Library.open(home)
        if number % VERIFY_EVERY == 0:
            problems = library.verify()
            assert problems == []
            library.status()
        label = " ".join([f"{reader} {number}", *chance.sample(WORDS, chance.randint(1, 5))])
        is_exact, started = chance.random() < 0.5, time.monotonic()
        hits = library.search(label, k=K, exact=is_exact, boxes=number % 3 == 0)
        found = [(int(hit.path.stem), hit.score) for hit in hits]
        print(json.dumps(Answer(label, is_exact, started, time.monotonic(), found)), flush=True)
    library.close()


def all_vectors(encoding: Encoding) -> dict[Encoding, PhotoVectors]:
    """Pool made-up photos once for each number of local vectors."""
    rng = np.random.default_rng(0)
    global_vectors = rng.standard_normal((CONTENTS, encoding.dim)).astype(np.float32)
    patches = rng.standard_normal((CONTENTS, encoding.patches, encoding.dim)).astype(np.float32)
    encoded = Encoded(global_vectors, patches + global_vectors[:, None])
    encodings = [replace(encoding, m=m) for m in MS]
    return {one: pool(encoded, one) for one in encodings}


def stress(home: Path, seconds: float) -> Counter[str]:
    """Write and read at the same time for some seconds, then check; return what was done."""
    made.index_nothing(home, tiny_clip_folder(home / "clip"), "--m", str(MS[0]))
    with Library.open(home) as library:
        assert library.store.active is not None
        encoding = library.store.active.encoding
        writer = Writer(library, home / "photos", all_vectors(encoding))
        writer.states.append(State(encoding, np.full(PHOTOS, -1, np.int16)))
        while len(writer.state.numbers) < PHOTOS // 2:
            writer.put()
        writer.optimize()
        answers = answers_while(writer, home, seconds)
    return check(writer, answers, home) + writer.done


def answers_while(writer: Writer, home: Path, seconds: float) -> list[Answer]:
    """Let readers search while the writer writes; return their answers."""
    logs = [home / f"reader {number}" for number in range(READERS)]
    command = [sys.executable, "-m", "tests.test_stress", str(home), str(seconds)]
    readers = []
    for number, log in enumerate(logs):
        with log.open("w") as output:
            readers.append(subprocess.Popen([*command, str(number)], stdout=output))
    while any(reader.poll() is None for reader in readers):
        writer.step()
    assert [reader.wait() for reader in readers] == [0] * READERS
    found = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [Answer(*answer) for answer in found]


def check(writer: Writer, answers: list[Answer], home: Path) -> Counter[str]:
    """Compare every answer with those of the states that it may be of; count the answers."""
    counts, recalls = Counter[str](), []
    encoder = open_model(str(home / "clip")).label_encoder(Config().model.templates)

    @cache
    def stored(encoding: Encoding) -> tuple[Vector, Vector, Vector]:
        return made.as_stored(writer.vectors[encoding], encoding)

    starts = np.array([-np.inf, *(started for started, _ in writer.times)])
    ends = np.array([*(ended for _, ended in writer.times), np.inf])
    for answer in answers:
        label = encoder.encode([answer.label])
        scores: dict[Encoding, Any] = {}
        wrong, best_recall = [], 0.0
        first = np.searchsorted(ends, answer.started)
        end = np.searchsorted(starts, answer.ended, side="right")
        for state in writer.states[first:end]:
            encoding = state.encoding
            if encoding not in scores:
                fused = score(label, *stored(encoding), k=encoding.top_k).fused
                scores[encoding] = fused[:, 0]
            numbers = state.numbers
            found = scores[encoding][state.contents[numbers]].tolist()
            of_photos = dict(zip(numbers, found, strict=True))
            problem, recall = compare(answer, of_photos)
            if not problem:
                best_recall = max(best_recall, recall)
            wrong.append(problem)
        assert "" in wrong, f"{answer} is of no state: {wrong}"
        counts["exact" if answer.is_exact else "approximate"] += 1
        recalls += [] if answer.is_exact else [best_recall]
    assert np.mean(recalls) > 0.9
    return counts


def compare(answer: Answer, scores: Mapping[int, float]) -> tuple[str, float]:
    """Return why an answer is not one of photos with these scores ("" if it is), and its recall."""
    if len(answer.hits) != min(K, len(scores)):
        return f"{len(answer.hits)} hits", 0.0
    for number, found in answer.hits:
        if number not in scores or abs(scores[number] - found) > ATOL:
            return f"{number} has {scores.get(number)}, not {found}", 0.0
    best = sorted(scores.values(), reverse=True)[:K]
    recall = sum(found >= best[-1] - ATOL for _, found in answer.hits) / K
    return ("a better photo is left out" if answer.is_exact and recall < 1 else ""), recall


@pytest.mark.soak
def test_every_answer_is_that_of_a_state_during_the_search(tmp_path: Path) -> None:
    done = stress(tmp_path, SECONDS)
    print(dict(done))
    assert min(done[name] for name in ("exact", "approximate", "put", "rebuild")) > 10


if __name__ == "__main__":
    read(Path(sys.argv[1]), int(sys.argv[3]), float(sys.argv[2]))
