"""Candidate indexes: built beside the live one, right for the library as it is, never trusted."""

import logging
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from mkt_search.errors import StoreError
from mkt_search.pooling.pool import pool
from mkt_search.progress import Progress
from mkt_search.search.plan import DEFAULT
from mkt_search.search.search import Explanation, Found, search
from mkt_search.store import checks
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.interfaces import ContentIds, WeightedQuery
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.optimize import Optimized, optimize
from mkt_search.store.prune import prune
from mkt_search.store.records import Batch
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.sql.database import transaction
from mkt_search.store.sql.schema import CandidateIndexRow
from mkt_search.store.status import status
from mkt_search.store.store import Store
from mkt_search.types import Encoded, Encoding, Filters, PhotoVectors, Vector
from tests import made
from tests.command_line import mkt
from tests.index_process import Commands

N = 600
EVERY_PHOTO = replace(DEFAULT, score_all_below_share=1.0)
BASIS = np.random.default_rng(99).standard_normal((4, made.DIM)).astype(np.float32)


def vectors(n: int, seed: int) -> PhotoVectors:
    """Photos whose vectors lie near a space of four dimensions."""
    plain = made.vectors(n, seed)
    rng = np.random.default_rng(seed)
    global_vectors = rng.standard_normal((n, 4)).astype(np.float32) @ BASIS
    local_vectors = rng.standard_normal((n, made.M, 4)).astype(np.float32) @ BASIS
    noise = np.float32(0.1)
    return PhotoVectors(
        global_vectors + noise * plain.global_vectors,
        local_vectors + noise * plain.local_vectors,
        plain.members,
    )


def near_the_space(n: int, encoding: Encoding) -> Encoded:
    """Photos of a few objects each as a student gives them, all near those four dimensions."""
    rng = np.random.default_rng(0)
    objects = rng.standard_normal((n, 4, 4))
    which = rng.integers(0, 4, (n, encoding.patches))
    patches = np.take_along_axis(objects, which[..., None], axis=1) @ BASIS
    patches += 0.3 * rng.standard_normal(patches.shape)
    return Encoded(patches.mean(axis=1).astype(np.float32), patches.astype(np.float32))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 600 photos with a candidate index, to be copied."""
    home: Path = tmp_path_factory.mktemp("optimized")
    (home / "photos").mkdir()
    store = Store.create(home / ".mkt")
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(top_k=1), model="made")
    add(store, "p", N, seed=0)
    build(store, stored)
    store.close()
    return home


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[Store]:
    """The same library, for one test to change."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    store = Store.open(tmp_path / ".mkt")
    store.catalog.move_root(template / "photos", tmp_path / "photos")
    yield store
    store.close()


def build(store: Store, stored: StoredEncoding) -> Optimized:
    with store.writing("test"):
        done = optimize(store, stored, policy=made.QUICK)
    assert done is not None
    return done


def active(store: Store) -> StoredEncoding:
    stored = store.active
    assert stored is not None
    return stored


def opened(store: Store) -> LocalSnapshot:
    return LocalSnapshot.open(store, active(store))


def add(store: Store, name: str, n: int, seed: int, times: float = 1) -> None:
    with store.writing("test"):
        root = store.directory.parent / "photos"
        photos = [made.photo(root, f"{name}{i:03}.jpg", row=i) for i in range(n)]
        plain, by = vectors(n, seed), np.float32(times)
        longer = PhotoVectors(by * plain.global_vectors, by * plain.local_vectors, plain.members)
        batch = Batch(photos, (), longer)
        store.add(made.location(store, root), active(store), batch)


def labels(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 1, 4)).astype(np.float32) @ BASIS


def one(label: Vector) -> WeightedQuery:
    return WeightedQuery(label, np.ones(1, np.float32))


def truth(
    snapshot: LocalSnapshot, label: Vector, k: int, allowed: ContentIds | None = None
) -> Found:
    """Score every photo."""
    return search(snapshot, one(label), k, allowed=allowed, policy=EVERY_PHOTO)


def path_of(snapshot: LocalSnapshot, label: Vector, k: int, recall: float) -> str:
    explanation = Explanation()
    search(snapshot, one(label), k, recall=recall, explanation=explanation)
    assert explanation.plan is not None
    return explanation.plan.path


