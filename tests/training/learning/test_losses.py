"""The losses against loops over pairs, and the torch score against the numpy reference."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search import scoring
from mkt_search.types import Encoded
from training.learning.losses import (
    AbsentLabels,
    RankingSpec,
    Streams,
    count_max_positives,
    distillation_loss,
    label_targets,
    patch_distillation_loss,
    ranking_loss,
    ranking_loss_of,
    regression_loss,
    two_stream_scores,
)
from training.runs.processes import ALONE, Processes

SEEDS = st.integers(0, 10_000)


def some_targets(rng: np.random.Generator, photos: int = 6, labels: int = 5) -> torch.Tensor:
    return torch.from_numpy(rng.choice([-1, 0, 1], (photos, labels)).astype(np.int8))


def slow_ranking_loss(
    scores: torch.Tensor, targets: torch.Tensor, margin: float, *, skip_absent: bool
) -> float:
    """BiAM's form, pair by pair."""
    losses = []
    columns = range(targets.shape[1])
    if skip_absent:
        columns = [j for j in columns if (targets[:, j] == 1).any()]
    for row, truth in zip(scores.tolist(), targets.tolist(), strict=True):
        if 1 not in truth:
            continue
        total, violations = 0.0, 0
        for p in columns:
            for n in columns:
                if truth[p] == 1 and truth[n] == -1 and margin + row[n] - row[p] > 0:
                    total += margin + row[n] - row[p]
                    violations += 1
        losses.append(total / violations if violations else 0.0)
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=30)
@given(SEEDS, st.sampled_from([0.5, 1.0]), st.booleans())
def test_ranking_loss_equals_a_loop_over_pairs(seed: int, margin: float, skip: bool) -> None:
    rng = np.random.default_rng(seed)
    targets = some_targets(rng)
    scores = torch.from_numpy(rng.normal(size=targets.shape))
    expected = slow_ranking_loss(scores, targets, margin, skip_absent=skip)
    found = ranking_loss(scores, targets, margin=margin, absent="skip" if skip else "keep")
    assert float(found) == pytest.approx(expected)


@settings(max_examples=30)
@given(SEEDS, st.integers(0, 3))
def test_the_number_of_positives_may_be_given(seed: int, spare: int) -> None:
    rng = np.random.default_rng(seed)
    targets = some_targets(rng)
    scores = torch.from_numpy(rng.normal(size=targets.shape))
    most = min(count_max_positives(targets) + spare, targets.shape[1])
    assert count_max_positives(targets) == max((row == 1).sum() for row in targets)
    torch.testing.assert_close(
        ranking_loss(scores, targets, max_positives=most), ranking_loss(scores, targets)
    )


def test_ranking_loss_done_by_hand() -> None:
    scores = torch.tensor([[2.0, 1.5, 0.0, 9.0]])
    targets = torch.tensor(
        [[1, -1, -1, 0]]
    )  # 1 + 1.5 - 2 violates, 1 + 0 - 2 does not, 9.0 is unknown
    assert float(ranking_loss(scores, targets)) == pytest.approx(0.5)


def test_ranking_loss_without_positives_is_zero_and_has_a_gradient() -> None:
    scores = torch.randn(3, 4, requires_grad=True)
    loss = ranking_loss(scores, torch.full((3, 4), -1))
    loss.backward()
    assert loss.item() == 0 and scores.grad is not None and not scores.grad.any()


