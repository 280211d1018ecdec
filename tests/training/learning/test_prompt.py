"""The gradient of a prompt reaches the context alone, and is the same in parts and at once."""

import copy
from collections.abc import Sequence
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
from tests.tiny import tiny_clip
from training.learning.losses import RankingSpec, ranking_loss, two_stream_scores
from training.learning.prompt import PromptLearner, gradient_in_parts, labels_of_step
from training.learning.schedule import OptimizerSpec

LABELS = ["dog", "polar bear", "snow", "night", "東京 tower", "beach", "red car"]
TEMPLATE = "There is a {} in the scene"
ALL = torch.arange(len(LABELS))
RANKING = RankingSpec()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_clip(tmp_path_factory.mktemp("clip")).partition("/")[2]


@pytest.fixture
def model(weights: str) -> Any:
    """A tiny open_clip model."""
    return create_clip("tiny-vit", pretrained=weights)


@pytest.fixture
def encoder(model: Any) -> PromptedTextEncoder:
    return text_encoder(model)


def text_encoder(model: Any, **options: Any) -> PromptedTextEncoder:
    options = {"template": TEMPLATE, "tower": "abc", **options}
    return PromptedTextEncoder(model, tokenizer("tiny-vit"), **options)


def learner_of(
    encoder: PromptedTextEncoder,
    labels: Sequence[str] = LABELS,
    loss: RankingSpec = RANKING,
    *,
    at_once: int = 256,
    in_bfloat16: bool = False,
    clip_grad: float = 0.0,
) -> PromptLearner:
    """A learner with k = 3 whose rate is 0.01 for a long time."""
    return PromptLearner(
        encoder,
        labels,
        loss,
        OptimizerSpec(epochs=1, batch_size=5, lr=1e-2, clip_grad=clip_grad),
        k=3,
        steps_per_epoch=100_000,
        labels_at_once=at_once,
        in_bfloat16=in_bfloat16,
    )


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
    encoder: PromptedTextEncoder,
    loss: RankingSpec = RANKING,
    columns: Tensor = ALL,
    *,
    at_once: int = 256,
) -> tuple[Tensor, Tensor]:
    learner = learner_of(encoder, loss=loss, at_once=at_once)
    found = learner.gradient(*photos(), columns)
    assert learner.context.grad is not None
    return found, learner.context.grad


def test_the_gradient_is_that_of_a_plain_implementation(
    encoder: PromptedTextEncoder,
) -> None:
    loss, found = gradient(encoder, RankingSpec(margin=0.5, scale=4.0))
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
@pytest.mark.parametrize("more", [{}, {"on": "both", "absent": "skip"}], ids=str)
@pytest.mark.parametrize("at_once", [1, 3, 6])
def test_labels_in_parts_have_the_gradient_of_all_at_once(
    encoder: PromptedTextEncoder, score: Any, more: dict[str, Any], at_once: int
) -> None:
    loss = RankingSpec(score=score, **more)
    expected = gradient(encoder, loss)
    found = gradient(encoder, loss, at_once=at_once)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_some_columns_have_the_gradient_of_a_learner_of_these_labels(
    encoder: PromptedTextEncoder,
) -> None:
    columns = torch.tensor([0, 1, 2, 3, 4, 6])
    found = gradient(encoder, columns=columns, at_once=4)
    few = learner_of(encoder, [LABELS[i] for i in columns])
    vectors, targets = photos()
    loss = few.gradient(vectors, targets[:, columns], torch.arange(6))
    assert few.context.grad is not None
    torch.testing.assert_close(found, (loss, few.context.grad), atol=1e-5, rtol=1e-4)


def test_labels_at_once_limits_the_labels_in_the_tower(
    model: Any, encoder: PromptedTextEncoder
) -> None:
    counts: list[tuple[int, bool]] = []
    model.transformer.register_forward_pre_hook(
        lambda _module, x: counts.append((len(x[0]), torch.is_grad_enabled()))
    )
    gradient(encoder, at_once=3)
    assert counts == [(n, grad) for grad in (False, True) for n in (3, 3, 1)]


def test_a_step_moves_the_context_and_nothing_else(
    model: Any, encoder: PromptedTextEncoder
) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learner = learner_of(encoder)
    start = learner.context.detach().clone()
    torch.testing.assert_close(start, encoder.template_context(), rtol=0, atol=0)
    for _ in range(3):
        learner.gradient(*photos(), ALL)
        learner.step(0)
    assert (learner.context != start).all()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None and not parameter.requires_grad, name
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_only_the_embeddings_of_the_template_s_words_change(
    model: Any, encoder: PromptedTextEncoder
) -> None:
    seen: list[Tensor] = []
    learner = learner_of(encoder)
    model.transformer.register_forward_pre_hook(lambda _module, x: seen.append(x[0]))
    encoder.encode(LABELS)
    learner.gradient(*photos(), ALL)
    learner.step(0)
    learner.frozen_prompt().encode(LABELS)
    changed = (seen[0] != seen[-1]).any(dim=-1)  # (L, T)
    assert torch.equal(changed, encoder.prompts(LABELS).is_context)


