"""The protocol against a slow plain version of the reference."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.evaluation.metrics import label_metrics, mean_average_precision, top_labels
from mkt_search.evaluation.protocol import (
    PhotoScores,
    Rules,
    group_metrics,
    label_groups,
    paper_map,
    rarity_threshold,
    results,
    retrieval_means,
    score_encoded,
)
from mkt_search.scoring import StreamScores
from mkt_search.types import Encoded

OPEN = Rules("open-images", f1_at=(1, 2))


def random_case(seed: int, photos: int = 14, labels: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, (photos, labels)).astype(np.float32)  # many ties
    targets = rng.choice([-1, 0, 1], (photos, labels), p=[0.4, 0.45, 0.15]).astype(np.int8)
    targets[:, 0] = np.minimum(targets[:, 0], 0)  # shown by no photo
    targets[:, 1] = 0  # unknown on every photo
    return scores, targets


def scored(seed: int, labels: int = 6) -> PhotoScores:
    rng = np.random.default_rng(seed)
    dot, cosine = (
        StreamScores(*(rng.normal(size=(14, labels)).astype(np.float32) for _ in range(2)))
        for _ in range(2)
    )
    return PhotoScores(dot, cosine, random_case(seed, labels=labels)[1])


def slow_ap(scores: list[float], targets: list[int]) -> float:
    """Return the AP of one label as the reference does; ties keep the order of the photos."""
    entries = [(-s, i, t) for i, (s, t) in enumerate(zip(scores, targets, strict=True)) if t]
    found, total = 0, 0.0
    for rank, (_, _, target) in enumerate(sorted(entries), start=1):
        if target == 1:
            found += 1
            total += found / rank
    return total / found if found else 0.0


def slow_top(scores: np.ndarray, targets: np.ndarray, k: int) -> tuple[float, float, float]:
    right = given_ = 0
    for row, truth in zip(scores, targets, strict=True):
        best = sorted(range(len(row)), key=lambda j: (-row[j], j))[:k]
        given_ += len(best)
        right += sum(truth[j] == 1 for j in best)
    p, r = right / max(given_, 1), right / max((targets == 1).sum(), 1)
    return p, r, 2 * p * r / (p + r) if right else 0.0


@given(st.integers(0, 10_000))
def test_nus_wide_counts_every_photo_and_every_label(seed: int) -> None:
    scores, targets = random_case(seed)
    found = group_metrics(scores, targets, "all", rules=Rules(f1_at=(1, 3)))
    columns = range(targets.shape[1])
    aps = [slow_ap(scores[:, j].tolist(), targets[:, j].tolist()) for j in columns]
    assert found.paper_map == pytest.approx(np.mean(aps))
    for k, ratios in found.top.items():
        expected = slow_top(scores, targets, k)
        assert (ratios.precision, ratios.recall, ratios.f1) == pytest.approx(expected)


@given(st.integers(0, 10_000), st.sampled_from(["unseen", "all"]))
def test_open_images_leaves_out_photos_without_positives_and_unknown_labels(
    seed: int, group: str
) -> None:
    scores, targets = random_case(seed)
    kept = [i for i in range(len(targets)) if (targets[i] == 1).any()]
    s, t = scores[kept], targets[kept]
    counted = [j for j in range(t.shape[1]) if group == "unseen" or t[:, j].any()]
    aps = [slow_ap(s[:, j].tolist(), t[:, j].tolist()) for j in counted]
    found = group_metrics(scores, targets, group, rules=OPEN)  # type: ignore[arg-type]
    assert found.paper_map == pytest.approx(np.mean(aps) if aps else 0)
    for k, ratios in found.top.items():
        expected = slow_top(s, t, k)
        assert (ratios.precision, ratios.recall, ratios.f1) == pytest.approx(expected)


@given(st.integers(0, 10_000), st.sampled_from(["unseen", "all"]))
def test_biam_ranks_all_known_pairs_of_the_photos_that_know_a_label(seed: int, group: str) -> None:
    scores, targets = random_case(seed)
    kept = [i for i in range(len(targets)) if (targets[i] == 1).any()]
    s, t = scores[kept], targets[kept]
    aps = []
    for j in range(t.shape[1]):
        if group == "unseen" or t[:, j].any():
            known = [i for i in range(len(t)) if t[i, j]]
            aps.append(slow_ap(s[known].ravel().tolist(), t[known].ravel().tolist()))
    rules = Rules("biam", f1_at=(1, 2))
    found = group_metrics(scores, targets, group, rules=rules)  # type: ignore[arg-type]
    assert found.paper_map == pytest.approx(np.mean(aps) if aps else 0)


def test_vocabulary_scores_are_normalized_over_the_group_alone() -> None:
    of_two = PhotoScores(
        StreamScores(np.array([[3, 4, 12]], np.float32), np.array([[0, 1, 0]], np.float32)),
        StreamScores(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.float32)),
        np.ones((1, 3), np.int8),
    )
    unseen = of_two.only(slice(0, 2)).streams("vocabulary")
    assert unseen["global"].tolist() == [pytest.approx([0.3, 0.4])]
    assert unseen["fused"].tolist() == [pytest.approx([0.3, 0.9])]
    assert of_two.streams("vocabulary")["global"].tolist() == [
        pytest.approx([3 / 26, 4 / 26, 12 / 26])
    ]


@given(st.integers(0, 1_000), st.integers(1, 7))
def test_every_patch_is_scored_on_both_scales(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    global_vectors, patches = rng.normal(size=(3, 4)), rng.normal(size=(3, 5, 4))
    patches[0, 0] = 0  # a zero patch
    labels = rng.normal(size=(6, 4))
    encoded = Encoded(global_vectors.astype(np.float32), patches.astype(np.float32))
    found = score_encoded(encoded, labels.astype(np.float32), k=k)
    for scores, is_unit in zip(found, (False, True), strict=True):
        for n in range(3):
            for j, z in enumerate(labels):
                lengths = [math.sqrt((p**2).sum()) if is_unit else 1 for p in patches[n]]
                best = sorted(
                    (
                        (p @ z) / (length or 1)
                        for p, length in zip(patches[n], lengths, strict=True)
                    ),
                    reverse=True,
                )[:k]
                whole = (
                    global_vectors[n] @ z / (np.linalg.norm(global_vectors[n]) if is_unit else 1)
                )
                assert scores.global_scores[n, j] == pytest.approx(whole / 2, abs=1e-5)
                assert scores.local_scores[n, j] == pytest.approx(np.mean(best) / 2, abs=1e-5)


def test_scores_do_not_depend_on_the_block_size() -> None:
    rng = np.random.default_rng(0)
    encoded = Encoded(
        rng.normal(size=(2, 4)).astype(np.float32), rng.normal(size=(2, 3, 4)).astype(np.float32)
    )
    labels = rng.normal(size=(5, 4)).astype(np.float32)
    whole = score_encoded(encoded, labels, k=2)
    blocks = score_encoded(encoded, labels, k=2, labels_per_block=2)
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(a.fused, b.fused, rtol=1e-6)


def test_empty_groups_are_left_out() -> None:
    assert list(label_groups(2, 5)) == ["unseen", "seen", "all"]
    assert label_groups(2, 5)["unseen"] == slice(2, 5)
    assert list(label_groups(0, 5)) == ["unseen", "all"]
    assert list(label_groups(5, 5)) == ["seen", "all"]


def test_labels_below_the_median_of_positives_are_rare() -> None:
    targets = -np.ones((6, 4), np.int8)
    for column, count in enumerate([1, 2, 5, 0]):
        targets[:count, column] = 1
    assert rarity_threshold(targets, Rules()) == 2
    assert rarity_threshold(targets, Rules(rare_below=4)) == 4
    assert rarity_threshold(-np.ones((2, 2), np.int8), Rules()) == 0


def test_common_and_rare_labels_have_their_own_means() -> None:
    scores = np.array([[3, 1], [2, 2], [1, 3]], np.float32)
    targets = np.array([[1, 1], [1, -1], [-1, -1]], np.int8)
    parts = retrieval_means(label_metrics(scores, targets, k=1), 2)
    assert {name: part["labels"] for name, part in parts.items()} == {
        "all": 2,
        "common": 1,
        "rare": 1,
    }
    assert parts["common"]["mAP"] == 1 and parts["rare"]["mAP"] == pytest.approx(1 / 3)
    assert parts["all"]["mAP"] == pytest.approx(2 / 3)


def test_the_mean_over_no_rare_label_is_nan() -> None:
    found = label_metrics(np.ones((2, 1), np.float32), np.ones((2, 1), np.int8))
    assert math.isnan(retrieval_means(found, 1)["rare"]["mAP"])


def test_results_of_training_have_both_protocols_and_scales() -> None:
    found = results(scored(3), seen=4)
    assert found["photos"] == 14
    assert list(found["cosine"]) == ["unseen", "seen", "all"]
    assert list(found["paper"]) == ["ZSL", "GZSL"]
    assert list(found["paper"]["ZSL"]) == ["mAP", "P@3", "R@3", "F1@3", "P@5", "R@5", "F1@5"]
    part = scored(3).only(slice(4, 6))
    fused = part.streams("vocabulary")["fused"]
    expected = mean_average_precision(fused, part.targets)
    assert found["vocabulary"]["unseen"]["fused"] == expected.standard
    assert found["paper"]["ZSL"]["mAP"] == expected.paper
    assert found["paper"]["ZSL"]["F1@3"] == top_labels(fused, part.targets, ks=(3,))[3].f1


def test_results_without_unseen_labels_have_no_zsl() -> None:
    found = results(scored(3), seen=6)
    assert list(found["paper"]) == ["GZSL"] and list(found["cosine"]) == ["seen", "all"]


def test_results_where_no_photo_shows_an_unseen_label_have_none() -> None:
    part = scored(3)
    targets = part.targets.copy()
    targets[:, 4:] = -1
    found = results(PhotoScores(part.dot, part.cosine, targets), seen=4)
    assert set(found["cosine"]["unseen"].values()) == {None}
    json.loads(json.dumps(found, allow_nan=False))


def test_known_label_metrics_are_reused() -> None:
    part = scored(5)
    scores = part.cosine.fused
    known = label_metrics(scores, part.targets)
    found = group_metrics(scores, part.targets, "all", rules=Rules(), labels=known)
    assert found.labels is known
    assert found.paper_map == paper_map(scores, part.targets, "all", rules=Rules()).paper
