"""Generations: built beside the live one, right for the library as it is now, and never trusted."""

import hashlib
import json
import logging
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from indexer.pooling.pool import pool
from mkt_search.display import byte_size
from mkt_search.errors import StoreError
from mkt_search.library import Library
from mkt_search.progress import Progress
from mkt_search.search import search
from mkt_search.search.search import Explanation, _of_all, best
from mkt_search.store import checks
from mkt_search.store.candidates import build as optimize
from mkt_search.store.candidates import validation
from mkt_search.store.compact import compact
from mkt_search.store.recall_curve import RecallCurve
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.sql.schema import CandidateIndexRow
from mkt_search.store.status import status
from mkt_search.store.store import Batch, Store, StoredEncoding
from mkt_search.types import Encoded, Encoding, PhotoVectors
from tests import made
from tests.command_line import columns, mkt
from tests.index_process import Commands

N = 600
ONE = np.ones(1, np.float32)


BASIS = np.random.default_rng(99).standard_normal((4, made.DIM)).astype(np.float32)


def vectors(n: int, seed: int) -> PhotoVectors:
    """Photos whose vectors lie near a space of four dimensions."""
    plain = made.vectors(n, seed)
    rng = np.random.default_rng(seed)
    global_ = rng.standard_normal((n, 4)).astype(np.float32) @ BASIS
    local_vectors = rng.standard_normal((n, made.M, 4)).astype(np.float32) @ BASIS
    noise = np.float32(0.1)
    return PhotoVectors(
        global_ + noise * plain.global_, local_vectors + noise * plain.local_vectors, plain.members
    )


def near_the_space(n: int, encoding: Encoding) -> Encoded:
    """Photos of a few objects each as a student gives them, all near those four dimensions."""
    rng = np.random.default_rng(0)
    objects = rng.standard_normal((n, 4, 4))
    which = rng.integers(0, 4, (n, encoding.patches))
    patches = np.take_along_axis(objects, which[..., None], axis=1) @ BASIS
    patches += 0.3 * rng.standard_normal(patches.shape)
    return Encoded(patches.mean(axis=1).astype(np.float32), patches.astype(np.float32))


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the recall of several terms on fewer of them, which takes less time."""
    monkeypatch.setattr(validation, "PAIRS", 8)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A library of 600 photos with a generation."""
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(top_k=1), model="made")
    add(store, "p", N, seed=0)
    build(store, stored)
    yield store
    store.close()


def build(store: Store, stored: StoredEncoding) -> optimize.Optimized:
    with store.writing("test"):
        done = optimize.optimize(store, stored)
    assert done is not None
    return done


def active(store: Store) -> StoredEncoding:
    stored = store.active
    assert stored is not None
    return stored


def opened(store: Store) -> LocalSnapshot:
    index = LocalSnapshot.open(store, active(store))
    return index


def add(store: Store, name: str, n: int, seed: int, times: float = 1) -> None:
    with store.writing("test"):
        root = store.directory.parent / "photos"
        photos = [made.photo(root, f"{name}{i:03}.jpg", row=i) for i in range(n)]
        plain, by = vectors(n, seed), np.float32(times)
        longer = PhotoVectors(by * plain.global_, by * plain.local_vectors, plain.members)
        batch = Batch(photos, (), longer)
        store.add(store.place_of(root), active(store), batch)


def labels(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 1, 4)).astype(np.float32) @ BASIS


def recall(index: LocalSnapshot, k: int = 10, target: float = 0.9) -> float:
    """Share of the exact k best that the candidates' way finds."""
    shares = []
    for label in labels(20):
        told = Explanation()
        found = best(index, label, ONE, k, index.live, recall=target, explanation=told)
        assert told.path == "candidates"
        truth = _of_all(index, label, ONE, k, index.live)
        shares.append(np.isin(truth.slots, found.slots).mean())
        both = np.isin(found.slots, truth.slots)
        at = {slot: score for slot, score in zip(truth.slots, truth.scores, strict=True)}
        for slot, score in zip(found.slots[both], found.scores[both], strict=True):
            assert score == pytest.approx(at[slot], rel=1e-5, abs=1e-5)
    return float(np.mean(shares))