def test_unknown_entries_get_no_gradient() -> None:
    scores = torch.tensor([[0.0, 0.3, 0.2]], requires_grad=True)
    ranking_loss(scores, torch.tensor([[1, -1, 0]])).backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[-1, 1, 0]]


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 9))
def test_dot_scores_equal_the_numpy_reference(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    labels, global_vectors, patches = (
        rng.normal(size=shape).astype(np.float32) for shape in ((5, 4), (3, 4), (3, 7, 4))
    )
    found = two_stream_scores(*map(torch.from_numpy, (labels, global_vectors, patches)), k=k)
    expected = scoring.score(labels, global_vectors, patches, np.ones((3, 7), np.int64), k=k)
    np.testing.assert_allclose(found.global_scores, expected.global_scores, atol=1e-5)
    np.testing.assert_allclose(found.local_scores, expected.local_scores, atol=1e-5)
    np.testing.assert_allclose(found.fused, expected.fused / 2, atol=1e-5)


@settings(max_examples=30)
@given(SEEDS)
def test_both_scale_rules_equal_the_numpy_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = scoring.unit(rng.normal(size=(5, 4)).astype(np.float32))
    encoded = Encoded(
        rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=(3, 7, 4)).astype(np.float32)
    )
    ones = np.ones((3, 7), np.int64)
    tensors = [torch.from_numpy(x) for x in (labels, encoded.global_vectors, encoded.patches)]
    scaled = scoring.scale(encoded)
    cosine = scoring.score(labels, scaled.global_vectors, scaled.patches, ones, k=2)
    raw = scoring.score(labels, encoded.global_vectors, encoded.patches, ones, k=2)
    for rule, expected in (("cosine", cosine), ("vocabulary", scoring.fuse_over_labels(raw))):
        found = two_stream_scores(*tensors, k=2, kind=rule)
        np.testing.assert_allclose(found.fused, expected.fused, atol=1e-5)


def test_regression_loss_equals_a_loop_over_photos_and_patches() -> None:
    rng = np.random.default_rng(0)
    targets = some_targets(rng)
    targets[2] = -1  # a photo without a positive is left out
    labels = torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(5, 3))), dim=-1)
    global_vectors, patches = (torch.from_numpy(rng.normal(size=s)) for s in ((6, 3), (6, 4, 3)))
    by_global, by_patch = [], []
    for i, truth in enumerate(targets.tolist()):
        shown = [labels[j] for j, t in enumerate(truth) if t == 1]
        if not shown:
            continue
        goal = sum(shown[1:], shown[0])
        goal = goal / goal.norm()
        by_global.append(float((global_vectors[i] - goal).pow(2).sum()))
        by_patch += [float((patch - goal).pow(2).sum()) for patch in patches[i]]
    expected = np.mean(by_global) + np.mean(by_patch)
    assert float(regression_loss(global_vectors, patches, targets, labels)) == pytest.approx(
        expected
    )


def test_the_regression_of_both_streams_is_the_sum_of_each() -> None:
    rng = np.random.default_rng(0)
    targets, labels = some_targets(rng), torch.from_numpy(rng.normal(size=(5, 3)))
    vectors = [torch.from_numpy(rng.normal(size=s)) for s in ((6, 3), (6, 4, 3))]
    by = {
        on: float(regression_loss(*vectors, targets, labels, on=on))  # type: ignore[arg-type]
        for on in ("global", "local", "fused", "both")
    }
    assert by["fused"] == by["both"] == pytest.approx(by["global"] + by["local"])


def test_regression_loss_is_zero_at_the_label_target() -> None:
    labels, targets = torch.eye(3), torch.tensor([[1, -1, 1]])
    goal = label_targets(targets, labels)
    np.testing.assert_allclose(goal, [[2**-0.5, 0, 2**-0.5]])
    assert float(regression_loss(goal, goal[:, None].expand(1, 4, 3), targets, labels)) < 1e-12


def test_regression_loss_without_positives_is_zero_and_has_a_gradient() -> None:
    vectors = torch.randn(2, 3, requires_grad=True)
    loss = regression_loss(vectors, torch.randn(2, 4, 3), torch.full((2, 2), -1), torch.ones(2, 3))
    loss.backward()
    assert loss.item() == 0 and vectors.grad is not None and not vectors.grad.any()


@pytest.mark.parametrize("on", ["raw", "unit"])
def test_distillation_loss_equals_a_loop_over_photos_and_dimensions(on: str) -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(4, 3)), 10 * rng.normal(size=(4, 3))
    known = [True, False, True, True]
    total = 0.0
    for i in (0, 2, 3):
        lengths = (np.linalg.norm(student[i]), np.linalg.norm(teacher[i]))
        by_student, by_teacher = lengths if on == "unit" else (1, 1)
        total += sum(abs(student[i, d] / by_student - teacher[i, d] / by_teacher) for d in range(3))
    found = distillation_loss(
        torch.from_numpy(student), torch.from_numpy(teacher), torch.tensor(known), on=on
    )
    assert float(found) == pytest.approx(total / 9)


