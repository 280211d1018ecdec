"""The small CLIP of the demo world: its losses, towers, training and files."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from mkt_search.demo.scenes.photos import targets_of
from mkt_search.demo.scenes.world import LABELS, caption, draw_scene
from mkt_search.errors import TrainingError
from mkt_search.models.build import open_model
from mkt_search.models.clip_student import clip_student
from mkt_search.progress import Progress, no_progress
from training.demo import clip
from training.demo.clip import (
    CLOSE_UP,
    KINDS,
    MODEL,
    PATCH,
    PREPARATION,
    SIDE,
    WORDS,
    ClipLearner,
    ClipRecipe,
    Matching,
    create_model,
    encode_images,
    encode_text,
    losses,
    train_clip,
)

TINY = ClipRecipe(
    **{"close_ups": 6, "scenes": 6, "close_up_steps": 2, "scene_steps": 2},
    **{"close_up_batch": 4, "scene_batch": 4, "warmup": 1},
)
WEIGHTS = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which TINY was trained without a stop: `run` and `clip`."""
    folder = tmp_path_factory.mktemp("clip")
    train_clip(folder / "run", folder / "clip", TINY, no_progress)
    return folder


@pytest.fixture(scope="module")
def model(trained: Path) -> Any:
    return open_clip.create_model(f"local-dir:{trained / 'clip'}").eval()


def scenes(count: int, side: int, *, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (count, side, side, 3), np.uint8))


