"""Single flipped bits in every kind of file: each is reported or harmless, and no hit is wrong.

Reported means that `verify` names it, or that reading ends with an error of this program, never
with another exception. Harmless means that every answer stays as it was.
"""

import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mkt_search.errors import MktError
from mkt_search.library import Library
from mkt_search.models.build import open_model
from mkt_search.models.checkpoint import TOWER, Prompt
from mkt_search.models.checkpoint import write as write_checkpoint
from mkt_search.models.clip import create_clip, text_state
from mkt_search.store.store import Store
from tests import made
from tests.tiny import LABELS, tiny_checkpoint, tiny_clip, tiny_meta, tiny_student
from training.runs.history import Epoch
from training.runs.state import Run

PHOTOS = 300
campaign = pytest.mark.parametrize(
    "flips",
    [pytest.param(8, marks=pytest.mark.slow), pytest.param(700, marks=pytest.mark.soak)],
    ids=["few", "many"],
)


@contextmanager
def flipped(file: Path, rng: random.Random) -> Iterator[str]:
    """Flip a random bit of a file in a block; yield where."""
    whole, times = file.read_bytes(), file.stat()
    data = bytearray(whole)
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    data[at] ^= 1 << bit
    file.chmod(0o644)
    file.write_bytes(data)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        yield f"bit {bit} of byte {at} of {file.name}"
    finally:
        file.write_bytes(whole)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with photos, tags, remembered labels, two segments and a candidate index."""
    home = tmp_path_factory.mktemp("home")
    made.index_nothing(home, tiny_checkpoint(home / "student"), "--m", "4")
    store = Store.open(home / ".mkt")
    assert store.active is not None
    encoding = store.active.encoding
    for part in range(2):
        arrays = made.vectors(PHOTOS, part, dim=encoding.dim, m=4, patches=16, each=3)
        photos = [made.photo(home, f"{part}/{i:03}.jpg", row=i) for i in range(PHOTOS)]
        made.add(store, home, photos, arrays)
    made.optimize_active(store)
    store.close()
    with Library.open(home) as library:
        library.tag(LABELS, top=2)
        library.search("red - blue")
        library.add_tag([home / "0" / "000.jpg"], "mine")
    return home


QUERIES = ("dog", "cat + tree", "red - blue")
Scores = dict[str, dict[str, tuple[float, ...]]]


def hits(home: Path, k: int) -> Scores:
    """Return the parts of each hit's score by query and path. Raises MktError."""
    found: Scores = {}
    with Library.open(home) as library:
        for query in QUERIES:
            hits = library.search(query, k=k, boxes=False)
            found[query] = {str(hit.path): (hit.global_part, hit.local_part) for hit in hits}
    return found


def problems(home: Path) -> list[str]:
    """Return what `verify` reports, or the error that it ends with."""
    try:
        with Library.open(home) as library:
            return [problem.what for problem in library.verify()]
    except MktError as error:
        return [str(error)]


def check_that_no_hit_is_wrong(home: Path, truth: Scores, where: str) -> None:
    """Check that a search ends with a sentence, or every hit and score is one of the truth."""
    try:
        found = hits(home, k=5)
    except MktError:
        return
    for query, scores in found.items():
        for path, parts in scores.items():
            assert path in truth[query], (where, query, path)
            assert parts == pytest.approx(truth[query][path], abs=1e-5), (where, query, path)


@campaign
@pytest.mark.parametrize("folder", ["segments", "index"])
def test_flips_in_vectors_are_reported_and_show_no_wrong_hit(
    home: Path, folder: str, flips: int
) -> None:
    rng, truth = random.Random(0), hits(home, k=2 * PHOTOS)
    assert problems(home) == []
    for number in range(flips):
        files = sorted((home / ".mkt" / folder).iterdir())
        with flipped(files[number % len(files)], rng) as where:
            assert problems(home), where
            check_that_no_hit_is_wrong(home, truth, where)
    assert problems(home) == []


def rows(database: Path) -> list[str]:
    """Return all that SQLite reads of a database."""
    connection = sqlite3.connect(database)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@campaign
def test_flips_in_the_database_are_reported_or_never_read(home: Path, flips: int) -> None:
    """What is not reported lies in bytes that SQLite does not use: every row is as before."""
    database, rng, truth = home / ".mkt" / "mkt.db", random.Random(0), hits(home, k=2 * PHOTOS)
    files = {path: path.read_bytes() for path in database.parent.glob("*/*") if path.is_file()}
    expected = rows(database)
    for _ in range(flips):
        with flipped(database, rng) as where:
            found = problems(home)
            check_that_no_hit_is_wrong(home, truth, where)
            assert found or rows(database) == expected, where
        for rest in database.parent.glob("mkt.db-*"):
            rest.unlink()
        assert all(path.read_bytes() == data for path, data in files.items())
    assert problems(home) == []


def checkpoint_with_tower(folder: Path) -> Path:
    """Write a checkpoint with a text tower of its own and a learned prompt."""
    name, _, weights = tiny_clip(folder / "clip").partition("/")
    text = text_state(create_clip(name, pretrained=weights))
    meta = tiny_meta(prompt=Prompt(name, TOWER))
    context = torch.ones(6, 32)
    out = folder / "checkpoint"
    write_checkpoint(out, meta, tiny_student().state(), text=text, context=context)
    return out


def outputs(checkpoint: Path) -> Any:
    """Return fingerprints and vectors of a model; None if it is refused."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    try:
        model = open_model(checkpoint)
        encoded = model.photo_encoder(device="cpu", dtype="float32").encode(pixels)
        labels = model.label_encoder()
        vectors = labels.encode(["dog", "cat"])
    except MktError:
        return None
    arrays = encoded.global_vectors, encoded.patches, vectors
    return (model.fingerprint, labels.fingerprint), [array.tobytes() for array in arrays]


@campaign
@pytest.mark.parametrize(
    "make", [lambda folder: tiny_checkpoint(folder / "checkpoint"), checkpoint_with_tower],
    ids=["table", "tower"],
)  # fmt: skip
def test_flips_in_a_checkpoint_are_refused_or_change_its_fingerprints_or_nothing(
    tmp_path: Path, make: Callable[[Path], Path], flips: int
) -> None:
    rng, folder = random.Random(0), make(tmp_path)
    expected = outputs(folder)
    assert expected is not None
    for number in range(flips):
        files = sorted(folder.iterdir())
        with flipped(files[number % len(files)], rng) as where:
            found = outputs(folder)
            assert found is None or found == expected or found[0] != expected[0], where


@campaign
def test_flips_in_the_state_of_a_training_run_are_refused_or_harmless(
    tmp_path: Path, flips: int
) -> None:
    run, rng = Run(tmp_path / "out", {"lr": 0.1}), random.Random(0)
    weights = torch.randn(100, generator=torch.Generator().manual_seed(0))
    run.folder.mkdir()
    run.save([Epoch(1, 2, {"loss": 0.5}, 0.1, 3.0, {})], {"weights": weights})
    (state,) = run.folder.glob("*.pt")
    for _ in range(flips):
        with flipped(state, rng) as where:
            try:
                found = run.load()
            except MktError:
                continue
            assert torch.equal(found.tensors["weights"], weights), where
            assert [epoch.losses for epoch in found.history] == [{"loss": 0.5}], where
