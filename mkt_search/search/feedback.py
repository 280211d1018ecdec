"""A query as people's judgements of its labels' hits change it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Calibrator, Reference
from mkt_search.calibration.feedback import JudgedPhotos, learn
from mkt_search.store.interfaces import ContentIds, Snapshot, WeightedQuery
from mkt_search.types import Term, Vector

Numbers = NDArray[np.float64]

MOST_JUDGED = 1_000  # of a label, the newest; more hardly change a query
REFERENCES = 50


@dataclass(frozen=True)
class AdaptedQuery:
    """A query of T labels as judgements change it.

    Attributes:
        query: with label vectors after their steps.
        labels: the vectors before, (T, D).
        offsets: of the logits of p, (T,).
        refused: photos that were judged no for a wanted label; they are no hits.
        judged: how many judgements of photos in the library count.
        is_confirmed: some photo was judged yes for a wanted label.
    """

    query: WeightedQuery
    labels: Vector
    offsets: Numbers
    refused: ContentIds
    judged: int = 0
    is_confirmed: bool = False

    @classmethod
    def unchanged(cls, query: WeightedQuery) -> "AdaptedQuery":
        """Return the query as it is."""
        return cls(query, query.labels, np.zeros(query.terms), np.empty(0, np.int64))


def adapt(
    query: WeightedQuery,
    terms: Sequence[Term],
    judgements: Mapping[str, Mapping[int, bool]],
    snapshot: Snapshot,
    calibrator: Calibrator | None,
) -> AdaptedQuery:
    """Return a query as judgements change it.

    Args:
        query: the labels and photos that are searched for.
        terms: what they are.
        judgements: of some labels, whether contents show them, the newest last.
        snapshot: the vectors; judged photos without any have no effect.
        calibrator: of the scores, if there is one.
    """
    if not judgements:
        return AdaptedQuery.unchanged(query)
    k = snapshot.facts.encoding.top_k
    reference = (
        Reference.sample(snapshot, REFERENCES) if calibrator is None else calibrator.reference
    )
    vectors, offsets = query.labels.copy(), np.zeros(query.terms)
    refused: list[int] = []
    judged, is_confirmed = 0, False
    for number, term in enumerate(terms):
        answers = judgements.get(term.label or "")
        if not answers:
            continue
        photos = _judged(answers, snapshot)
        learned = learn(vectors[number], photos, reference, calibrator, k=k)
        vectors[number], offsets[number] = learned.vector, learned.offset
        judged += len(photos)
        if term.weight > 0:
            refused += [content for content, is_yes in answers.items() if not is_yes]
            is_confirmed |= bool(photos.is_yes.any())
    return AdaptedQuery(
        query._replace(labels=vectors),
        query.labels,
        offsets,
        np.array(refused, np.int64),
        judged,
        is_confirmed,
    )


def _judged(answers: Mapping[int, bool], snapshot: Snapshot) -> JudgedPhotos:
    """Return the judged photos that the library has vectors of."""
    newest = np.array([*answers][-MOST_JUDGED:], np.int64)
    content_ids = snapshot.content_ids(newest)
    vectors, counts = snapshot.vectors(content_ids)
    return JudgedPhotos(
        vectors, counts, np.array([answers[i] for i in content_ids.tolist()], np.bool_)
    )