def prepared(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(PREPARATION[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (images.permute(0, 3, 1, 2) / 255 - mean) / std


def tokens(texts: list[str]) -> Tensor:
    known: Tensor = open_clip.SimpleTokenizer(context_length=24)(texts)
    return known


def random_like(rng: torch.Generator, *shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape, generator=rng), dim=-1)


# what is learned from


def test_words_are_the_labels_their_colours_and_their_shapes() -> None:
    assert set(LABELS) < set(WORDS)
    assert len(WORDS) == len(set(WORDS)) == len(LABELS) + 8 + 14


def test_every_caption_fits_the_text_tower() -> None:
    captions = [
        caption(draw_scene(seed), np.random.default_rng([seed, order]))
        for seed in range(400)
        for order in range(2)
    ]
    end = tokens([""])[0].max()
    ids = tokens(captions)
    assert (ids == end).sum(dim=1).eq(1).all()
    whole = open_clip.SimpleTokenizer(context_length=77)(captions)
    assert torch.equal(whole[:, :24], ids)


# losses


def plain_losses(
    matching: Matching, vectors: Tensor, targets: Tensor, words: Tensor, sentences: Tensor, k: int
) -> float:
    """The loss as its docstring says it, one image and one word at a time."""

    def logit(similarity: float, use: str) -> float:
        row = matching.uses.index(use)
        return math.exp(matching.scale[row].item()) * similarity + matching.bias[row].item()

    def binary(x: float, is_true: bool) -> float:
        return math.log1p(math.exp(-x if is_true else x))

    is_close_up = vectors.shape[1] - 1 < (SIDE // PATCH) ** 2
    uses = ("close-up", "close-up patches") if is_close_up else ("scene", "patches")
    total = 0.0
    for image, shown in zip(vectors, targets, strict=True):
        by_image, by_patch = [], []
        for word in words:
            by_image.append(logit(float(image[0] @ word), uses[0]))
            best = sorted((float(patch @ word) for patch in image[1:]), reverse=True)[:k]
            by_patch.append(logit(sum(best) / len(best), uses[1]))
        for logits in (by_image, by_patch):
            if is_close_up:
                begin = 0
                for kind in KINDS:
                    part = logits[begin : begin + len(kind)]
                    right = shown[begin : begin + len(kind)].tolist().index(1)
                    total += math.log(sum(math.exp(x) for x in part)) - part[right]
                    begin += len(kind)
            else:
                total += sum(binary(x, bool(y)) for x, y in zip(logits, shown, strict=True))
    total /= len(vectors)
    pairs = 0.0
    for i in range(len(sentences)):
        for j, sentence in enumerate(sentences):
            pairs += binary(logit(float(vectors[i, 0] @ sentence), "caption"), i == j)
    return total + clip.CAPTION_WEIGHT * pairs / len(sentences)


@pytest.mark.parametrize("patches", [(CLOSE_UP // PATCH) ** 2, (SIDE // PATCH) ** 2])
def test_losses_are_those_of_a_plain_loop(patches: int) -> None:
    rng = torch.Generator().manual_seed(0)
    matching = Matching()
    with torch.no_grad():
        matching.scale.copy_(torch.rand(5, generator=rng) + 1)
        matching.bias.copy_(torch.randn(5, generator=rng))
    vectors, words = random_like(rng, 3, 1 + patches, 8), random_like(rng, len(WORDS), 8)
    sentences = random_like(rng, 2, 8)
    targets = torch.zeros(3, len(WORDS))
    for row in range(3):
        begin = 0
        for kind in KINDS:
            targets[row, begin + (7 * row + 3) % len(kind)] = 1
            begin += len(kind)
    if patches == (SIDE // PATCH) ** 2:
        targets[0, 9] = targets[1, 20] = 1  # a scene shows more than one thing
    found = losses(matching, vectors, targets, words, sentences, top_k=4)
    expected = plain_losses(matching, vectors, targets, words, sentences, 4)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_logits_have_a_scale_and_a_bias_for_each_use() -> None:
    matching = Matching()
    with torch.no_grad():
        matching.scale[2], matching.bias[2] = math.log(3.0), -1.0
    assert matching(torch.tensor([2.0]), "caption").item() == pytest.approx(5.0)
    assert matching(torch.tensor([0.5]), "scene").item() == pytest.approx(4.0)  # 20 x 0.5 - 6


# towers


@pytest.mark.slow
@torch.inference_mode()
def test_texts_are_encoded_as_open_clip_does(model: Any) -> None:
    texts = tokens(["star", "a red ball and a white moon, sea", "look at this blue house", "a"])
    expected = model.encode_text(texts, normalize=True)
    torch.testing.assert_close(encode_text(model.text, texts), expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_whole_scenes_are_encoded_as_open_clip_does(model: Any) -> None:
    images = scenes(3, SIDE)
    vectors = encode_images(model.visual, images, np.random.default_rng(0))
    expected = model.encode_image(prepared(images), normalize=True)
    assert vectors.shape == (3, 1 + 64, 128)
    torch.testing.assert_close(vectors[:, 0], expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_patches_of_whole_scenes_are_those_of_the_student_made_of_it(model: Any) -> None:
    images = scenes(3, SIDE)
    vectors = encode_images(model.visual, images, np.random.default_rng(0))
    student = clip_student(model, "own")
    assert student.grid == (8, 8)
    expected = functional.normalize(student(prepared(images)).patches, dim=-1)
    torch.testing.assert_close(vectors[:, 1:], expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_a_close_up_takes_the_places_of_a_window_of_the_grid(model: Any) -> None:
    images, trunk = scenes(2, CLOSE_UP), model.visual.trunk
    found = encode_images(model.visual, images, np.random.default_rng(3))
    top, left = np.random.default_rng(3).integers(8 - 4 + 1, size=2)
    cells = trunk.patch_embed(prepared(images))  # (B, 16, C), row by row
    rows = []
    for number in range(16):
        place = 1 + (top + number // 4) * 8 + left + number % 4
        rows.append(cells[:, number] + trunk.pos_embed[0, place])
    cls = (trunk.cls_token[0, 0] + trunk.pos_embed[0, 0]).expand(2, -1)
    seen = trunk.norm(trunk.blocks(torch.stack([cls, *rows], dim=1)))
    expected = functional.normalize(model.visual.head(seen), dim=-1)
    assert found.shape == (2, 1 + 16, 128)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_neighbours_start_with_similar_positions() -> None:
    trunk: Any = create_model(0).visual.trunk
    places = trunk.pos_embed[0, 1:].detach().unflatten(0, (8, 8))

    def apart(rows: int, columns: int) -> float:
        return float((places[rows, columns] - places[3, 3]).norm())

    assert apart(3, 4) < apart(3, 5) < apart(3, 7)
    assert apart(4, 3) < apart(5, 3) < apart(7, 3)


# learning


def step(learner: ClipLearner, side: int) -> float:
    close_up = side == CLOSE_UP
    drawn = [draw_scene(seed, close_up=close_up) for seed in range(4)]
    targets = torch.from_numpy(targets_of(drawn, WORDS)).float()
    texts = tokens([caption(scene, np.random.default_rng(scene.seed)) for scene in drawn])
    return learner.learn(scenes(4, side), targets, tokens(list(WORDS)), texts)


@pytest.mark.slow
def test_the_text_tower_is_frozen_during_close_ups_and_learns_on_scenes() -> None:
    model: Any = create_model(0)
    learner = ClipLearner(model, TINY)
    text = {name: tensor.clone() for name, tensor in model.text.state_dict().items()}
    visual = {name: p.detach().clone() for name, p in model.visual.named_parameters()}
    step(learner, CLOSE_UP)  # at rate 0
    step(learner, CLOSE_UP)
    assert all(torch.equal(text[name], now) for name, now in model.text.state_dict().items())
    assert any(not torch.equal(visual[name], p) for name, p in model.visual.named_parameters())
    step(learner, SIDE)
    moved = {n for n, now in model.text.state_dict().items() if not torch.equal(text[n], now)}
    assert {"token_embedding.weight", "text_projection", "positional_embedding"} <= moved


@pytest.mark.slow
def test_steps_lower_the_loss_of_the_same_images() -> None:
    learner = ClipLearner(create_model(0), replace(TINY, warmup=0, lr=1e-4))
    found = [step(learner, SIDE) for _ in range(4)]
    assert found[-1] < found[0]
    assert learner.step == 4


def test_building_a_model_leaves_the_random_numbers_of_others_alone() -> None:
    before = torch.get_rng_state()
    one, other = create_model(3), create_model(3)
    assert torch.equal(torch.get_rng_state(), before)
    state = other.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


# a run


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_run_ends_as_an_undisturbed_one(trained: Path, tmp_path: Path, stop: int) -> None:
    def interrupt(event: Progress) -> None:
        if event.step == clip.STEP and event.done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_clip(tmp_path / "run", tmp_path / "clip", TINY, interrupt, save_every=1)
    assert not (tmp_path / "clip").exists()
    events: list[Progress] = []
    train_clip(tmp_path / "run", tmp_path / "clip", TINY, events.append, save_every=1)
    assert stop not in [event.done for event in events if event.step == clip.STEP]
    assert (tmp_path / "clip" / WEIGHTS).read_bytes() == (trained / "clip" / WEIGHTS).read_bytes()


def test_a_finished_run_is_only_written(trained: Path, tmp_path: Path) -> None:
    events: list[Progress] = []
    train_clip(trained / "run", tmp_path / "clip", TINY, events.append)
    assert events == []
    assert (tmp_path / "clip" / WEIGHTS).read_bytes() == (trained / "clip" / WEIGHTS).read_bytes()


def test_a_damaged_state_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / clip.STATE).write_bytes(b"not a state")
    with pytest.raises(TrainingError, match=r"clip\.state\.pt cannot be read .* Remove it"):
        train_clip(tmp_path / "run", tmp_path / "clip", TINY, no_progress)


# what it leaves


def test_the_weights_are_float16(trained: Path) -> None:
    state = load_file(trained / "clip" / WEIGHTS)
    assert {tensor.dtype for tensor in state.values()} <= {torch.float16, torch.int64}


def test_open_clip_opens_the_folder_by_itself(model: Any) -> None:
    assert model.visual.image_size == (SIDE, SIDE)
    assert sum(p.numel() for p in model.visual.parameters()) > 1e6
    assert model.context_length == MODEL["text_cfg"]["context_length"]
    assert model.visual.preprocess_cfg["resize_mode"] == "squash"


def test_the_folder_is_a_model_of_ours(trained: Path, model: Any) -> None:
    found = open_model(trained / "clip")
    assert (found.dim, found.grid) == (128, (8, 8))
    assert (found.image.height, found.image.width, found.image.resize) == (SIDE, SIDE, "squash")
    images = scenes(2, SIDE)
    encoded = found.photo_encoder(device="cpu", dtype="float32").encode(images.numpy())
    with torch.inference_mode():
        photo = model.encode_image(prepared(images)).numpy()
        label = model.encode_text(tokens(["There is a red star in the scene"]), normalize=True)
    np.testing.assert_allclose(encoded.global_vectors, photo, atol=1e-5)
    np.testing.assert_allclose(found.label_encoder().encode(["red star"]), label.numpy(), atol=1e-5)
