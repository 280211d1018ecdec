"""How good the candidate index of a library is: its recall, and how fast it answers.

The same labels are searched twice, exactly and approximately, one label after another: for the best
of all photos, and for the best of those that random filters leave. The truth is the exact search of
what the library stores, every patch where it stores every patch.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mkt_search.errors import EvaluationError
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.search.plan import DEFAULT, SearchPolicy
from mkt_search.search.search import Explanation, search
from mkt_search.store.candidates.calibration_queries import CalibrationQueries, draw, share_found
from mkt_search.store.candidates.policy import DEFAULT as BUILD_DEFAULT
from mkt_search.store.interfaces import (
    CandidateIndexFacts,
    ContentIds,
    Snapshot,
    SnapshotFacts,
    WeightedQuery,
)
from mkt_search.types import Encoding, Vector

FILTER_SHARES = (1.0, 0.1, 0.01, 0.001)  # of the photos: no filter, then random filters
ONE = np.ones(1, np.float32)


@dataclass(frozen=True)
class SearchStats:
    """How the labels were searched, on average over the labels.

    `path` is that of the plan; `probes` are vectors asked of the candidate index; `candidates` and
    `newer` are photos scored; `p50` and `p95` are milliseconds a label; `busy` is the number of
    threads at work (processor time over time).
    """

    path: str
    probes: float
    candidates: float
    newer: float
    p50: float
    p95: float
    busy: float


@dataclass(frozen=True)
class RecallRow:
    """The k best photos under one filter, searched exactly and approximately.

    `share` of the live photos pass the filter (1: no filter), `photos` in number. `recall` is the
    mean share of the exact k best that the approximate search found, `lowest` that of the worst
    label. `approximate` is None if every search is exact.
    """

    share: float
    photos: int
    k: int
    recall: float
    lowest: float
    exact: SearchStats
    approximate: SearchStats | None


@dataclass(frozen=True)
class RecallReport:
    """What was measured on a library.

    `photos` are live, `indexed` of them in the candidate index; `target` is the recall asked for.
    `notes` are sentences: what the truth is, what was left out, and why searches are exact.
    """

    photos: int
    indexed: int
    encoding: Encoding
    target: float
    seed: int
    queries: CalibrationQueries
    scan_threads: int
    rows: tuple[RecallRow, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values; times in milliseconds, shares in [0, 1]."""
        return {
            "photos": self.photos,
            "indexed": self.indexed,
            "vectors": {
                "pooling": self.encoding.pooling,
                "m": self.encoding.m,
                "precision": self.encoding.precision,
            },
            "target": self.target,
            "seed": self.seed,
            "queries": {
                "given": self.queries.given,
                "remembered": self.queries.remembered,
                "mixed": self.queries.mixed,
            },
            "scan_threads": self.scan_threads,
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Case:
    """A filter and a number of photos wanted; `allowed` None is no filter."""

    share: float
    k: int
    photos: int
    allowed: ContentIds | None

    @property
    def can_miss(self) -> bool:
        """Whether a search could miss one of the k best: a filter may leave no more than k."""
        return self.allowed is None or self.photos > self.k


def measure(
    snapshot: Snapshot,
    *,
    remembered: Sequence[bytes] = (),
    given: Vector | None = None,
    queries: int = 50,
    depths: Sequence[int] = (10, 100),
    target: float = 0.99,
    seed: int = 0,
    policy: SearchPolicy = DEFAULT,
    progress: ProgressCallback = no_progress,
) -> RecallReport:
    """Search exactly and approximately for labels like those people search for, and compare.

    Args:
        snapshot: the library's vectors.
        remembered: float32 bytes of label vectors that were searched for before.
        given: (g, D) label vectors, all of which are used; None is none.
        queries: labels used at least; remembered ones and mixtures of vectors fill up.
        depths: the k of each row.
        target: recall asked of the approximate search; 1 is exact.
        seed: draws the remembered labels, the mixtures and the filters.
        policy: of the searches; the exact scan is built first in any case.
        progress: called as work advances.

    Raises:
        EvaluationError: the library has no photo that can be found.
        LibraryDamaged: a segment cannot be read.
    """
    facts, index = snapshot.facts, snapshot.candidate_index
    if not facts.photos:
        raise EvaluationError("The library holds no photos yet. Run `mkt index FOLDER` first.")
    rng = np.random.default_rng(seed)
    asked = draw(snapshot, rng, count=queries, remembered=remembered, given=given)
    cases = list(_cases(snapshot, sorted(set(depths)), rng))
    kept = [case for case in cases if case.can_miss]
    why_exact = _why_exact(facts, index, target)
    total = len(kept) * len(asked) * (1 if why_exact else 2)
    policy = replace(policy, scan_build_as_searches=0)
    bench = _Bench(snapshot, asked.vectors, policy, _Counter(progress, total))
    return RecallReport(
        photos=facts.photos,
        indexed=facts.photos - index.newer if index else 0,
        encoding=facts.encoding,
        target=target,
        seed=seed,
        queries=asked,
        rows=tuple(bench.row(case, None if why_exact else target) for case in kept),
        scan_threads=facts.scan_threads,
        notes=(
            _truth(facts.encoding),
            *([why_exact] if why_exact else _unreached(index, depths, target)),
            *_left_out(cases),
        ),
    )


def _cases(snapshot: Snapshot, depths: Sequence[int], rng: np.random.Generator) -> Iterator[_Case]:
    live = snapshot.content_ids()
    for share in FILTER_SHARES:
        allowed = None
        if share < 1:
            allowed = rng.choice(live, round(share * len(live)), replace=False)
        for k in depths:
            yield _Case(share, k, len(live if allowed is None else allowed), allowed)


class _Counter:
    """Reports how many searches are done."""

    def __init__(self, progress: ProgressCallback, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add_one(self) -> None:
        self._done += 1
        self._progress(Progress("searching both ways", self._done, self._total))


@dataclass(frozen=True)
class _Bench:
    """Searches a snapshot for labels (q, D), one after another."""

    snapshot: Snapshot
    labels: Vector
    policy: SearchPolicy
    counter: _Counter

    def row(self, case: _Case, target: float | None) -> RecallRow:
        """Compare both ways; `target` None searches exactly alone."""
        truth, exact = self._timed(case, recall=1.0)
        found, approximate = truth, None
        if target is not None:
            found, approximate = self._timed(case, recall=target)
        shares = [share_found(best, ids) for best, ids in zip(truth, found, strict=True)]
        recall, lowest = float(np.mean(shares)), min(shares)
        return RecallRow(case.share, case.photos, case.k, recall, lowest, exact, approximate)

    def _timed(self, case: _Case, *, recall: float) -> tuple[list[ContentIds], SearchStats]:
        self._search(self.labels[0], case, recall)  # to warm up
        found, explanations, times, work = [], [], [], 0.0
        for label in self.labels:
            start, work_start = time.perf_counter(), time.process_time()
            ids, explanation = self._search(label, case, recall)
            times.append(time.perf_counter() - start)
            work += time.process_time() - work_start
            found.append(ids)
            explanations.append(explanation)
            self.counter.add_one()
        return found, _stats(explanations, times, busy=work / sum(times))

    def _search(self, label: Vector, case: _Case, recall: float) -> tuple[ContentIds, Explanation]:
        explanation = Explanation()
        found = search(
            self.snapshot,
            WeightedQuery(label[None], ONE),
            case.k,
            allowed=case.allowed,
            recall=recall,
            policy=self.policy,
            explanation=explanation,
        )
        return found.content_ids, explanation


def _stats(
    explanations: Sequence[Explanation], seconds: Sequence[float], *, busy: float
) -> SearchStats:
    plans = [one.plan for one in explanations if one.plan is not None]
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    return SearchStats(
        path=plans[0].path,  # the same for every label: it follows from numbers of photos
        probes=float(np.mean([one.probes for one in plans])),
        candidates=float(np.mean([one.candidates for one in explanations])),
        newer=float(np.mean([one.newer for one in explanations])),
        p50=float(p50),
        p95=float(p95),
        busy=busy,
    )


def _truth(encoding: Encoding) -> str:
    if encoding.pooling == "all":
        return f"Every patch is stored ({encoding.precision}): the truth is the exact scan of all."
    kept = f"{encoding.pooling}, {encoding.m} local vectors a photo, {encoding.precision}"
    return (
        f"Not every patch is stored ({kept}): the truth is the exact scan of the stored vectors, "
        "and these numbers do not include what pooling loses."
    )


def _why_exact(facts: SnapshotFacts, index: CandidateIndexFacts | None, target: float) -> str:
    """Return why every search is exact; "" if it is not."""
    if target >= 1:
        return "With a recall of 1 every search is exact; give a lower --recall to compare."
    if index is not None:
        return ""
    if facts.photos < BUILD_DEFAULT.min_photos:
        return (
            f"A candidate index needs {BUILD_DEFAULT.min_photos} photos, of which the library has "
            f"{facts.photos}: every search is exact."
        )
    return (
        "There is no candidate index that can be used, so every search is exact; `mkt optimize` "
        "builds one."
    )


def _unreached(
    index: CandidateIndexFacts | None, depths: Sequence[int], target: float
) -> Iterator[str]:
    assert index is not None  # else `_why_exact` has given the reason
    curve = index.recall
    ks = [f"{k:,}" for k in sorted(set(depths)) if curve.probes_for("single", k, target) is None]
    if ks:
        yield (
            f"No number of candidates reached a recall of {target:g} when the index was built, "
            f"so searches for {_and(ks)} photos are exact."
        )


def _left_out(cases: Sequence[_Case]) -> Iterator[str]:
    for share in FILTER_SHARES:
        ks = [f"{c.k:,}" for c in cases if c.share == share and not c.can_miss]
        if ks:
            photos = next(case.photos for case in cases if case.share == share)
            yield (
                f"A filter of {100 * share:g} % leaves {photos:,} of the photos, too few to miss "
                f"one of the {_and(ks)} best: left out."
            )


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
