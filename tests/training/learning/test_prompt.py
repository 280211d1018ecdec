"""The gradient of a prompt: it reaches the context alone, and is the same in parts and at once."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mkt_search.errors import ModelError
from mkt_search.models.clip import create_clip, tokenizer
from mkt_search.models.student import StudentVectors
from mkt_search.models.text import PromptedTextEncoder
from mkt_search.settings.config import Stage2Config
from tests.tiny import tiny_clip
from training.learning.losses import ranking_loss, two_stream_scores
from training.learning.prompt import PromptLearner, columns_of_step, gradient_in_parts

LABELS = ["dog", "polar bear", "snow", "night", "東京 tower", "beach", "red car"]
TEMPLATE = "There is a {} in the scene"
ALL = torch.arange(len(LABELS))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_clip(tmp_path_factory.mktemp("clip")).partition("/")[2]


@pytest.fixture
def encoder(weights: str) -> PromptedTextEncoder:
    return text_encoder(weights)


def text_encoder(weights: str, **options: Any) -> PromptedTextEncoder:
    model = create_clip("tiny-vit", pretrained=weights)
    options = {"template": TEMPLATE, "tower": "abc", **options}
    return PromptedTextEncoder(model, tokenizer("tiny-vit"), **options)


def photos(count: int = 5) -> tuple[StudentVectors, Tensor]:
    """Vectors of photos (B, D), (B, P, D) and targets (B, L), each photo with a positive."""
    rng = torch.Generator().manual_seed(0)
    vectors = StudentVectors(
        torch.randn(count, 16, generator=rng), torch.randn(count, 9, 16, generator=rng)
    )
    targets = torch.randint(-1, 2, (count, len(LABELS)), generator=rng)
    targets[torch.arange(count), torch.arange(count)] = 1
    return vectors, targets


def gradient(
    encoder: PromptedTextEncoder, config: Stage2Config, columns: Tensor = ALL
) -> tuple[Tensor, Tensor]:
    learner = PromptLearner(encoder, LABELS, config, top_k=3)
    loss = learner.gradient(*photos(), columns)
    assert learner.context.grad is not None
    return loss, learner.context.grad


def test_the_gradient_is_that_of_the_loss_written_down_plainly(
    encoder: PromptedTextEncoder,
) -> None:
    loss, found = gradient(encoder, Stage2Config(margin=0.5, score_scale=4.0))
    context = encoder.template_context().requires_grad_()
    vectors, targets = photos()
    labels = functional.normalize(encoder.vectors(LABELS, context), dim=-1)
    scores = two_stream_scores(labels, *vectors, k=3, kind="cosine").fused
    expected = ranking_loss(4.0 * scores, targets, margin=0.5)
    expected.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, expected.detach())
    assert context.grad is not None and context.grad.abs().max() > 1e-3
    torch.testing.assert_close(found, context.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("score", ["dot", "cosine", "vocabulary"])
@pytest.mark.parametrize("more", [{}, {"loss_on": "both", "absent_labels": "skip"}], ids=str)
@pytest.mark.parametrize("at_once", [1, 3, 6])
def test_labels_in_parts_have_the_gradient_of_all_at_once(
    encoder: PromptedTextEncoder, score: Any, more: dict[str, Any], at_once: int
) -> None:
    expected = gradient(encoder, Stage2Config(score=score, **more))
    found = gradient(encoder, Stage2Config(score=score, labels_at_once=at_once, **more))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_some_columns_have_the_gradient_of_a_learner_that_knows_no_others(
    encoder: PromptedTextEncoder,
) -> None:
    columns = torch.tensor([0, 1, 2, 3, 4, 6])
    found = gradient(encoder, Stage2Config(labels_at_once=4), columns)
    few = PromptLearner(encoder, [LABELS[i] for i in columns], Stage2Config(), top_k=3)
    vectors, targets = photos()
    loss = few.gradient(vectors, targets[:, columns], torch.arange(6))
    assert few.context.grad is not None
    torch.testing.assert_close(found, (loss, few.context.grad), atol=1e-5, rtol=1e-4)


def test_no_more_labels_than_asked_are_in_the_tower_at_once(
    encoder: PromptedTextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    original = encoder.prompted

    def counting(prompts: Any, context: Tensor) -> Tensor:
        counts.append((len(prompts), torch.is_grad_enabled()))
        return original(prompts, context)

    monkeypatch.setattr(encoder, "prompted", counting)
    gradient(encoder, Stage2Config(labels_at_once=3))
    assert counts == [(n, grad) for grad in (False, True) for n in (3, 3, 1)]


def test_a_step_moves_the_context_and_nothing_else(encoder: PromptedTextEncoder) -> None:
    model = encoder._model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learner = PromptLearner(encoder, LABELS, Stage2Config(), top_k=3)
    start = learner.context.detach().clone()
    torch.testing.assert_close(start, encoder.template_context(), rtol=0, atol=0)
    for _ in range(3):
        learner.gradient(*photos(), ALL)
        learner.step(rate=1e-2)
    assert (learner.context != start).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None and not parameter.requires_grad, name
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_only_the_words_of_the_template_reach_the_tower_changed(
    encoder: PromptedTextEncoder,
) -> None:
    seen: list[Tensor] = []
    learner = PromptLearner(encoder, LABELS, Stage2Config(), top_k=3)
    hook = encoder._model.transformer.register_forward_pre_hook(lambda _m, x: seen.append(x[0]))
    try:
        encoder.encode(LABELS)
        learner.gradient(*photos(), ALL)
        learner.step(rate=1e-2)
        learner.settle().encode(LABELS)
    finally:
        hook.remove()
    changed = (seen[0] != seen[-1]).any(dim=-1)  # (L, T)
    assert torch.equal(changed, encoder.prompts(LABELS).is_context)


def test_a_prompt_is_found_under_which_every_photo_has_its_label(
    encoder: PromptedTextEncoder,
) -> None:
    with torch.no_grad():  # a tower in which words of the prompt tell
        for tensor in (encoder._embedding.weight, *encoder._model.transformer.parameters()):
            if tensor.ndim > 1:
                tensor.mul_(3)
        goal = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
        placed = encoder.scaled(encoder.vectors(LABELS, goal))
    placed = placed - placed.mean(dim=0)  # one photo for each label, placed by another prompt
    world = StudentVectors(placed, placed[:, None].expand(-1, 4, -1))
    targets = 2 * torch.eye(len(LABELS), dtype=torch.int64) - 1
    learner = PromptLearner(encoder, LABELS, Stage2Config(score_scale=1000.0), top_k=3)

    def best() -> list[int]:
        labels = torch.from_numpy(learner.settle().encode(LABELS))
        return (placed @ labels.T).argmax(dim=1).tolist()

    assert best() != list(range(len(LABELS)))
    for _ in range(60):
        learner.gradient(world, targets, ALL)
        learner.step(rate=1e-2)
    assert best() == list(range(len(LABELS)))


def test_settling_gives_the_encoder_the_context_of_now(encoder: PromptedTextEncoder) -> None:
    learner = PromptLearner(encoder, LABELS, Stage2Config(), top_k=3)
    before = encoder.encode(LABELS)
    np.testing.assert_allclose(learner.settle().encode(LABELS), before, atol=1e-6)
    learner.gradient(*photos(), ALL)
    learner.step(rate=1e-2)
    settled = learner.settle()
    assert np.abs(settled.encode(LABELS) - before).max() > 1e-3
    learner.gradient(*photos(), ALL)
    learner.step(rate=1e-2)  # the encoder has a copy
    assert settled.context is not None and not torch.equal(settled.context, learner.context)


def test_a_state_takes_the_same_next_step(weights: str) -> None:
    def steps(learner: PromptLearner, count: int) -> Tensor:
        for _ in range(count):
            learner.gradient(*photos(), ALL)
            learner.step(rate=1e-2)
        return learner.context.detach().clone()

    first = PromptLearner(text_encoder(weights), LABELS, Stage2Config(clip_grad=0.1), top_k=3)
    steps(first, 2)
    state = copy.deepcopy(first.state())  # it is written to disk at once, else it would move on
    second = PromptLearner(text_encoder(weights), LABELS, Stage2Config(clip_grad=0.1), top_k=3)
    second.load_state(state)
    assert torch.equal(steps(first, 1), steps(second, 1))


def test_learning_starts_from_a_context_that_was_learned_before(weights: str) -> None:
    context = text_encoder(weights).template_context() + 1
    learner = PromptLearner(text_encoder(weights, context=context), LABELS, Stage2Config(), top_k=3)
    assert torch.equal(learner.context, context)


def test_bfloat16_learns_a_float32_context(encoder: PromptedTextEncoder) -> None:
    learner = PromptLearner(encoder, LABELS, Stage2Config(), top_k=3, in_bfloat16=True)
    learner.gradient(*photos(), ALL)
    _, expected = gradient(encoder, Stage2Config())
    assert learner.is_finite and learner.context.grad is not None
    assert learner.context.grad.dtype == torch.float32
    similarity = functional.cosine_similarity(learner.context.grad, expected, dim=-1)
    assert similarity.min() > 0.95


@pytest.mark.parametrize("lengths", ["one", "own"])
def test_label_vectors_are_as_long_as_the_encoder_gives_them(weights: str, lengths: Any) -> None:
    encoder = text_encoder(weights, lengths=lengths)
    found = encoder.scaled(encoder.vectors(LABELS)).detach().numpy()
    np.testing.assert_allclose(found, encoder.encode(LABELS), atol=1e-6)


def test_a_label_of_eighty_tokens_is_named(encoder: PromptedTextEncoder) -> None:
    with pytest.raises(ModelError, match=r'"dog dog .* is too long: .* 24 tokens'):
        PromptLearner(encoder, ["cat", "dog " * 80], Stage2Config(), top_k=3)


def test_parts_make_the_gradient_of_the_whole_for_every_leaf() -> None:
    first, second = torch.randn(4, requires_grad=True), torch.randn(1, requires_grad=True)

    def part(columns: Tensor) -> Tensor:
        return torch.outer(torch.arange(3.0), first[columns] * second)  # (3, l)

    def loss_of(whole: Tensor) -> Tensor:
        return (whole.logsumexp(dim=1) * whole.std()).sum()

    losses: list[Tensor] = []
    gradients: list[Tensor] = []
    for size in (4, 3, 1):
        first.grad = second.grad = None
        losses.append(gradient_in_parts(part, torch.split(torch.arange(4), size), loss_of))
        assert first.grad is not None and second.grad is not None
        gradients.append(torch.cat([first.grad, second.grad]))
    for loss, found in zip(losses[1:], gradients[1:], strict=True):
        torch.testing.assert_close(loss, losses[0])
        torch.testing.assert_close(found, gradients[0])


@given(
    st.integers(1, 20).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([-1, 0, 1]), min_size=width, max_size=width), min_size=1
        )
    ),
    st.integers(0, 25),
)
def test_a_step_looks_at_every_label_shown_and_at_no_more_than_asked(
    rows: list[list[int]], count: int
) -> None:
    targets = np.array(rows, np.int8)
    shown = np.flatnonzero((targets > 0).any(axis=0))
    columns = columns_of_step(targets, count, np.random.default_rng(0))
    assert set(shown) <= set(columns) and (np.diff(columns) > 0).all()
    width = targets.shape[1]
    assert len(columns) == (width if not count else min(max(count, len(shown)), width))
