"""Search: plan, find candidates, score them exactly.

`plan` chooses among three paths. Through the candidate index: the shortlist is scored exactly, and
with it every photo newer than the index. By the exact scan: photos are scored until a bound proves
that the rest cannot be among the k best. Or every allowed photo is scored. All of them score by
`scoring`. Of photos with equal scores, the one whose bytes came first, which has the lower content
id, goes first.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.scoring import patch_weights, score_similarities
from mkt_search.search.plan import DEFAULT, Plan, SearchPolicy, may_use_index, plan
from mkt_search.store.interfaces import ContentIds, Snapshot, WeightedQuery
from mkt_search.types import Vector


@dataclass
class Explanation:
    """The plan of a search, what came of it, and the milliseconds of each step.

    `match` says whether the library shows the label of the query, as far as its calibrator can
    tell; it is None without one, and for a query that is not one label. `no_p` says why hits have
    no probability although there is a calibrator.
    `candidates` photos were scored because the candidate index found them, and `newer` ones because
    it does not have them. `judged` judgements of hits have changed the query.
    """

    plan: Plan | None = None
    candidates: int = 0
    newer: int = 0
    judged: int = 0
    match: Literal["yes", "none", "unknown"] | None = None
    no_p: str = ""
    milliseconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time a block takes to a step."""
        start = time.perf_counter()
        yield
        took = (time.perf_counter() - start) * 1e3
        self.milliseconds[name] = self.milliseconds.get(name, 0.0) + took


@dataclass(frozen=True)
class Found:
    """The k best photos, best first, with the two parts of their scores: (k,) each."""

    content_ids: ContentIds
    global_scores: Vector
    local_scores: Vector

    @property
    def scores(self) -> Vector:
        """(k,): the fused scores."""
        return self.global_scores + self.local_scores

    def at(self, rows: NDArray[np.int64]) -> "Found":
        """Return some of the photos, in this order."""
        return Found(self.content_ids[rows], self.global_scores[rows], self.local_scores[rows])


def search(
    snapshot: Snapshot,
    query: WeightedQuery,
    k: int,
    *,
    allowed: ContentIds | None = None,
    recall: float = 1.0,
    policy: SearchPolicy = DEFAULT,
    explanation: Explanation | None = None,
) -> Found:
    """Return the k best allowed photos for a weighted sum of labels.

    Args:
        snapshot: the stored vectors.
        query: labels and weights.
        k: photos wanted.
        allowed: content ids that may be found, live or not; None allows all.
        recall: the share of the k best that must be found on average; 1 is all of them, always.
        policy: what the plan goes by.
        explanation: filled in.
    """
    explanation = explanation if explanation is not None else Explanation()
    facts = snapshot.facts
    ids = None if allowed is None else snapshot.content_ids(allowed)
    with explanation.step("plan"):
        chosen = plan(
            query,
            k=k,
            recall=recall,
            searched=facts.photos if ids is None else len(ids),
            facts=facts,
            candidate_index=snapshot.candidate_index if may_use_index(query, recall) else None,
            policy=policy,
        )
    explanation.plan = chosen
    run = _Search(snapshot, query, k, policy, explanation)
    if chosen.path == "candidates":
        return run.through_candidates(chosen, ids)
    if chosen.path == "exact scan":
        with explanation.step("scan and score"):
            return run.by_scan(ids)
    with explanation.step("score"):
        return run.of(snapshot.content_ids() if ids is None else ids)


@dataclass(frozen=True)
class _Search:
    """The steps of one search."""

    snapshot: Snapshot
    query: WeightedQuery
    k: int
    policy: SearchPolicy
    explanation: Explanation

    def through_candidates(self, chosen: Plan, allowed: ContentIds | None) -> Found:
        """Score the shortlist, and every photo that the candidate index does not have."""
        with self.explanation.step("candidates"):
            found = self.snapshot.candidates(
                self.query, k=chosen.depth, probes=chosen.probes, allowed=allowed
            )
        self.explanation.candidates = len(found.candidates)
        self.explanation.newer = len(found.newer)
        with self.explanation.step("score"):
            return self.of(self.snapshot.content_ids(np.concatenate(found)))

    def by_scan(self, allowed: ContentIds | None) -> Found:
        """Ask the scan for vectors, once more for more, until the k-th score reaches its bound.

        If a local vector is the mean of k patches, a photo's bound is its score but for the
        coding, so the first answer proves itself. If it is a single patch, the bound is looser,
        and a large library may have to be scored whole.
        """
        label, weight = self.query.labels[0], float(self.query.weights[0])
        vectors = self.policy.scan_vectors_per_k * self.k
        first_scored = self.policy.first_scored_per_k * self.k
        for asked in (vectors, self.policy.scan_growth * vectors):
            found = self.snapshot.scan(label, vectors=asked, allowed=allowed)
            best = self._best_of(found.content_ids[:first_scored])
            worst = self._worst(best) / weight
            rest = found.content_ids[first_scored:][found.upper[first_scored:] >= worst]
            best = self._merged(best, self.of(rest))
            if self._worst(best) / weight >= found.bound:
                return best
        return self.of(self.snapshot.content_ids(allowed))

    def of(self, content_ids: ContentIds) -> Found:
        """Score photos in blocks, given in storage order, and keep the best."""
        best = Found(content_ids[:0], *np.empty((2, 0), np.float32))
        for first in range(0, len(content_ids), self.policy.photos_per_block):
            block = content_ids[first : first + self.policy.photos_per_block]
            best = self._merged(best, self._best_of(block))
        return best

    def _best_of(self, content_ids: ContentIds) -> Found:
        if not len(content_ids):
            return Found(content_ids, *np.empty((2, 0), np.float32))
        products, counts = self.snapshot.similarities(content_ids, self.query.labels)
        scores = score_similarities(products, counts, k=self.snapshot.facts.encoding.top_k)
        weights = self.query.weights  # (T,)
        return self._ranked(
            Found(
                content_ids, scores.global_scores @ weights, scores.local_scores @ weights
            )  # (n,) each
        )

    def _merged(self, one: Found, other: Found) -> Found:
        return self._ranked(
            Found(
                np.concatenate([one.content_ids, other.content_ids]),
                np.concatenate([one.global_scores, other.global_scores]),
                np.concatenate([one.local_scores, other.local_scores]),
            )
        )

    def _ranked(self, found: Found) -> Found:
        order = np.lexsort((found.content_ids, -found.scores))[: self.k]
        return Found(
            found.content_ids[order], found.global_scores[order], found.local_scores[order]
        )

    def _worst(self, found: Found) -> float:
        """Return the k-th score; -inf if there are fewer than k photos."""
        return float(found.scores[-1]) if len(found.scores) == self.k else -np.inf


def patches_used(snapshot: Snapshot, label: Vector, content_ids: ContentIds) -> Vector:
    """Return how much each patch weighs in the local part of a score; rows sum to 1.

    The result is (n, P), or (n, V P) if one of the photos has V > 1 views.
    """
    products, counts = snapshot.similarities(content_ids, label[None])  # (n, 1 + m, 1), (n, m)
    members = snapshot.member_patches(content_ids)  # (n, m, V P)
    weights = patch_weights(products[:, 1:, 0], counts, snapshot.facts.encoding.top_k)  # (n, m)
    shares = weights / np.maximum(counts, 1).astype(np.float32)  # of each patch of a local vector
    by_patch: Vector = np.einsum("nm,nmp->np", shares, members.astype(np.float32))
    return by_patch