def test_a_prompt_is_found_under_which_every_photo_has_its_label(
    model: Any, encoder: PromptedTextEncoder
) -> None:
    with torch.no_grad():  # make the words of the prompt matter
        for tensor in (model.token_embedding.weight, *model.transformer.parameters()):
            if tensor.ndim > 1:
                tensor.mul_(3)
        goal = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
        placed = encoder.scaled(encoder.vectors(LABELS, goal))
    placed = placed - placed.mean(dim=0)  # one photo for each label, placed by another prompt
    world = StudentVectors(placed, placed[:, None].expand(-1, 4, -1))
    targets = 2 * torch.eye(len(LABELS), dtype=torch.int64) - 1
    learner = learner_of(encoder, loss=RankingSpec(scale=1000.0))

    def best() -> list[int]:
        labels = torch.from_numpy(learner.frozen_prompt().encode(LABELS))
        return (placed @ labels.T).argmax(dim=1).tolist()

    assert best() != list(range(len(LABELS)))
    for _ in range(60):
        learner.gradient(world, targets, ALL)
        learner.step(0)
    assert best() == list(range(len(LABELS)))


def test_a_frozen_prompt_has_a_copy_of_the_context(encoder: PromptedTextEncoder) -> None:
    learner = learner_of(encoder)
    before = encoder.encode(LABELS)
    np.testing.assert_allclose(learner.frozen_prompt().encode(LABELS), before, atol=1e-6)
    learner.gradient(*photos(), ALL)
    learner.step(0)
    frozen = learner.frozen_prompt()
    assert np.abs(frozen.encode(LABELS) - before).max() > 1e-3
    learner.gradient(*photos(), ALL)
    learner.step(0)
    assert frozen.context is not None and not torch.equal(frozen.context, learner.context)


def test_a_learner_continues_from_the_state_of_another(weights: str) -> None:
    def steps(learner: PromptLearner, count: int) -> Tensor:
        for _ in range(count):
            learner.gradient(*photos(), ALL)
            learner.step(0)
        return learner.context.detach().clone()

    first = learner_of(text_encoder(create_clip("tiny-vit", pretrained=weights)), clip_grad=0.1)
    steps(first, 2)
    state = copy.deepcopy(first.state())  # a state shares the tensors
    second = learner_of(text_encoder(create_clip("tiny-vit", pretrained=weights)), clip_grad=0.1)
    second.load_state(state)
    assert torch.equal(steps(first, 1), steps(second, 1))


def test_learning_starts_from_a_context_that_was_learned_before(model: Any) -> None:
    context = text_encoder(model).template_context() + 1
    learner = learner_of(text_encoder(model, context=context))
    assert torch.equal(learner.context, context)


def test_bfloat16_learns_a_float32_context(encoder: PromptedTextEncoder) -> None:
    learner = learner_of(encoder, in_bfloat16=True)
    learner.gradient(*photos(), ALL)
    _, expected = gradient(encoder)
    assert learner.is_finite() and learner.context.grad is not None
    assert learner.context.grad.dtype == torch.float32
    similarity = functional.cosine_similarity(learner.context.grad, expected, dim=-1)
    assert similarity.min() > 0.95


@pytest.mark.parametrize("lengths", ["one", "own"])
def test_label_vectors_have_the_lengths_of_the_encoder(model: Any, lengths: Any) -> None:
    encoder = text_encoder(model, lengths=lengths)
    found = encoder.scaled(encoder.vectors(LABELS)).detach().numpy()
    np.testing.assert_allclose(found, encoder.encode(LABELS), atol=1e-6)


def test_a_label_of_eighty_tokens_is_named(encoder: PromptedTextEncoder) -> None:
    with pytest.raises(ModelError, match=r'"dog dog .* is too long: .* 88 tokens.* reads 24;'):
        learner_of(encoder, ["cat", "dog " * 80])


def test_parts_add_up_to_the_gradient_of_the_whole_for_every_leaf() -> None:
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
def test_a_step_takes_every_shown_label_and_fills_up_to_the_count(
    rows: list[list[int]], count: int
) -> None:
    targets = np.array(rows, np.int8)
    shown = np.flatnonzero((targets > 0).any(axis=0))
    columns = labels_of_step((targets > 0).any(axis=0), count, np.random.default_rng(0))
    assert set(shown) <= set(columns) and (np.diff(columns) > 0).all()
    width = targets.shape[1]
    assert len(columns) == (width if not count else min(max(count, len(shown)), width))
