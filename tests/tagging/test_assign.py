"""Labels assigned in blocks, against sorting all scores at once; the memory it takes."""

import os
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.errors import QueryError
from mkt_search.scoring import score
from mkt_search.store.records import Batch
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.tagging.assign import (
    MEGABYTE,
    Blocks,
    LabelAssignments,
    TagPolicy,
    TagRule,
    Words,
    assign_labels,
    blocks_within,
    select_labels,
)
from mkt_search.types import PhotoVectors
from tests import made

N, PATCHES = 90, 12
PER_VECTOR = {"cover": made.TOP_K, "topk": 1}  # patches


def vectors(pooling: str, n: int, seed: int) -> PhotoVectors:
    """n photos; about a third of their local vectors are padding, of some photos all."""
    rng = np.random.default_rng(seed)
    found = made.vectors(n, seed)
    members = np.zeros((n, made.M, PATCHES), np.bool_)
    order = np.argsort(rng.random(members.shape), axis=2)[..., : PER_VECTOR[pooling]]
    np.put_along_axis(members, order, True, axis=2)
    members[rng.random((n, made.M)) < 0.3] = False
    members[n // 2] = False
    local_vectors = rng.standard_normal(found.local_vectors.shape).astype(np.float32)
    local_vectors[~members.any(axis=2)] = 0
    return PhotoVectors(found.global_vectors, local_vectors, members)


def library(folder: Path, pooling: str, n: int = N, parts: int = 3) -> LocalSnapshot:
    """n photos in several segments, some of which have gone missing."""
    (folder / "photos").mkdir(parents=True)
    store = Store.create(folder / ".mkt")
    with store.writing("test"):
        stored = store.begin_encoding(made.encoding(pooling=pooling), model="made")
        place = made.location(store, folder / "photos")
        for part in range(parts):
            size = n // parts
            photos = [made.photo(folder / "photos", f"{part}-{i}.jpg", row=i) for i in range(size)]
            store.add(place, stored, Batch(photos, (), vectors(pooling, size, part)))
        store.catalog.mark_missing([2, n // 2])
    return LocalSnapshot.open(store, stored)


@pytest.fixture(scope="module", params=["cover", "topk"])
def snapshot(request, tmp_path_factory) -> LocalSnapshot:
    return library(tmp_path_factory.mktemp(request.param), request.param)


def labels_(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, made.DIM)).astype(np.float32)


def slow(scores: np.ndarray, top: int, threshold: float | None) -> list[tuple[int, int, float]]:
    """Sort every row of scores and take what fits: (row, column, score)."""
    found = []
    for row, values in enumerate(scores):
        order = sorted(range(len(values)), key=lambda i: (-values[i], i))
        fits = [i for i in order if threshold is None or values[i] >= threshold]
        found += [(row, i, float(values[i])) for i in fits[: top or None]]
    return found


def as_rows(found: LabelAssignments) -> list[tuple[int, int, float]]:
    return list(
        zip(found.photos.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
    )


choices = {
    "top": st.integers(0, 8),
    "threshold": st.none() | st.sampled_from([-1.0, 0.0, 0.5, 9.0]),
    "seed": st.integers(0, 1000),
}


@given(n=st.integers(1, 5), most=st.integers(1, 12), **choices)
@settings(max_examples=150, deadline=None)
def test_what_is_selected_is_what_sorting_all_gives(n, most, top, threshold, seed) -> None:
    scores = np.random.default_rng(seed).integers(-2, 3, (n, most)).astype(np.float32) / 2  # ties
    assert as_rows(select_labels(scores, TagRule(top, threshold))) == slow(scores, top, threshold)


@given(words=st.integers(1, 9), **choices)
@settings(max_examples=80, deadline=None)
def test_labels_compete_by_score_less_handicap_and_must_beat_the_words(
    words, top, threshold, seed
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (4, 12)).astype(np.float32) / 2
    handicap = rng.integers(-2, 3, 12).astype(np.float32) / 4
    background = Words(rng.standard_normal((words, 3)).astype(np.float32), np.ones(words), 0.8)
    of_words = rng.integers(-2, 3, (4, words)).astype(np.float32) / 2
    bar = background.bar(of_words)
    assert np.allclose(bar, np.sort(of_words - 1, axis=1)[:, min(int(0.8 * words), words - 1)])
    rule = TagRule(top, threshold, handicap, background)
    expected = []
    for row, values in enumerate(scores):
        passing = [
            label
            for label in range(12)
            if (threshold is None or values[label] >= threshold)
            and values[label] - handicap[label] >= bar[row]
        ]
        best = sorted(passing, key=lambda label: (handicap[label] - values[label], label))
        expected += [(row, label, float(values[label])) for label in best[: top or None]]
    assert as_rows(select_labels(scores, rule, 0, bar)) == expected
    first = select_labels(scores[:, :5], rule, 0, bar)
    assert as_rows(first.merged(select_labels(scores[:, 5:], rule, 5, bar), top)) == expected


@given(cut=st.integers(1, 11), **choices)
@settings(max_examples=80, deadline=None)
def test_the_best_are_kept_from_one_block_of_labels_to_the_next(cut, top, threshold, seed) -> None:
    scores = np.random.default_rng(seed).integers(-2, 3, (4, 12)).astype(np.float32) / 2
    rule = TagRule(top, threshold)
    first = select_labels(scores[:, :cut], rule)
    second = select_labels(scores[:, cut:], rule, cut)
    assert as_rows(first.merged(second, top)) == slow(scores, top, threshold)


@pytest.mark.parametrize("blocks", [Blocks(64, 40, 1), Blocks(7, 40, 3), Blocks(4, 9, 2)], ids=str)
@pytest.mark.parametrize("rule", [TagRule(3, None), TagRule(0, 1.0), TagRule(5, 0.5)], ids=str)
def test_blocks_give_what_scoring_all_gives(snapshot, blocks, rule) -> None:
    labels, live = labels_(40), snapshot.content_ids()
    vectors, counts = snapshot.vectors(live)
    scored = score(labels, vectors[:, 0], vectors[:, 1:], counts, k=made.TOP_K).fused
    expected = slow(scored, rule.top, rule.threshold)
    policy = TagPolicy(labels_per_product=6)  # so that tiles end inside a block
    parts, found = zip(*assign_labels(snapshot, labels, rule, blocks, policy=policy), strict=True)
    assert np.concatenate(parts).tolist() == live.tolist()
    got = [
        (int(part[row]), label, value)
        for part, some in zip(parts, found, strict=True)
        for row, label, value in as_rows(some)
    ]
    assert [(content_id, label) for content_id, label, _ in got] == [
        (live[r], c) for r, c, _ in expected
    ]
    np.testing.assert_allclose([v for *_, v in got], [v for *_, v in expected], atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("top", [5, 0])
def test_memory_stays_within_the_setting_and_does_not_grow_with_photos(
    snapshot: LocalSnapshot, top: int, tmp_path: Path
) -> None:
    megabytes, labels = 4, labels_(6_000)
    more = library(tmp_path, snapshot.encoding.pooling, 4 * N, parts=6)
    rule = TagRule(top, None if top else -99.0)  # without a top everything is selected
    used = []
    for one in (snapshot, more):
        blocks = blocks_within(megabytes, one.encoding, len(labels), top=top)
        tracemalloc.start()
        for _ in assign_labels(one, labels, rule, blocks):
            pass
        used.append(tracemalloc.get_traced_memory()[1] + labels.nbytes)
        tracemalloc.stop()
    assert max(used) < megabytes * MEGABYTE
    assert used[1] < 1.2 * used[0]
    more.store.close()


@pytest.mark.parametrize("top", [1, 50, 0])
@pytest.mark.parametrize("labels", [10, 10_000, 300_000])
def test_too_little_memory_is_a_sentence_that_names_what_would_do(labels: int, top: int) -> None:
    encoding = replace(made.encoding(), dim=512, m=16)
    with pytest.raises(QueryError, match=r"memory_mb in \[tag\] allows 0: raise it") as caught:
        blocks_within(0, encoding, labels, top=top)
    enough = int(str(caught.value).split("--memory-mb ")[1].split(")")[0])
    with pytest.raises(QueryError):
        blocks_within(enough - 1, encoding, labels, top=top)
    assert blocks_within(enough, encoding, labels, top=top).photos == 1


def test_more_memory_never_makes_less_of_a_block() -> None:
    encoding = replace(made.encoding(), dim=512, m=16)
    found = [blocks_within(mb, encoding, 10_000, top=5) for mb in (30, 60, 100, 200, 1_000, 9_000)]
    sizes = [(b.threads, b.photos, b.labels) for b in found]
    assert sizes == sorted(sizes)
    assert found[-1].labels == 10_000 and found[-1].threads == min(
        os.cpu_count() or 1, TagPolicy().max_threads
    )
    assert found[0].labels < 10_000


def test_a_run_that_is_left_early_leaves_no_thread_at_work(snapshot: LocalSnapshot) -> None:
    before = threading.active_count()
    started = assign_labels(snapshot, labels_(40), TagRule(1, None), Blocks(4, 40, 2))
    next(started)
    started.close()
    assert threading.active_count() == before
