"""How good the candidate index of a library is: what it finds of the exact best, and how fast.

The same labels are searched both ways, the approximate and the exact one, one label after another:
for the best of all photos, and for the best of those that random filters leave. The truth is the
exact way, which scores what the library stores: every patch where it stores every patch.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import EvaluationError
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.search.search import Explanation, best
from mkt_search.store.candidates import calibration_queries as probes
from mkt_search.store.candidates.build import LEAST
from mkt_search.store.candidates.calibration_queries import CalibrationQueries, share_found
from mkt_search.store.snapshot import LocalSnapshot, Slots
from mkt_search.store.store import Store
from mkt_search.types import Encoding, Vector

SHARES = (1.0, 0.1, 0.01, 0.001)  # of the photos: no filter, then random filters
ONE = np.ones(1, np.float32)


@dataclass(frozen=True)
class Way:
    """How one way of searching answered the labels.

    `path` is that of `Explanation`; `vectors` were asked of the candidate index, `candidates` and
    `newer` are photos scored a label, on average;
    `p50` and `p95` milliseconds a label; `busy` how many threads were at work, on average
    (processor time over time).
    """

    path: str
    vectors: float
    candidates: float
    newer: float
    p50: float
    p95: float
    busy: float


@dataclass(frozen=True)
class Row:
    """The k best of some photos, both ways.

    `share` of the live photos pass the filter (1: there is none), `photos` in number. `recall` is
    the mean share of the exact k best that the approximate way found, `lowest` that of the label
    with the lowest. `approximate` is None where every search is exact.
    """

    share: float
    photos: int
    k: int
    recall: float
    lowest: float
    exact: Way
    approximate: Way | None


@dataclass(frozen=True)
class RecallReport:
    """What was measured on a library.

    `photos` are its live ones, of which the candidate index has `indexed`; `target` is the recall
    that was asked for; `scan_threads` are those of the exact scan. `notes` are sentences: what the
    truth is, what was left out, and why searches are exact where they are.
    """

    photos: int
    indexed: int
    encoding: Encoding
    target: float
    seed: int
    probes: CalibrationQueries
    scan_threads: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; milliseconds, and shares on [0, 1]."""
        asked = self.probes
        return {
            "photos": self.photos,
            "indexed": self.indexed,
            "vectors": {
                "local": self.encoding.local,
                "m": self.encoding.m,
                "precision": self.encoding.precision,
            },
            "target": self.target,
            "seed": self.seed,
            "queries": {
                "given": asked.given,
                "remembered": asked.remembered,
                "mixed": asked.mixed,
            },
            "scan_threads": self.scan_threads,
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Case:
    share: float
    k: int
    allowed: NDArray[np.bool_]

    @property
    def photos(self) -> int:
        return int(np.count_nonzero(self.allowed))

    @property
    def can_miss(self) -> bool:
        """Whether one of the k best could be missed: a filter may leave too few photos."""
        return self.share == 1 or self.photos > self.k


def measure(
    store: Store,
    index: LocalSnapshot,
    *,
    given: Vector | None = None,
    queries: int = 50,
    depths: Sequence[int] = (10, 100),
    target: float = 0.99,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> RecallReport:
    """Search a library both ways for labels like those people ask for, and compare.

    Args:
        store: the library's, for the labels it remembers.
        index: the library's vectors.
        given: (g, D) label vectors, all of which are asked; None is none.
        queries: how many are asked at least; remembered and mixed ones fill up.
        depths: the k of each row.
        target: the recall asked of the approximate way; 1 is exact.
        seed: of the remembered, the mixed and the filters.
        progress: called as work advances.

    Raises:
        EvaluationError: the library has no photo that can be found.
        LibraryDamaged: a segment cannot be read.
    """
    if not index.live.any():
        raise EvaluationError("The library holds no photos yet. Run `mkt index FOLDER` first.")
    rng = np.random.default_rng(seed)
    given = np.empty((0, index.encoding.dim), np.float32) if given is None else given
    asked = probes.draw(store, index, rng, count=queries, given=given)
    cases = list(_cases(index, sorted(set(depths)), rng))
    kept = [case for case in cases if case.can_miss]
    why_exact = _why_exact(index, target)
    counted = _Counted(progress, len(kept) * len(asked) * (1 if why_exact else 2))
    compared = None if why_exact else target
    return RecallReport(
        photos=int(np.count_nonzero(index.live)),
        indexed=int(np.count_nonzero(index.covered)),
        encoding=index.encoding,
        target=target,
        seed=seed,
        probes=asked,
        rows=tuple(_row(index, case, asked.vectors, compared, counted) for case in kept),
        scan_threads=index.scan.threads,
        notes=(
            _truth(index.encoding),
            *([why_exact] if why_exact else _unreached(index, depths, target)),
            *_left_out(cases),
        ),
    )


def _cases(
    index: LocalSnapshot, depths: Sequence[int], rng: np.random.Generator
) -> Iterator[_Case]:
    live = np.flatnonzero(index.live)
    for share in SHARES:
        allowed = index.live
        if share < 1:
            allowed = np.zeros(len(index), np.bool_)
            allowed[rng.choice(live, round(share * len(live)), replace=False)] = True
        for k in depths:
            yield _Case(share, k, allowed)


class _Counted:
    """Tells how many searches are done."""

    def __init__(self, progress: ProgressCallback, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def one(self) -> None:
        self._done += 1
        self._progress(Progress("searching both ways", self._done, self._total))


def _row(
    index: LocalSnapshot, case: _Case, labels: Vector, target: float | None, counted: _Counted
) -> Row:
    truth, exact = _ask(index, case, labels, 1.0, counted)
    found, approximate = truth, None
    if target is not None:
        found, approximate = _ask(index, case, labels, target, counted)
    shares = [share_found(b, f) for b, f in zip(truth, found, strict=True)]
    recall, lowest = float(np.mean(shares)), min(shares)
    return Row(case.share, case.photos, case.k, recall, lowest, exact, approximate)


def _ask(
    index: LocalSnapshot, case: _Case, labels: Vector, recall: float, counted: _Counted
) -> tuple[list[Slots], Way]:
    """Search for labels (q, D), one after another; the first once before, to warm up."""
    best(index, labels[:1], ONE, case.k, case.allowed, recall=recall)
    found, told, times, work = [], [], [], 0.0
    for label in labels:
        explanation = Explanation()
        start, at_work = time.perf_counter(), time.process_time()
        answer = best(
            index, label[None], ONE, case.k, case.allowed, recall=recall, explanation=explanation
        )
        times.append(time.perf_counter() - start)
        work += time.process_time() - at_work
        found.append(answer.slots)
        told.append(explanation)
        counted.one()
    p50, p95 = np.percentile(times, [50, 95]) * 1e3
    return found, Way(
        path=told[0].path,  # it follows from the numbers of photos alone
        vectors=float(np.mean([one.vectors for one in told])),
        candidates=float(np.mean([one.candidates for one in told])),
        newer=float(np.mean([one.newer for one in told])),
        p50=float(p50),
        p95=float(p95),
        busy=work / sum(times),
    )


def _truth(encoding: Encoding) -> str:
    if encoding.local == "all":
        return f"Every patch is stored ({encoding.precision}): the truth is the exact scan of all."
    kept = f"{encoding.local}, {encoding.m} local vectors a photo, {encoding.precision}"
    return (
        f"Not every patch is stored ({kept}): the truth is the exact scan of what is, and what "
        "storing less loses is not in these numbers."
    )


def _why_exact(index: LocalSnapshot, target: float) -> str:
    """Say why every search is exact; "" where it is not."""
    photos = int(np.count_nonzero(index.live))
    if target >= 1:
        return "A recall of 1 is asked for, so every search is exact; ask for less to compare."
    if index.generation is not None and index.sketch is None:
        return "The candidate index cannot be used, so every search is exact; see `mkt verify`."
    if index.generation is not None:
        return ""
    if photos < LEAST:
        return (
            f"A candidate index needs {LEAST} photos, of which the library has {photos}: every "
            "search is exact."
        )
    return "There is no candidate index, so every search is exact; `mkt optimize` builds one."


def _unreached(index: LocalSnapshot, depths: Sequence[int], target: float) -> Iterator[str]:
    assert index.generation is not None  # `_why_exact` has told else
    curve = index.generation.curve
    ks = [f"{k:,}" for k in sorted(set(depths)) if curve.vectors_for("one", k, target) is None]
    if ks:
        yield (
            f"No number of candidates reached a recall of {target:g} when the index was built, "
            f"so searches for {_and(ks)} photos are exact."
        )


def _left_out(cases: Sequence[_Case]) -> Iterator[str]:
    for share in SHARES:
        ks = [f"{c.k:,}" for c in cases if c.share == share and not c.can_miss]
        if ks:
            photos = next(case.photos for case in cases if case.share == share)
            yield (
                f"A filter of {100 * share:g} % leaves {photos:,} of the photos, too few to miss "
                f"one of the {_and(ks)} best: left out."
            )


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