def recall(
    snapshot: LocalSnapshot, k: int = 10, target: float = 0.9, allowed: ContentIds | None = None
) -> float:
    """Share of the exact k best that the path through candidates finds."""
    shares = []
    for label in labels(20):
        explanation = Explanation()
        found = search(
            snapshot, one(label), k, allowed=allowed, recall=target, explanation=explanation
        )
        assert explanation.plan is not None and explanation.plan.path == "candidates"
        exact = truth(snapshot, label, k, allowed)
        shares.append(np.isin(exact.content_ids, found.content_ids).mean())
        scores = dict(zip(exact.content_ids.tolist(), exact.scores.tolist(), strict=True))
        for content_id, score in zip(found.content_ids.tolist(), found.scores, strict=True):
            if content_id in scores:
                assert score == pytest.approx(scores[content_id], rel=1e-5, abs=1e-5)
    return float(np.mean(shares))


def file_of(store: Store) -> Path:
    [file] = store.index_folder.glob("*.pq")
    return file


def test_candidates_find_what_was_promised(store: Store) -> None:
    assert recall(opened(store)) >= 0.85


@pytest.mark.parametrize("weights", [(1, 1), (1, -1), (20, 1), (1, 0.5, -0.5)])
def test_several_terms_go_through_the_candidates_too(
    store: Store, weights: tuple[float, ...]
) -> None:
    # so small a library is scored whole otherwise
    policy = replace(DEFAULT, score_all_up_to_photos=10, probes_per_photo=100)
    snapshot, by = opened(store), np.array(weights, np.float32)
    shares = []
    for terms in labels(20 * len(by)).reshape(20, len(by), made.DIM):
        query, explanation = WeightedQuery(terms, by), Explanation()
        found = search(snapshot, query, 10, recall=0.9, policy=policy, explanation=explanation)
        assert explanation.plan is not None and explanation.plan.path == "candidates"
        exact = search(snapshot, query, 10, policy=EVERY_PHOTO)
        shares.append(np.isin(exact.content_ids, found.content_ids).mean())
        assert (np.diff(found.scores) <= 0).all()
        assert found.scores[0] <= exact.scores[0] + 1e-5
    assert np.mean(shares) >= 0.85


@pytest.mark.parametrize("pooling", ["cover", "topk"])
def test_every_pooled_kind_is_found_as_by_scoring_every_photo(tmp_path: Path, pooling: str) -> None:
    """The exact scan proves the very answer; the candidates find what was promised of it."""
    store = Store.create(tmp_path / ".mkt")
    encoding = made.encoding(pooling=pooling, grid=(5, 5))
    photos = [made.photo(tmp_path, f"{i:03}.jpg", row=i) for i in range(N)]
    with store.writing("test"):
        stored = store.begin_encoding(encoding, model="made")
        batch = Batch(photos, (), pool(near_the_space(N, encoding), encoding))
        store.add(made.location(store, tmp_path), stored, batch)
    build(store, stored)
    snapshot = opened(store)
    assert recall(snapshot) >= 0.85
    at_once = replace(DEFAULT, scan_build_as_searches=0)
    for label in labels(20):
        exact = truth(snapshot, label, 10)
        found = search(snapshot, one(label), 10, policy=at_once)
        np.testing.assert_allclose(found.scores, exact.scores, atol=1e-6)
        assert found.content_ids.tolist() == exact.content_ids.tolist()
        scanned = snapshot.scan(label[0], vectors=50)
        every = truth(snapshot, label, N)
        scores = dict(zip(every.content_ids.tolist(), every.scores.tolist(), strict=True))
        outside = scores.keys() - set(scanned.content_ids.tolist())
        assert max(scores[content_id] for content_id in outside) <= scanned.bound + 1e-6
        pairs = zip(scanned.content_ids.tolist(), scanned.upper, strict=True)
        assert all(scores[content_id] <= upper + 1e-6 for content_id, upper in pairs)
    store.close()


