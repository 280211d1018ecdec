"""Nearest labels by their vectors, and the share of them that are of a label's kind."""

import math

import numpy as np
import pytest

from mkt_search.evaluation.nearest_labels import nearest_labels, precision_of_kinds

LABELS = ["dog", "wolf", "cat", "car", "bus"]
ANGLES = np.radians([0, 10, 25, 90, 100])
VECTORS = np.stack([3 * np.cos(ANGLES), 3 * np.sin(ANGLES)], axis=1).astype(np.float32)
KINDS = {"dog": "animal", "wolf": "Animal", "cat": "animal", "car": "vehicle", "bus": "vehicle"}


def test_the_nearest_labels_come_first_and_without_the_label_itself() -> None:
    found = nearest_labels("dog", LABELS, VECTORS, count=3)
    assert [name for name, _ in found] == ["wolf", "cat", "car"]
    assert [cosine for _, cosine in found] == pytest.approx(np.cos(ANGLES[1:4]), abs=1e-6)
    assert len(nearest_labels("dog", LABELS, VECTORS, count=9)) == 4


def test_precision_is_the_mean_share_of_neighbours_of_the_same_kind() -> None:
    def precision(count: int) -> float:
        return precision_of_kinds(LABELS, VECTORS, KINDS, count=count)

    assert precision(1) == 1
    assert precision(3) == pytest.approx((2 + 2 + 2 + 1 + 1) / 15)


def test_labels_without_a_kind_take_no_part() -> None:
    kinds = {"dog": "animal", "cat": "animal", "car": ""}
    assert precision_of_kinds(LABELS, VECTORS, kinds, count=1) == 1
    assert math.isnan(precision_of_kinds(LABELS, VECTORS, {}, count=3))
    assert math.isnan(precision_of_kinds(LABELS, VECTORS, {"dog": "a", "cat": "b"}, count=3))