def file_of(store: Store) -> Path:
    [file] = store.index_folder.glob(f"*{generations.SKETCH}")
    return file


def test_the_curve_gives_the_fewest_vectors_that_reach_the_recall() -> None:
    one = {10: ((100, 0.9), (200, 0.99)), 100: ((100, 0.5), (400, 0.97))}
    curve = RecallCurve({"one": one, "several": {10: ((800, 1.0),)}})
    assert [curve.depth_of(k) for k in (1, 10, 11, 100, 101)] == [10, 10, 100, 100, 101]
    assert curve.vectors_for("one", 5, 0.9) == 100
    assert curve.vectors_for("one", 10, 0.95) == 200
    assert curve.vectors_for("one", 11, 0.9) == 400
    assert curve.vectors_for("one", 200, 0.9) == 800
    assert curve.vectors_for("one", 10, 0.999) is None
    assert curve.vectors_for("several", 10, 0.9) == 800
    assert curve.vectors_for("several", 10, 0.999) is None  # which one label does not reach
    assert curve.vectors_for("unwanted", 10, 0.9) is None
    assert RecallCurve({}).vectors_for("one", 1, 0.5) is None
    assert RecallCurve.of_data(curve.as_data()) == curve


def test_a_curve_of_before_is_that_of_one_label() -> None:
    assert RecallCurve.of_data({"10": [[100, 0.9]]}) == RecallCurve({"one": {10: ((100, 0.9),)}})


def test_candidates_find_what_was_promised(store: Store) -> None:
    assert recall(opened(store)) >= 0.85