def test_a_photo_newer_than_the_index_is_found_at_once(store: Store) -> None:
    snapshot = opened(store)
    add(store, "new", 1, seed=77, times=9)
    snapshot = snapshot.renewed()
    newest = snapshot.content_ids()[-1:]
    [vectors] = snapshot.vectors(newest).vectors
    explanation = Explanation()
    query = one((vectors[0] + vectors[1])[None])
    found = search(snapshot, query, 1, recall=0.9, explanation=explanation)
    assert explanation.plan is not None and explanation.plan.path == "candidates"
    assert explanation.newer == 1 and found.content_ids.tolist() == newest.tolist()


def test_a_photo_that_is_gone_is_not_found(store: Store) -> None:
    snapshot = opened(store)
    label = labels(1)[0]
    [first] = search(snapshot, one(label), 1, recall=0.9).content_ids.tolist()
    remove(store, first)
    snapshot = snapshot.renewed()
    found = search(snapshot, one(label), 10, recall=0.9)
    assert first not in found.content_ids
    assert found.content_ids[0] == truth(snapshot, label, 10).content_ids[0]


def remove(store: Store, content_id: int) -> None:
    [photos] = store.catalog.photos_of_contents([content_id], Filters()).values()
    store.catalog.mark_missing([photo.id for photo in photos])


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_filters_keep_the_recall(store: Store, share: float) -> None:
    snapshot = opened(store)
    ids = snapshot.content_ids()
    allowed = ids[np.random.default_rng(0).random(N) < share]
    assert recall(snapshot, allowed=allowed) >= 0.85
    found = search(snapshot, one(labels(1)[0]), 10, allowed=allowed, recall=0.9)
    assert np.isin(found.content_ids, allowed).all()


def test_merging_segments_leaves_the_index_right(store: Store) -> None:
    for part in range(3):
        add(store, f"more{part}", 10, seed=part)
    build(store, active(store))
    with store.writing("test"):
        assert compact(store, active(store), CompactionPolicy(2))
    assert recall(opened(store)) >= 0.85


