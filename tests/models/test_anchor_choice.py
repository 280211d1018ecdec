"""The record of how an anchor's weight was chosen: read back, shown, and checked."""

import json

import pytest

from mkt_search.models.anchor_choice import AnchorChoice, Point

CHOICE = AnchorChoice(0.2, classes=3, covered=2, curve=(Point(0, 0.1, 0.2), Point(0.2, 0.3, 0.2)))


def test_a_choice_is_read_back_from_the_provenance_of_a_checkpoint() -> None:
    stored = json.loads(json.dumps({"anchor": CHOICE.provenance()}))
    assert AnchorChoice.of(stored) == CHOICE
    assert AnchorChoice.of({}) is None and AnchorChoice.of({"anchor": None}) is None


def test_a_choice_is_shown_with_its_curve() -> None:
    assert CHOICE.sentences() == [
        "anchor of weight 0.2; 2 of 3 class names have a label vector",
        "mAP of labels held out / trained on, by weight of the anchor:"
        " 0: 0.100 / 0.200, 0.2: 0.300 / 0.200",
    ]
    assert len(AnchorChoice(0.2, classes=3, covered=2).sentences()) == 1


def test_the_share_of_a_teacher_is_shown_without_classes() -> None:
    assert AnchorChoice(0.3).sentences() == [
        "anchor of weight 0.3; that is the teacher's share of the weights"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        7,
        {"curve": 3},
        {**CHOICE.provenance(), "weight": float("nan")},
        {**CHOICE.provenance(), "weight": 1},
        {**CHOICE.provenance(), "covered": 4},
        {**CHOICE.provenance(), "classes": "many"},
        {**CHOICE.provenance(), "curve": [{"weight": 0, "held_out": 2, "trained": 0}]},
        {**CHOICE.provenance(), "curve": [{"weight": 0}]},
        {**CHOICE.provenance(), "curve": [CHOICE.provenance()["curve"][0]] * 101},
    ],
)
def test_a_malformed_choice_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="anchor"):
        AnchorChoice.of({"anchor": wrong})
