"""Plan a search: choose the path that meets the recall asked for with the least work."""

from dataclasses import dataclass
from typing import Literal

from mkt_search.store.interfaces import CandidateIndexFacts, SnapshotFacts, WeightedQuery
from mkt_search.store.recall_curve import RecallPoint

Path = Literal["candidates", "exact scan", "every photo"]
"""Score a shortlist and newer photos; scan all with a proof; or score every allowed photo."""


@dataclass(frozen=True)
class SearchPolicy:
    """When which path is less work, and how the exact scan proceeds.

    Work is counted in photos scored from stored vectors.

    score_all_up_to_photos: so few photos are always scored without an index.
    index_scan_as_share: scanning the codes of a candidate index for one direction takes as long as
        scoring this share of its photos.
    probes_per_photo: vectors of one photo among the probes, on average.
    score_all_below_share: below this share of the library, scoring the photos of a filter is
        faster than an exact scan.
    scan_build_as_searches: building the exact scan takes as long as scoring the library so often.
        It is built once so much was scored without it.
    scan_vectors_per_k: vectors asked of the exact scan for a photo wanted; one owns up to m of
        the best.
    scan_growth: factor by which more are asked if the first answer is not proven.
    first_scored_per_k: photos of a scan scored exactly, for a photo wanted, before all that a
        bound still allows.
    photos_per_block: photos scored together.
    """

    score_all_up_to_photos: int = 100
    index_scan_as_share: float = 0.01
    probes_per_photo: int = 2
    score_all_below_share: float = 0.05
    scan_build_as_searches: int = 10
    scan_vectors_per_k: int = 100
    scan_growth: int = 4
    first_scored_per_k: int = 4
    photos_per_block: int = 256


DEFAULT = SearchPolicy()


@dataclass(frozen=True)
class Plan:
    """How a search goes, and why.

    `searched` photos are allowed. `probes` vectors are asked of the candidate index for each
    direction, for the `depth` best photos. `recall` is the expected share of the exact best photos
    that is found: measured on labels like those people search for, or 1 on an exact path.
    """

    path: Path
    why: str
    searched: int
    probes: int = 0
    depth: int = 0
    recall: float = 1.0


def plan(
    query: WeightedQuery,
    *,
    k: int,
    recall: float,
    searched: int,
    facts: SnapshotFacts,
    candidate_index: CandidateIndexFacts | None,
    policy: SearchPolicy = DEFAULT,
) -> Plan:
    """Return the plan of a search. It depends on nothing but the arguments.

    Args:
        query: labels and weights.
        k: photos wanted.
        recall: the share of the k best that must be found on average; 1 is exact.
        searched: photos that may be found.
        facts: of the snapshot.
        candidate_index: None if there is none, or if `may_use_index` says no.
        policy: costs.
    """
    why_exact, point = _usable(query, k, recall, candidate_index)
    if point is not None and candidate_index is not None:
        depth = candidate_index.recall.depth_for(k)
        if searched > _break_even(query, depth, point.probes, candidate_index, policy):
            why = f"{point.probes:,} probes reach a recall of {recall:g}"
            return Plan("candidates", why, searched, point.probes, depth, point.recall)
        return Plan("every photo", "scoring so few photos is less work than probing", searched)
    why_every = _why_every_photo(query, searched, facts, policy)
    if why_every:
        return Plan("every photo", f"{why_exact}; {why_every}", searched)
    return Plan("exact scan", why_exact, searched)


def may_use_index(query: WeightedQuery, recall: float) -> bool:
    """Return whether a plan could use a candidate index, which takes time to load."""
    return recall < 1 and query.is_mostly_wanted


def _usable(
    query: WeightedQuery, k: int, recall: float, index: CandidateIndexFacts | None
) -> tuple[str, RecallPoint | None]:
    """Return the point of the recall curve to use, or the reason why there is none."""
    if recall >= 1:
        return "an exact answer is asked for", None
    if not query.is_mostly_wanted:
        return "no index finds a query that is mostly unwanted", None
    if index is None:
        return "there is no candidate index", None
    point = index.recall.probes_for(query.kind, k, recall)
    if point is None:
        return f"no measured number of probes reaches a recall of {recall:g} at k = {k:,}", None
    return "", point


def _break_even(
    query: WeightedQuery,
    depth: int,
    probes: int,
    index: CandidateIndexFacts,
    policy: SearchPolicy,
) -> int:
    """Return how many photos can be scored with the work that the candidate index takes."""
    directions = len(query.directions)
    scan = int(policy.index_scan_as_share * index.photos) * directions
    if query.terms == 1:
        shortlist = index.shortlist_per_k * depth
    else:
        shortlist = probes * directions // policy.probes_per_photo
    return max(policy.score_all_up_to_photos, shortlist + scan)


def _why_every_photo(
    query: WeightedQuery, searched: int, facts: SnapshotFacts, policy: SearchPolicy
) -> str:
    """Return why every photo should be scored rather than scanned; "" if the scan is better."""
    if query.terms > 1 or not query.is_mostly_wanted:
        return "the exact scan answers one wanted label"
    if searched <= policy.score_all_below_share * facts.photos:
        return "scoring so few photos is less work than a scan"
    if facts.photos_scored + searched < policy.scan_build_as_searches * facts.photos_to_scan:
        return "building the scan would not pay yet"
    return ""
