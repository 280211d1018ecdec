"""The rows of the library itself: exact scan, candidates, several terms, filters, removal."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice

import faiss
import memory
import numpy as np
from search_table import Ids, SearchTable, SearchTimes, answers, recalls, timed
from truth import truth

from mkt_search.search.plan import DEFAULT, SearchPolicy
from mkt_search.search.search import Explanation, Found, search
from mkt_search.store.interfaces import ContentIds, WeightedQuery
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.store.store import Store
from mkt_search.types import PhotoFile, Vector

K = 100
ONE = np.ones(1, np.float32)
REMOVED_PHOTOS = 1_000
FILTERED_SHARES = (0.1, 0.01, 0.001)  # of photos that a filter allows
FILTERED_LABELS = 20  # searched for under each filter
CLIENTS = 2
CLIENT_ROUNDS = 3  # of one client and several alternately: other programs may be at work
PAIRS = {"two labels": np.array((1, 1), "f4"), "one but not another": np.array((1, -1), "f4")}
EXACT_PAIRS = 3  # for which every photo is scored
DISK_LABELS = 10  # searched for after the segments were evicted from memory
SPARE_BYTES = 1 << 30  # left to other programs
SCAN_AT_ONCE = replace(DEFAULT, scan_build_as_searches=0)


class CountedSearch:
    """Searches for the k best allowed photos at a recall, and counts the bytes that are read."""

    def __init__(
        self,
        snapshot: LocalSnapshot,
        recall: float,
        k: int = K,
        allowed: ContentIds | None = None,
        weights: Vector = ONE,
        policy: SearchPolicy = DEFAULT,
    ) -> None:
        self.snapshot, self.recall, self.k, self.allowed = snapshot, recall, k, allowed
        self.weights, self.policy = weights, policy
        self.read: list[float] = []
        self.path = ""

    def __call__(self, label: Vector) -> Ids:
        """Return the content ids of the best for a label (D,), or several (T, D), best first."""
        explanation = Explanation()
        found = self.search(label, explanation)
        self.read.append(bytes_read(self.snapshot, explanation, terms=len(self.weights)))
        assert explanation.plan is not None
        self.path = explanation.plan.path
        return found.content_ids

    def search(self, label: Vector, explanation: Explanation | None = None) -> Found:
        """Search for one label (D,), or for several (T, D) of the weights (T,)."""
        return search(
            self.snapshot,
            WeightedQuery(np.atleast_2d(label), self.weights),
            self.k,
            allowed=self.allowed,
            recall=self.recall,
            policy=self.policy,
            explanation=explanation,
        )


def bytes_read(snapshot: LocalSnapshot, explanation: Explanation, *, terms: int = 1) -> float:
    """Return the bytes of vectors that a search read; of an exact scan only those of the scan."""
    plan, segment = explanation.plan, snapshot.reader.segments[0]
    assert plan is not None
    if plan.path == "exact scan":
        return snapshot.facts.photos * snapshot.encoding.m * snapshot.encoding.dim
    photo: float = (segment.codes.nbytes + segment.steps.nbytes) / len(segment)
    if plan.path == "candidates":
        scored = (explanation.candidates + explanation.newer) * photo
        if terms > 1:  # the directions are probed together, in one pass over the codes
            return codes(snapshot) + scored
        few: int = 2 * plan.probes * segment.codes.shape[2]  # a local vector each, and a global one
        return codes(snapshot) + few + scored
    return plan.searched * photo


def codes(snapshot: LocalSnapshot) -> int:
    """Return the bytes of the candidate index that a query reads."""
    assert snapshot.pq_index is not None
    return snapshot.pq_index.code_bytes


def exact(
    table: SearchTable, store: Store, stored: StoredEncoding, labels: Vector, truth_ids: Ids
) -> None:
    """Time the exact scan if it fits in memory; it is freed afterwards."""
    snapshot = LocalSnapshot.open(store, stored)
    facts = snapshot.facts
    needed = facts.photos * facts.encoding.m * facts.encoding.dim
    if needed + SPARE_BYTES > memory.available_bytes():
        table.skip("exact scan", f"needs {needed / 1e9:.1f} GB of memory")
        return
    counted = CountedSearch(snapshot, 1.0, policy=SCAN_AT_ONCE)
    loading = timed(lambda: counted(labels[0]))
    found, times = answers(counted, labels)
    what, threads = f"exact scan, {facts.scan_threads} threads", facts.scan_threads
    note = f"loaded in {loading / 1e3:.1f} s"
    recall, read = recalls(truth_ids, found), float(np.mean(counted.read))
    table.add(what, times, recalls=recall, read=read, threads=threads, note=note)


def candidates(
    table: SearchTable, snapshot: LocalSnapshot, labels: Vector, truth_ids: Ids, recall: float
) -> SearchTimes | None:
    """Time the candidate index alone, the search through it, two clients, and a cold disk.

    Returns the times of the search, None if the candidate index cannot reach the recall.
    """
    index, pq_index = snapshot.candidate_index, snapshot.pq_index
    assert index is not None and pq_index is not None
    point = index.recall.probes_for("single", K, recall)
    if point is None:
        table.skip("candidates", f"no number of them reaches {recall:g}: the search is exact")
        return None
    pq_index.probe_for(labels[:1])(point.probes)
    scans = [timed(lambda z=label: pq_index.probe_for(z[None])(point.probes)) for label in labels]  # type: ignore[misc]
    table.add(
        "the candidate index alone", scans, read=codes(snapshot), note=f"{point.probes:,} vectors"
    )
    counted = CountedSearch(snapshot, recall)
    found, times = answers(counted, labels)
    read = float(np.mean(counted.read))
    what = "**candidates and exact scores**" if counted.path == "candidates" else counted.path
    note = f"{1e3 * len(labels) / sum(times):.1f} queries/s"
    row = table.add(what, times, recalls=recalls(truth_ids, found), read=read, note=note)
    clients(table, counted, labels, read=read)
    from_disk(table, counted, labels[:DISK_LABELS], read=read)
    return row


def several(table: SearchTable, snapshot: LocalSnapshot, labels: Vector, recall: float) -> None:
    """Time queries of two labels, both wanted or one unwanted, and a few that score every photo."""
    if len(labels) < 2:
        table.skip("two labels", "needs two labels")
        return
    pairs = labels[: 2 * (len(labels) // 2)].reshape(-1, 2, labels.shape[1])
    for what, weights in PAIRS.items():
        columns = np.kron(np.eye(len(pairs), dtype=np.float32), weights[:, None])
        every = pairs.reshape(-1, labels.shape[1])
        truth_ids = truth(snapshot, every, K, snapshot.content_ids(), columns)
        for wanted, count in ((recall, len(pairs)), (1.0, EXACT_PAIRS)):
            counted = CountedSearch(snapshot, wanted, weights=weights)
            found, times = answers(counted, pairs[:count])
            read = float(np.mean(counted.read))
            name = f"{what}, {counted.path}"
            table.add(name, times, recalls=recalls(truth_ids[:count], found), read=read)


def clients(table: SearchTable, counted: CountedSearch, labels: Vector, *, read: float) -> None:
    """Time clients that share the labels and search concurrently, alternately with one alone."""
    rounds = [
        [_shared(counted, labels, clients) for clients in (1, CLIENTS)]
        for _ in range(CLIENT_ROUNDS)
    ]
    times = [each for _, (_, of_round) in rounds for each in of_round]
    gain = float(np.median([alone / together for (alone, _), (together, _) in rounds]))
    took = float(np.median([together for _, (together, _) in rounds]))
    note = f"{1e3 * len(labels) / took:.1f} queries/s, {gain:.2f} times those of one"
    table.add(f"the same, {CLIENTS} clients", times, read=read, note=note)


def _shared(counted: CountedSearch, labels: Vector, clients: int) -> tuple[float, list[float]]:
    """Return the milliseconds that clients take for all labels, and those of each label."""
    one_each = partial(faiss.omp_set_num_threads, 1)  # a new thread would start with all
    with ThreadPoolExecutor(clients, initializer=one_each) as threads:
        start = time.perf_counter()
        times = list(threads.map(lambda z: timed(lambda: counted(z)), labels))
        return (time.perf_counter() - start) * 1e3, times


def from_disk(table: SearchTable, counted: CountedSearch, labels: Vector, *, read: float) -> None:
    """Time labels after the segments, but not the candidate index, were evicted from memory."""
    if not hasattr(os, "posix_fadvise"):
        table.skip("segments on disk", "this system cannot evict files from memory")
        return
    times = []
    for label in labels:
        evict(counted.snapshot)
        times.append(timed(lambda z=label: counted(z)))  # type: ignore[misc]
    table.add("the same, segments on disk", times, read=read)


def evict(snapshot: LocalSnapshot) -> None:
    """Drop the pages of all segments from memory."""
    snapshot.release_pages()
    for file in snapshot.files.values():
        with open(snapshot.store.folder / file, "rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def filters(
    table: SearchTable, snapshot: LocalSnapshot, labels: Vector, recall: float
) -> list[SearchTimes]:
    """Time searches for ten photos under filters that allow several shares of the photos."""
    rng, few = np.random.default_rng(3), labels[:FILTERED_LABELS]
    live, rows = snapshot.content_ids(), []
    for part in FILTERED_SHARES:
        allowed = live[rng.random(len(live)) < part]
        truth_ids = truth(snapshot, few, 10, allowed)
        counted = CountedSearch(snapshot, recall, 10, allowed)
        found, times = answers(counted, few)
        read = float(np.mean(counted.read))
        what, recall_at = f"filter of {part:.1%}, k = 10", recalls(truth_ids, found)
        rows.append(table.add(what, times, recalls=recall_at, read=read, note=counted.path))
    return rows


def removal(store: Store, snapshot: LocalSnapshot) -> tuple[float, float]:
    """Return the milliseconds of removing photos, and until a reader sees that they are gone."""
    gone = [photo.id for photo in islice(store.catalog.photos(), REMOVED_PHOTOS)]
    back = PhotoFile(store.directory, "", store.directory, 1, 1)
    try:
        marking = timed(lambda: store.catalog.mark_missing(gone))
        seeing = timed(snapshot.renewed)
    finally:
        location = store.catalog.locate(store.catalog.root_folders()[0])
        returned = [(photo, back) for photo in gone]
        store.catalog.record_scan(location, [], returned)  # the library may be kept
    return marking, seeing