@pytest.mark.parametrize("weights", [(1, 1), (1, -1), (20, 1), (1, 0.5, -0.5)])
def test_several_terms_go_through_the_candidates_too(
    store: Store, weights: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW_PHOTOS", 10)
    monkeypatch.setattr(search, "OF_ONE", 100)  # so small a library is read whole otherwise
    index, by = opened(store), np.array(weights, np.float32)
    shares = []
    for terms in labels(20 * len(by)).reshape(20, len(by), made.DIM):
        told = Explanation()
        found = best(index, terms, by, 10, index.live, recall=0.9, explanation=told)
        assert told.path == "candidates"
        truth = _of_all(index, terms, by, 10, index.live)
        shares.append(np.isin(truth.slots, found.slots).mean())
        assert (np.diff(found.scores) <= 0).all()
        assert found.scores[0] <= truth.scores[0] + 1e-5
    assert np.mean(shares) >= 0.85


def test_a_query_of_which_most_is_unwanted_scores_every_photo(store: Store) -> None:
    index, terms = opened(store), labels(2).reshape(2, made.DIM)
    told = Explanation()
    by = np.array([1, -2], np.float32)
    best(index, terms, by, 10, index.live, recall=0.9, explanation=told)
    assert (told.path, told.recall) == ("every photo", 1)


@pytest.mark.parametrize("local", ["cover", "topk"])
def test_every_pooled_kind_is_found_as_by_scoring_one_and_all(tmp_path: Path, local: str) -> None:
    """The exact scan proves the very answer; the candidates find what was promised of it."""
    store = Store.create(tmp_path / ".mkt")
    encoding = made.encoding(local=local, grid=(5, 5))
    photos = [made.photo(tmp_path, f"{i:03}.jpg", row=i) for i in range(N)]
    with store.writing("test"):
        stored = store.begin_encoding(encoding, model="made")
        batch = Batch(photos, (), pool(near_the_space(N, encoding), encoding))
        store.add(store.place_of(tmp_path), stored, batch)
    build(store, stored)
    index = opened(store)
    assert recall(index) >= 0.85
    for label in labels(20):
        truth = _of_all(index, label, ONE, 10, index.live)
        found = best(index, label, ONE, 10, index.live, recall=1)
        np.testing.assert_allclose(found.scores, truth.scores, atol=1e-6)
        assert found.slots.tolist() == truth.slots.tolist()
        scanned = index.scan.candidates(label[0], vectors=50, live=index.live)
        outside = np.setdiff1d(np.arange(N), scanned.slots)
        everyone = _of_all(index, label, ONE, N, index.live)
        scores = everyone.scores[np.argsort(everyone.slots)]
        assert scores[outside].max() <= scanned.bound + 1e-6
        assert (scores[scanned.slots] <= scanned.upper + 1e-6).all()
    store.close()


def test_validation_measures_more_with_more_candidates(store: Store) -> None:
    generation = opened(store).generation
    assert generation is not None
    curves = generation.curve.recall
    assert list(curves) == ["one", "several", "unwanted"]
    for pairs in (pairs for depths in curves.values() for pairs in depths.values()):
        shares = [share for _, share in pairs]
        assert shares == sorted(shares)
        assert 0 < shares[-1] <= 1


def test_a_photo_newer_than_the_generation_is_found_at_once(store: Store) -> None:
    index = opened(store)
    add(store, "new", 1, seed=77, times=9)
    index = index.renewed()
    vector = index.read(np.array([N]))[0]
    label = (vector[0] + vector[1])[None]
    told = Explanation()
    found = best(index, label, ONE, 1, index.live, recall=0.9, explanation=told)
    assert (told.path, told.newer) == ("candidates", 1)
    assert found.slots.tolist() == [N]


def test_a_photo_that_is_gone_is_found_no_more(store: Store) -> None:
    index = opened(store)
    label = labels(1)[0]
    first = best(index, label, ONE, 1, index.live, recall=0.9).slots[0]
    with reading(store.engine) as session:
        [photos] = photo_queries.photo_ids_of(session, [int(index.contents[first])]).values()
    store.mark_missing(photos)
    index = index.renewed()
    found = best(index, label, ONE, 10, index.live, recall=0.9)
    truth = _of_all(index, label, ONE, 10, index.live)
    assert first not in found.slots
    assert found.slots[0] == truth.slots[0]


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_filters_keep_the_recall(store: Store, share: float) -> None:
    index = opened(store)
    allowed = index.live & (np.random.default_rng(0).random(N) < share)
    shares = []
    for label in labels(20):
        found = best(index, label, ONE, 10, allowed, recall=0.9)
        truth = _of_all(index, label, ONE, 10, allowed)
        assert allowed[found.slots].all()
        shares.append(np.isin(truth.slots, found.slots).mean())
    assert np.mean(shares) >= 0.85


def test_exact_is_exact_and_a_small_set_is_scored_one_and_all(store: Store) -> None:
    index = opened(store)
    few = index.live & (np.arange(N) < 20)
    told = Explanation()
    best(index, labels(1)[0], ONE, 5, few, recall=0.9, explanation=told)
    assert (told.path, told.searched) == ("every photo", 20)
    best(index, labels(1)[0], ONE, 5, index.live, recall=1.0, explanation=told)
    assert told.path == "exact scan"


def test_merging_segments_leaves_the_generation_right(store: Store) -> None:
    for part in range(3):
        add(store, f"more{part}", 10, seed=part)
    build(store, active(store))
    with store.writing("test"):
        assert compact(store, active(store), fewest=2)
    assert recall(opened(store)) >= 0.85


def test_too_few_photos_get_no_generation(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    stored = made.fill(store, tmp_path / "photos", 20)
    with store.writing("test"):
        assert optimize.optimize(store, stored) is None
    assert opened(store).sketch is None


def test_ids_that_could_be_given_again_end_the_generation(store: Store) -> None:
    with reading(store.engine) as session:
        [newest] = photo_queries.photo_ids_of(session, [int(opened(store).contents.max())]).values()
    store.mark_missing(newest)
    with store.writing("test"):
        checks.prune(store, dry_run=False)
    assert opened(store).generation is None
    assert not list(store.index_folder.iterdir())
    add(store, "other", 1, seed=5)  # SQLite gives it the id of the one that went
    index, label = opened(store), labels(1)[0]
    found = best(index, label, ONE, 10, index.live, recall=0.9)
    assert found.slots.tolist() == _of_all(index, label, ONE, 10, index.live).slots.tolist()


def delete(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize("harm", [delete, cut, flip])
def test_a_damaged_generation_is_told_and_the_search_is_exact_until_repair(
    store: Store, harm, caplog: pytest.LogCaptureFixture
) -> None:
    harm(file_of(store))
    with caplog.at_level(logging.WARNING):
        index = opened(store)
        assert index.sketch is None
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("The ") and "candidate index" in said and "`mkt repair`" in said
    told = Explanation()
    found = best(index, labels(1)[0], ONE, 10, index.live, recall=0.9, explanation=told)
    assert told.path == "exact scan"
    assert found.slots.tolist() == _of_all(index, labels(1)[0], ONE, 10, index.live).slots.tolist()
    [problem] = checks.verify(store)
    assert problem.generation and "candidate index" in problem.what
    home = store.directory.parent
    assert "candidate index" in mkt("verify", "--library", home, code=1).stdout
    caplog.clear()
    assert "made anew" in mkt("repair", "--library", home).stderr
    assert not caplog.records
    assert mkt("verify", "--library", home).stderr == "The library is sound.\n"
    assert opened(store).sketch is not None


def test_a_full_disk_leaves_the_old_generation(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_of(store)
    add(store, "new", 3, seed=9)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="is full"):
        build(store, active(store))
    assert file_of(store) == before
    assert opened(store).sketch is not None


def test_the_command_builds_tells_and_explains(store: Store) -> None:
    home = store.directory.parent
    add(store, "new", 3, seed=9)
    said = mkt("optimize", "--library", home).stderr
    assert "built a candidate index of 603 photos" in said
    assert re.search(r"for a label [\d,]+, .*; for two labels .*; for one without another ", said)
    size = sum(file.stat().st_size for file in store.index_folder.iterdir())
    told = dict(columns(mkt("status", "--library", home)))
    assert told["candidate index"] == f"603 different photos, {byte_size(size)}"
    told = json.loads(mkt("status", "--json", "--library", home).stdout)
    assert told["candidate_index"] == {"photos": 603, "bytes": size}
    with Library.open(home) as library:
        assert library.optimize() is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_any_moment_the_old_generation_or_the_new_one_is_live(
    store: Store, tmp_path: Path
) -> None:
    home, log = str(store.directory.parent), tmp_path / "log"
    chance = random.Random(0)
    kills, round_ = 0, 0
    with Commands() as commands:
        started = time.monotonic()
        assert commands.run(["optimize", "--library", home], log) == 0, log.read_text()
        whole = time.monotonic() - started
        while kills < 20:
            round_ += 1
            add(store, f"r{round_}-", 1, seed=round_)
            local_time = chance.uniform(0.02, 1.0) * whole
            code = commands.kill_after(local_time, ["optimize", "--library", home], log)
            kills += code == -signal.SIGKILL
            assert checks.verify(store) == []
            index = opened(store)
            assert index.sketch is not None
            assert np.count_nonzero(index.live) == N + round_
            assert recall(index) >= 0.85
            assert round_ < 80
        assert commands.run(["optimize", "--library", home], log) == 0, log.read_text()
    assert len(list(store.index_folder.iterdir())) == 2  # the sketch and the places
    assert np.array_equal(opened(store).covered, opened(store).live)


def test_a_reader_is_always_right_while_a_writer_adds_removes_and_optimizes(
    store: Store,
) -> None:
    wrong: list[str] = []
    stop = threading.Event()
    answers = [0]

    def read() -> None:
        reader = Store.open(store.directory)
        index = LocalSnapshot.open(reader, active(reader))
        seed = 0
        while not stop.is_set():
            seed += 1
            try:
                index = index.renewed()
            except Exception as error:  # a writer switched while it looked: the library asks again
                if reader.revision() == index.revision:
                    wrong.append(repr(error))
                continue
            label = labels(1, seed)[0]
            found = best(index, label, ONE, 5, index.live, recall=0.98)
            truth = _of_all(index, label, ONE, 5, index.live)
            exact = best(index, label, ONE, 5, index.live)
            if exact.slots.tolist() != truth.slots.tolist():
                wrong.append(f"exact: {exact.slots} for {truth.slots}")
            if not index.live[found.slots].all() or len(found.slots) != 5:
                wrong.append(f"dead photos among {found.slots}")
            same = np.isin(found.slots, truth.slots)
            if same.mean() < 0.4:
                wrong.append(f"{found.slots} for {truth.slots}")
            answers[0] += 1
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for round_ in range(6):
            add(store, f"s{round_}-", 4, seed=round_)
            with reading(store.engine) as session:
                first = next(photo_queries.photos(session, state="indexed")).id
            store.mark_missing([first])
            build(store, active(store))
            if round_ % 2:
                with store.writing("test"):
                    checks.prune(store, dry_run=False)
    finally:
        stop.set()
        thread.join()
    assert wrong == []
    assert answers[0] > 5


def test_generations_are_by_encoding_and_go_with_it(store: Store) -> None:
    with reading(store.engine) as session:
        found = generations.find(session, active(store).id)
    assert found is not None and found.photos == N
    assert file_of(store).name == found.sketch.file
    assert file_of(store).stat().st_size == found.sketch.size


@pytest.mark.parametrize("step", ["sketching photos", "measuring recall", "asking for candidates"])
def test_a_build_that_is_stopped_at_a_step_leaves_the_old_generation(
    store: Store, step: str
) -> None:
    before, steps = file_of(store), []

    def stop(event: Progress) -> None:
        assert 0 < event.done <= event.total
        steps.append(event.step)
        if event.step == step:
            raise KeyboardInterrupt

    add(store, "new", 5, seed=9)
    with pytest.raises(KeyboardInterrupt), store.writing("test"):
        optimize.optimize(store, opened(store).stored, progress=stop)
    assert steps.count(step) == 1
    assert file_of(store) == before
    assert opened(store).sketch is not None


def test_a_generation_that_this_program_does_not_read_is_none_and_is_made_anew(
    store: Store,
) -> None:
    file = file_of(store)
    old = file.with_suffix(".faiss")
    file.rename(old)
    with transaction(store.engine) as session:
        session.execute(update(CandidateIndexRow).values(pq_file=old.name))
    assert opened(store).generation is None and opened(store).sketch is None
    assert status(store).candidate_index is None
    assert checks.verify(store) == []
    with store.writing("test"):
        optimize.optimize(store, opened(store).stored)
    assert opened(store).sketch is not None and not old.exists()


def test_a_digest_is_of_every_byte_and_of_their_order() -> None:
    piece = generations.PIECE
    data = np.random.default_rng(0).integers(0, 256, 2 * piece + 5).astype(np.uint8)
    pieces = [data[:piece], data[piece : 2 * piece], data[2 * piece :]]
    plain = b"".join(hashlib.sha256(part.tobytes()).digest() for part in pieces)
    assert generations.digest_of(data.data) == hashlib.sha256(plain).digest()
    for other in (np.concatenate([pieces[1], pieces[0], pieces[2]]), data[:-1]):
        assert generations.digest_of(other.data) != generations.digest_of(data.data)
    data[piece + 7] ^= 1
    assert generations.digest_of(data.data) != hashlib.sha256(plain).digest()
    assert generations.digest_of(b"") == hashlib.sha256(b"").digest()