def test_raw_distillation_is_torch_s_l1_loss_and_unit_distillation_ignores_lengths() -> None:
    student, teacher, known = torch.randn(5, 4), torch.randn(5, 4), torch.ones(5).bool()
    expected = torch.nn.functional.l1_loss(student, teacher)
    torch.testing.assert_close(distillation_loss(student, teacher, known), expected)
    one = distillation_loss(student, teacher, known, on="unit")
    torch.testing.assert_close(distillation_loss(7 * student, teacher, known, on="unit"), one)


def test_photos_without_a_teacher_s_vector_are_left_out() -> None:
    student = torch.randn(2, 3, requires_grad=True)
    teacher = torch.tensor([[0.0, 0, 0], [float("nan")] * 3])
    distillation_loss(student, teacher, torch.tensor([True, False])).backward()
    assert student.grad is not None
    assert student.grad[0].all() and not student.grad[1].any()
    none = distillation_loss(student, teacher, torch.tensor([False, False]))
    assert none.item() == 0


def test_patch_distillation_is_one_less_the_mean_cosine_of_readable_photos() -> None:
    student = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[9.0, 9.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[3.0, 0.0], [1.0, 0.0]], [[-1.0, 0.0], [0.0, -1.0]]])
    student.requires_grad_()
    found = patch_distillation_loss(student, teacher, torch.tensor([True, False]))
    assert found.item() == pytest.approx(0.5)  # one patch agrees, one is at a right angle
    found.backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None and not student.grad[1].any()


def test_the_loss_ranks_the_chosen_scores() -> None:
    streams = Streams(torch.tensor([[0.0, 1]]), torch.tensor([[0.0, 3]]), torch.tensor([[0.0, 2]]))
    targets = torch.tensor([[1, -1]])
    found = {
        on: float(ranking_loss_of(streams, targets, RankingSpec(scale=2, on=on)))
        for on in ("fused", "global", "local", "streams", "both")
    }
    assert found == {
        **{"fused": 5, "global": 3, "local": 7},
        **{"streams": (3 + 7) / 2, "both": (3 + 7 + 5) / 3},
    }


class Exchange(Processes):
    """One of several processes; it notes what it gives, and gets totals where they are known."""

    def __init__(self, number: int, count: int, totals: list[torch.Tensor]) -> None:
        super().__init__(number, count)
        self.given: list[torch.Tensor] = []
        self.totals = totals

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        self.given.append(tensor)
        return self.totals[len(self.given) - 1] if self.totals else tensor


@settings(max_examples=30)
@given(SEEDS, st.integers(2, 4), st.sampled_from(["keep", "skip"]))
def test_the_shares_of_several_processes_are_the_loss_of_the_batch(
    seed: int, count: int, absent: AbsentLabels
) -> None:
    rng = np.random.default_rng(seed)
    targets = some_targets(rng)  # of a part, some rows have no positive, some labels none
    scores, known = torch.from_numpy(rng.normal(size=targets.shape)), targets[:, 0] > 0
    vectors = torch.from_numpy(rng.normal(size=(6, 3, 4)))  # (B, P, D)
    labels = torch.from_numpy(rng.normal(size=(5, 4)))

    def loss(rows: torch.Tensor, processes: Processes) -> float:
        mine, truth = vectors[rows], targets[rows]
        ranking = ranking_loss(scores[rows], truth, absent=absent, processes=processes)
        distance = regression_loss(mine[:, 0], mine, truth, labels, processes=processes)
        teacher = distillation_loss(mine[:, 0], mine[:, 1], known[rows], processes=processes)
        return float(ranking + 3 * distance + 5 * teacher)

    parts = torch.arange(6).tensor_split(count)
    first = [Exchange(number, count, []) for number in range(count)]
    for part, process in zip(parts, first, strict=True):
        loss(part, process)
    given = zip(*(process.given for process in first), strict=True)
    totals = [torch.stack(of_all).sum(dim=0) for of_all in given]
    shares = [loss(part, Exchange(n, count, totals)) for n, part in enumerate(parts)]
    assert sum(shares) == pytest.approx(loss(torch.arange(6), ALONE))
