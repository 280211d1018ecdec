"""The prompted text encoder equals open_clip without a context, and differs only by it with one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch

from mkt_search.errors import ModelError
from mkt_search.models.clip import create_clip, tokenizer
from mkt_search.models.text import PromptedTextEncoder
from tests.tiny import tiny_clip

LABELS = ["dog", "a", "polar bear", "Schwarzwälder Kirschtorte", "dog!", "東京 tower", "the", ""]
TEMPLATE = "There is a {} in the scene"


@pytest.fixture(scope="module")
def clip_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    name, _, weights = tiny_clip(tmp_path_factory.mktemp("clip")).partition("/")
    return create_clip(name, pretrained=weights)


def encoder(model: Any, template: str = TEMPLATE, **options: Any) -> PromptedTextEncoder:
    tokens = tokenizer("tiny-vit")
    return PromptedTextEncoder(model, tokens, template=template, tower="abc", **options)


@pytest.mark.parametrize("template", [TEMPLATE, "{}", "a photo of a {}.", "{} photo"])
def test_without_a_context_it_is_open_clip_of_the_filled_template(
    clip_model: Any, template: str
) -> None:
    tokens = open_clip.get_tokenizer("tiny-vit")([template.replace("{}", n) for n in LABELS])
    with torch.inference_mode():
        expected = clip_model.encode_text(tokens, normalize=True).numpy()
    np.testing.assert_allclose(encoder(clip_model, template).encode(LABELS), expected, atol=1e-6)


@pytest.mark.parametrize("template", [TEMPLATE, "{}", "a photo of a {} .", "{} photo"])
def test_the_context_of_the_template_itself_changes_nothing(clip_model: Any, template: str) -> None:
    plain = encoder(clip_model, template)
    learned = encoder(clip_model, template, context=plain.template_context())
    np.testing.assert_allclose(learned.encode(LABELS), plain.encode(LABELS), atol=1e-6)


def test_a_text_tower_in_its_own_module_works_too(clip_model: Any) -> None:
    model = create_clip("tiny-vit", force_custom_text=True)  # its text tower is `model.text`
    plain = encoder(model)
    learned = encoder(model, context=plain.template_context())
    np.testing.assert_allclose(learned.encode(LABELS), plain.encode(LABELS), atol=1e-6)
    changed = encoder(model, context=plain.template_context().flip(1))
    assert np.abs(changed.encode(LABELS) - plain.encode(LABELS)).max() > 1e-3


def test_a_learned_context_changes_only_the_context_tokens(clip_model: Any) -> None:
    seen = []
    hook = clip_model.transformer.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    plain = encoder(clip_model)
    context = plain.template_context() + 1
    try:
        seen.clear()
        plain.vectors(LABELS)
        plain.vectors(LABELS, context)
    finally:
        hook.remove()
    before, after = seen  # (L, T, W)
    changed = (before != after).any(dim=-1)
    tokens = open_clip.get_tokenizer("tiny-vit")
    for row, label in enumerate(LABELS):
        size = len(tokens.encode(label))
        assert changed[row].nonzero().flatten().tolist() == [
            *(1, 2, 3),  # there is a
            *range(4 + size, 7 + size),  # in the scene
        ]
    torch.testing.assert_close((after - before)[changed], torch.ones(len(LABELS) * 6, 32))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"force_custom_text": True}], ids=["one module", "own module"]
)
def test_prompts_without_their_common_padding_give_the_same_vectors(options: Any) -> None:
    torch.manual_seed(0)
    learned = encoder(create_clip("tiny-vit", **options))
    context = learned.template_context() + 1
    whole = learned.prompts(LABELS)
    short = learned.trimmed(whole)
    longest = max(len(open_clip.get_tokenizer("tiny-vit").encode(label)) for label in LABELS)
    assert whole.ids.shape == (8, 24) and short.ids.shape == (8, 8 + longest)  # start, 6, end
    expected = learned.prompted(whole, context)
    torch.testing.assert_close(learned.prompted(short, context), expected)
    torch.testing.assert_close(
        learned.vectors(LABELS, context), expected
    )  # the tower has its full length again


def test_threads_with_different_contexts_and_lengths_get_their_own_vectors(
    clip_model: Any,
) -> None:
    learned = encoder(clip_model)
    whole = learned.prompts(LABELS)
    jobs = [(learned.template_context() + n, n % 2 == 0) for n in range(4)]

    @torch.inference_mode()
    def encode(context: torch.Tensor, is_trimmed: bool) -> torch.Tensor:
        return learned.prompted(learned.trimmed(whole) if is_trimmed else whole, context)

    expected = [encode(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(lambda job: encode(*job), jobs * 25))
    for found, wanted in zip(vectors, expected * 25, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_tower_that_is_not_causal_keeps_its_padding() -> None:
    text = {"context_length": 24, "width": 32, "heads": 2, "layers": 1, "no_causal_mask": True}
    bidirectional = encoder(create_clip("tiny-vit", force_custom_text=True, text_cfg=text))
    prompts = bidirectional.prompts(["dog"])
    assert bidirectional.trimmed(prompts) is prompts


def test_gradients_reach_the_context_and_the_tower_keeps_its_weights(clip_model: Any) -> None:
    plain = encoder(clip_model)
    context = plain.template_context().requires_grad_()
    plain.vectors(["dog", "polar bear"], context).sum().backward()  # type: ignore[no-untyped-call]
    assert context.grad is not None
    assert (context.grad.abs().sum(dim=1) > 0).all()


def test_a_vector_does_not_depend_on_the_other_labels(clip_model: Any) -> None:
    plain = encoder(clip_model)
    many = [f"label {n}" for n in range(300)]  # more than one batch
    np.testing.assert_allclose(plain.encode(many)[299:], plain.encode(many[299:]), atol=1e-6)
    assert plain.encode([]).shape == (0, 16)
    assert plain.dim == 16


def test_the_fingerprint_follows_the_template_the_tower_and_the_context(clip_model: Any) -> None:
    plain = encoder(clip_model)
    tokens = tokenizer("tiny-vit")
    others = [
        encoder(clip_model, "a {}"),
        encoder(clip_model, context=plain.template_context()),
        encoder(clip_model, context=plain.template_context() + 1),
        PromptedTextEncoder(clip_model, tokens, template=TEMPLATE, tower="other"),
    ]
    assert len({plain.fingerprint, *(other.fingerprint for other in others)}) == 5
    assert encoder(clip_model).fingerprint == plain.fingerprint


def test_a_label_too_long_is_refused_and_the_longest_is_not(clip_model: Any) -> None:
    plain = encoder(clip_model)  # 24 tokens: start, six of the template, the label, end
    assert plain.encode(["dog " * 16]).shape == (1, 16)
    complaint = r'"dog dog .* has 25 tokens, and the text tower reads 24; shorten it'
    with pytest.raises(ModelError, match=complaint):
        plain.encode(["cat", "dog " * 17])


def test_templates_and_contexts_that_do_not_fit_are_refused(clip_model: Any) -> None:
    for template in ("no place", "{} and {}"):
        with pytest.raises(ModelError, match=r"needs exactly one {}"):
            encoder(clip_model, template)
    with pytest.raises(ModelError, match=r"\(2, 32\); the template .* needs \(6, 32\)"):
        encoder(clip_model, context=torch.zeros(2, 32))


def test_a_label_merged_with_its_prompt_is_refused_only_with_a_context(
    clip_model: Any,
) -> None:
    merging = "a {}board"
    plain = encoder(clip_model, merging)
    assert plain.encode(["key"]).shape == (1, 16)
    with pytest.raises(ModelError, match=r'merges the label "key" with its prompt'):
        plain.vectors(["key"], torch.zeros(2, 32))


def test_an_unknown_model_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r'no model "ViT-B-61"; did you mean ViT-B-16'):
        create_clip("ViT-B-61")


def test_own_lengths_are_relative_to_the_word_label(clip_model: Any) -> None:
    plain, own = encoder(clip_model), encoder(clip_model, lengths="own")
    with torch.inference_mode():
        raw = plain.vectors(["label", *LABELS]).numpy()
    vectors = own.encode(["label", *LABELS])
    np.testing.assert_allclose(vectors, raw / np.linalg.norm(raw[0]), atol=1e-6)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors / lengths, plain.encode(["label", *LABELS]), atol=1e-6)
    assert np.ptp(lengths) > 0.01
    assert (own.dim, own.encode([]).shape) == (16, (0, 16))
    assert own.fingerprint != plain.fingerprint
