"""The record of how the weights of the streams were chosen: read back, shown, and checked."""

import json

import pytest

from mkt_search.models.anchor_choice import Point
from mkt_search.models.stream_choice import StreamChoice

CURVE = (Point(0.5, 0.4, 0.6), Point(0.7, 0.5, 0.6), Point(0.9, 0.3, 0.8))


def test_a_choice_is_read_back_from_the_provenance_of_a_checkpoint() -> None:
    choice = StreamChoice(0.7, CURVE)
    assert StreamChoice.of(json.loads(json.dumps({"streams": choice.provenance()}))) == choice
    assert StreamChoice.of({}) is None and StreamChoice.of({"streams": None}) is None


def test_the_best_share_serves_both_kinds_of_labels() -> None:
    assert StreamChoice.best(CURVE) == StreamChoice(0.7, CURVE)


def test_streams_stay_equal_where_the_best_share_gains_next_to_nothing() -> None:
    flat = [Point(0.3, 0.224, 0.3566), Point(0.5, 0.2237, 0.3562), Point(0.7, 0.2175, 0.3523)]
    assert StreamChoice.best(flat).local_share == 0.5
    clear = [Point(0.5, 0.908, 0.949), Point(0.7, 0.937, 0.965), Point(0.8, 0.939, 0.967)]
    assert StreamChoice.best(clear).local_share == 0.7
    assert StreamChoice.best([Point(w, 0.5, 0.5) for w in (0.3, 0.5, 0.7)]).local_share == 0.5


def test_a_choice_is_shown_with_its_curve() -> None:
    assert StreamChoice(0.7, CURVE[:2]).sentences() == [
        "the local stream has a share of 0.7 in the score",
        "mAP of labels held out / trained on, by that share: 0.5: 0.400 / 0.600,"
        " 0.7: 0.500 / 0.600",
    ]
    assert len(StreamChoice(0.7).sentences()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        {"local_share": 0.5},
        {"local_share": 0, "curve": []},
        {"local_share": 1, "curve": []},
        {"local_share": float("nan"), "curve": []},
        {"local_share": "much", "curve": []},
        {"local_share": 0.5, "curve": [{"weight": 0.5}]},
        {"local_share": 0.5, "curve": [CURVE[0].__dict__] * 101},
    ],
)
def test_a_malformed_choice_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="stream"):
        StreamChoice.of({"streams": wrong})
