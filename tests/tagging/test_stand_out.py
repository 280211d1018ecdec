"""Labels that stand out among photos of the library and everyday words."""

import numpy as np
import pytest

from mkt_search.calibration.calibrator import Reference
from mkt_search.errors import QueryError
from mkt_search.scoring import score
from mkt_search.tagging.assign import select_labels
from mkt_search.tagging.stand_out import (
    FEWEST_PHOTOS,
    FEWEST_WORDS,
    TOP,
    WORDS,
    StandOut,
    some_of,
)
from tests.calibration.made import STAMP, draw

K = STAMP.top_k


def chosen(photos: int, labels: int, words: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which labels photos get and which they show, (n, L) each."""
    labeled, z = draw(photos=photos, labels=labels, strength=3)
    reference = Reference(labeled.vectors, labeled.counts)
    background = draw(1, photos=1, labels=words)[1]
    rule = StandOut.of(reference, z, background, k=K).rule

    def scores(vectors: np.ndarray) -> np.ndarray:
        photos = labeled.vectors
        return score(vectors, photos[:, 0], photos[:, 1:], labeled.counts, k=K).fused

    bar = None if rule.words is None else rule.words.bar(scores(background))
    found = select_labels(scores(z), rule, bar=bar)
    got = np.zeros((photos, labels), np.bool_)
    got[found.photos, found.labels] = True
    return got, labeled.targets > 0


@pytest.mark.parametrize("words", [0, 200])
def test_labels_that_stand_out_are_mostly_those_that_photos_show(words: int) -> None:
    got, shown = chosen(200, 12, words)
    assert (got & shown).sum() >= 0.7 * got.sum()
    assert (got & shown).sum() >= 0.5 * shown.sum()
    assert got.sum(axis=1).max() <= TOP


def test_with_few_photos_words_alone_decide() -> None:
    got, shown = chosen(FEWEST_PHOTOS - 1, 12, 200)
    assert (got & shown).mean() >= 0.7 * shown.mean()
    assert got[shown].mean() > 2 * got[~shown].mean()


def test_few_photos_and_few_words_are_refused_with_the_way_out() -> None:
    with pytest.raises(QueryError, match="--top N"):
        chosen(FEWEST_PHOTOS - 1, 12, FEWEST_WORDS - 1)


def test_what_labels_stand_out_among_is_said() -> None:
    labeled, z = draw(photos=FEWEST_PHOTOS)
    reference = Reference(labeled.vectors, labeled.counts)
    found = StandOut.of(reference, z, draw(1, labels=FEWEST_WORDS)[1], k=K)
    assert found.among == "20 photos and 20 everyday words"
    assert StandOut.of(reference, z, z[:0], k=K).among == "20 photos"


@pytest.mark.parametrize("count", [0, 1, WORDS, 5 * WORDS])
def test_words_are_taken_from_all_over_a_list(count: int) -> None:
    words = [str(number) for number in range(count)]
    some = some_of(words)
    assert len(some) == len(set(some)) == min(count, WORDS)
    assert some[:1] == words[:1] and some[-1:] == words[-1:]