def test_too_few_photos_get_no_index(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    store = Store.create(tmp_path / ".mkt")
    stored = made.fill(store, tmp_path / "photos", 20)
    with store.writing("test"):
        assert optimize(store, stored) is None
    assert opened(store).candidate_index is None


def test_a_photo_never_gets_the_id_of_one_that_is_gone(store: Store) -> None:
    gone = int(opened(store).content_ids().max())
    remove(store, gone)
    with store.writing("test"):
        prune(store)
    assert opened(store).candidate_index is not None
    add(store, "other", 1, seed=5)
    assert opened(store).content_ids().max() > gone
    snapshot, label = opened(store), labels(1)[0]
    found = search(snapshot, one(label), 10, recall=0.9)
    assert found.content_ids.tolist() == truth(snapshot, label, 10).content_ids.tolist()


def delete(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("harm", [delete, cut, flip])
def test_a_damaged_index_is_reported_and_searches_are_exact_until_repair(
    store: Store, harm, caplog: pytest.LogCaptureFixture
) -> None:
    harm(file_of(store))
    with caplog.at_level(logging.WARNING):
        snapshot = opened(store)
        assert snapshot.candidate_index is None
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("The ") and "candidate index" in said and "`mkt repair`" in said
    assert path_of(snapshot, labels(1)[0], 10, 0.9) != "candidates"
    [problem] = checks.verify(store)
    assert problem.candidate_index and "candidate index" in problem.what
    home = store.directory.parent
    assert "candidate index" in mkt("verify", "--library", home, code=1).stdout
    caplog.clear()
    assert "has been rebuilt" in mkt("repair", "--library", home).stderr
    assert not caplog.records
    assert mkt("verify", "--library", home).stderr == "The library is sound.\n"
    assert opened(store).candidate_index is not None


def test_a_full_disk_leaves_the_old_index(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file_of(store)
    add(store, "new", 3, seed=9)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="is full"):
        build(store, active(store))
    assert file_of(store) == before
    assert opened(store).candidate_index is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize(
    "count",
    [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.soak)],
)
def test_killed_at_any_time_the_old_index_or_the_new_one_is_live(
    store: Store, tmp_path: Path, count: int
) -> None:
    home, log = str(store.directory.parent), tmp_path / "log"
    chance = random.Random(0)
    kills, round_ = 0, 0
    with Commands() as commands:
        started = time.monotonic()
        assert commands.run(["optimize", "--library", home], log) == 0, log.read_text()
        whole = time.monotonic() - started
        while kills < count:
            round_ += 1
            add(store, f"r{round_}-", 1, seed=round_)
            moment = chance.uniform(0.02, 1.0) * whole
            code = commands.kill_after(moment, ["optimize", "--library", home], log)
            kills += code == -signal.SIGKILL
            assert checks.verify(store) == []
            snapshot = opened(store)
            assert snapshot.candidate_index is not None
            assert snapshot.facts.photos == N + round_
            assert recall(snapshot) >= 0.85
            assert round_ < 80
        assert commands.run(["optimize", "--library", home], log) == 0, log.read_text()
    assert len(list(store.index_folder.iterdir())) == 2  # the PQ index and the row map
    index = opened(store).candidate_index
    assert index is not None and index.newer == 0


@pytest.mark.slow
def test_a_reader_is_always_right_while_a_writer_adds_removes_and_optimizes(
    store: Store,
) -> None:
    wrong: list[str] = []
    stop = threading.Event()
    answers = [0]

    def read() -> None:
        reader = Store.open(store.directory)
        snapshot = LocalSnapshot.open(reader, active(reader))
        at_once, seed = replace(DEFAULT, scan_build_as_searches=0), 0
        while not stop.is_set():
            seed += 1
            try:
                snapshot = snapshot.renewed()
            except Exception as error:  # a writer switched while it looked: the library asks again
                if reader.revision() == snapshot.revision:
                    wrong.append(repr(error))
                continue
            label, live = labels(1, seed)[0], snapshot.content_ids()
            found = search(snapshot, one(label), 5, recall=0.98).content_ids
            exact = truth(snapshot, label, 5).content_ids
            scanned = search(snapshot, one(label), 5, policy=at_once).content_ids
            if scanned.tolist() != exact.tolist():
                wrong.append(f"exact: {scanned} for {exact}")
            if not np.isin(found, live).all() or len(found) != 5:
                wrong.append(f"dead photos among {found}")
            if np.isin(found, exact).mean() < 0.4:
                wrong.append(f"{found} for {exact}")
            answers[0] += 1
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for round_ in range(6):
            add(store, f"s{round_}-", 4, seed=round_)
            store.catalog.mark_missing([next(store.catalog.photos(state="indexed")).id])
            build(store, active(store))
            if round_ % 2:
                with store.writing("test"):
                    prune(store)
    finally:
        stop.set()
        thread.join()
    assert wrong == []
    assert answers[0] > 5


def test_the_files_of_an_index_are_those_recorded(store: Store) -> None:
    found = store.candidate_index(active(store))
    assert found is not None and found.photos == N
    assert file_of(store).name == found.pq.name
    assert file_of(store).stat().st_size == found.pq.size


@pytest.mark.parametrize("step", ["indexing vectors", "measuring recall", "probing for candidates"])
def test_a_build_that_is_stopped_at_a_step_leaves_the_old_index(store: Store, step: str) -> None:
    before, steps = file_of(store), []

    def stop(event: Progress) -> None:
        assert 0 < event.done <= event.total
        steps.append(event.step)
        if event.step == step:
            raise KeyboardInterrupt

    add(store, "new", 5, seed=9)
    with pytest.raises(KeyboardInterrupt), store.writing("test"):
        optimize(store, opened(store).stored, policy=made.QUICK, progress=stop)
    assert steps.count(step) == 1
    assert file_of(store) == before
    assert opened(store).candidate_index is not None


def test_an_index_of_another_version_counts_as_none_and_is_built_again(
    store: Store,
) -> None:
    file = file_of(store)
    old = file.with_suffix(".faiss")
    file.rename(old)
    with transaction(store.catalog.engine) as session:
        session.execute(update(CandidateIndexRow).values(pq_file=old.name))
    assert opened(store).candidate_index is None
    assert status(store).candidate_index is None
    assert checks.verify(store) == []
    with store.writing("test"):
        optimize(store, opened(store).stored, policy=made.QUICK)
    assert opened(store).candidate_index is not None and not old.exists()
