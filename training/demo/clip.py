"""The small CLIP of the demo world: an ordinary open_clip model, trained on scenes and captions.

It plays the part of the CLIP that the paper starts from: it has met every word of the world in
captions, while the student is trained on seen labels alone. The loss is the sum of two, first on
close-ups and then on scenes:

- which place, thing, colour and shape a close-up shows, and for every such word whether a scene
  shows it, from the similarity of the image, and of its best patches, to the word's text;
- for every pair of image and caption whether they belong together (Zhai et al., SigLIP, ICCV 2023;
  https://arxiv.org/abs/2303.15343).

The text tower is frozen during the close-ups. Otherwise the vectors of words that look
alike so far, the shapes, collapse into one, and are hard to separate later.
"""

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.pos_embed import get_2d_sincos_pos_embed
from torch import Tensor, nn
from torch.nn import functional

from mkt_search.demo.scenes.photos import pixels, targets_of
from mkt_search.demo.scenes.world import COLOURS, PLACES, SHAPES, THINGS, caption, draw_scene
from mkt_search.errors import TrainingError
from mkt_search.files import write_atomically
from mkt_search.models import conv_vit
from mkt_search.models.clip import write_clip_folder
from mkt_search.progress import Progress, ProgressCallback
from training.learning.schedule import WarmupCosine

SIDE, CLOSE_UP, PATCH = 64, 32, 8
MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "timm_model_name": conv_vit.NAME,
        "timm_pool": "token",
        "timm_proj": "linear",
        "image_size": SIDE,
    },
    "text_cfg": {
        "context_length": 24,
        "vocab_size": 49408,
        "width": 64,
        "heads": 4,
        "layers": 3,
    },
}
PREPARATION: dict[str, Any] = {
    "mean": list(conv_vit.MEAN),
    "std": list(conv_vit.STD),
    "resize_mode": "squash",
    "interpolation": "bicubic",
}
KINDS = (PLACES, THINGS, COLOURS, SHAPES)
WORDS = tuple(word for kind in KINDS for word in kind)
TEMPLATES = ("{}", "a {}", "a picture of a {}", "a photo of a {}", "look at this {}")
SHORT_TEMPLATES = 2  # the first ones; in a long one an untrained tower hardly tells words apart
CAPTIONED_IMAGES = 16  # of each batch
CAPTION_WEIGHT = 0.3
STATE = "clip.state.pt"
SAVE_EVERY_STEPS = 250
STEP = "clip"  # the name of this work in progress events
_DAMAGED = (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError)


@dataclass(frozen=True)
class ClipRecipe:
    """How the small CLIP is trained: images, steps, batch sizes and the optimizer."""

    close_ups: int = 40_000
    scenes: int = 40_000
    close_up_steps: int = 1_500
    scene_steps: int = 2_000
    close_up_batch: int = 64
    scene_batch: int = 32
    lr: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.05
    top_k: int = 4
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.close_up_steps + self.scene_steps


@dataclass(frozen=True)
class Scenes:
    """Rendered scenes: pixels (N, S, S, 3) uint8, targets (N, W), caption tokens (N, T)."""

    pixels: NDArray[np.uint8]
    targets: Tensor
    captions: Tensor


class Matching(nn.Module):
    """Similarities -> logits: a learned scale and bias for each use."""

    uses = ("scene", "patches", "caption", "close-up", "close-up patches")

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((len(self.uses),), 20.0).log())
        self.bias = nn.Parameter(torch.full((len(self.uses),), -6.0))

    def forward(self, similarity: Tensor, use: str) -> Tensor:
        """Return logits of the same shape."""
        row = self.uses.index(use)
        return self.scale[row].exp() * similarity + self.bias[row]


def train_clip(
    folder: Path,
    out: Path,
    recipe: ClipRecipe,
    progress: ProgressCallback,
    *,
    save_every: int = SAVE_EVERY_STEPS,
) -> None:
    """Train the small CLIP and write it as an open_clip folder; a killed run continues.

    Args:
        folder: keeps rendered scenes and the state of the run.
        out: the open_clip folder to make.
        recipe: how it is trained.
        progress: receives remarks.
        save_every: steps between two states on disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learner = ClipLearner(create_model(recipe.seed), recipe)
    learner.resume(folder / STATE)
    tokens = open_clip.SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])
    names = [tokens([template.format(word) for word in WORDS]) for template in TEMPLATES]
    total = recipe.steps
    for images, targets, captions in _batches(folder, tokens, recipe, learner.step, progress):
        templates = names if _is_whole(images) else names[:SHORT_TEMPLATES]
        loss = learner.learn(images, targets, templates[learner.step % len(templates)], captions)
        if learner.step % save_every == 0 or learner.step == total:
            learner.save(folder / STATE)
            remark = f"clip: step {learner.step:,} of {total:,}, loss {loss:.3f}"
            progress(Progress(STEP, learner.step, total, message=remark))
    described = {**MODEL, "custom_text": True}  # else open_clip would name its tensors otherwise
    write_clip_folder(
        out, learner.model, model_cfg=described, preprocess_cfg=PREPARATION, half=True
    )


class ClipLearner:
    """The small CLIP while it learns.

    Args:
        model: an open_clip model of `MODEL`.
    """

    def __init__(self, model: Any, recipe: ClipRecipe) -> None:
        self.step = 0
        self._recipe = recipe
        self.model = model.train()
        self._matching = Matching()
        words = model.text.token_embedding  # a batch reads about fifty of its 49,408 rows
        words.sparse = True
        weights = [w for w in model.parameters() if w is not words.weight]
        groups = [
            {"params": [w for w in weights if w.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
            {"params": list(self._matching.parameters()), "weight_decay": 0.0, "lr_scale": 10.0},
        ]
        self._weights = weights
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98))
        self._of_words = torch.optim.SparseAdam([words.weight], lr=recipe.lr, betas=(0.9, 0.98))
        self._schedule = WarmupCosine(
            [self._optimizer, self._of_words],
            steps=recipe.steps,
            warmup=recipe.warmup,
            lowest=0.02 * recipe.lr,
        )

    def learn(self, images: Tensor, targets: Tensor, names: Tensor, captions: Tensor) -> float:
        """Take a step and return the loss.

        Args:
            images: (B, S, S, 3) uint8, close-ups or scenes.
            targets: (B, W), 1 where the image shows the word, else 0.
            names: (W, T) tokens of the words.
            captions: (C, T) tokens of captions of the first C images.
        """
        recipe = self._recipe
        self._schedule.set_rate(self.step)
        optimizers = (self._optimizer, self._of_words)
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.model.text.requires_grad_(_is_whole(images))
        vectors = encode_images(
            self.model.visual, images, np.random.default_rng([recipe.seed, 1, self.step])
        )
        words = encode_text(self.model.text, names)
        sentences = encode_text(self.model.text, captions)
        loss = losses(self._matching, vectors, targets, words, sentences, top_k=recipe.top_k)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._weights, 5.0)
        for optimizer in optimizers:
            optimizer.step()
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write everything that the next step needs."""
        stream = io.BytesIO()
        states = [part.state_dict() for part in self._parts]
        torch.save({"step": self.step, "states": states}, stream)
        write_atomically(path, stream.getvalue())

    def resume(self, path: Path) -> None:
        """Continue from a state if there is one. Raises TrainingError if it is damaged."""
        if not path.exists():
            return
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            for part, state in zip(self._parts, saved["states"], strict=True):
                part.load_state_dict(state)
            self.step = int(saved["step"])
        except _DAMAGED as error:
            raise TrainingError(
                f"{path} cannot be read ({str(error)[:200]}). Remove it to train the small CLIP"
                " from scratch."
            ) from error

    @property
    def _parts(self) -> tuple[Any, ...]:
        return self.model, self._matching, self._optimizer, self._of_words


def _is_whole(images: Tensor) -> bool:
    """True for scenes (B, S, S, 3), False for close-ups."""
    return images.shape[1] == SIDE


def losses(
    matching: Matching,
    vectors: Tensor,
    targets: Tensor,
    words: Tensor,
    sentences: Tensor,
    *,
    top_k: int,
) -> Tensor:
    """Return the loss of B images.

    Args:
        vectors: (B, 1 + P, D), the image's and its patches', unit length.
        targets: (B, W), 1 where the image shows the word, else 0.
        words: (W, D), unit length.
        sentences: (C, D), captions of the first C images, unit length.
    """
    image, patches = vectors[:, 0], vectors[:, 1:]
    by_image = image @ words.T  # (B, W)
    by_patch = (patches @ words.T).topk(min(top_k, patches.shape[1]), dim=1).values.mean(dim=1)
    if patches.shape[1] < (SIDE // PATCH) ** 2:
        of_image = _which_loss(matching(by_image, "close-up"), targets)
        of_patches = _which_loss(matching(by_patch, "close-up patches"), targets)
    else:
        of_image = _whether_loss(matching(by_image, "scene"), targets)
        of_patches = _whether_loss(matching(by_patch, "patches"), targets)
    pairs = matching(image[: len(sentences)] @ sentences.T, "caption")
    of_captions = _whether_loss(pairs, torch.eye(len(sentences)))
    return of_image + of_patches + CAPTION_WEIGHT * of_captions


def _which_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the words of each kind: a close-up shows one place, thing, ..."""
    sizes = [len(kind) for kind in KINDS]
    parts = zip(torch.split(logits, sizes, dim=1), torch.split(targets, sizes, dim=1), strict=True)
    return torch.stack([functional.cross_entropy(x, y.argmax(dim=1)) for x, y in parts]).sum()


def _whether_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, summed over words, mean over images."""
    total = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    return total / len(logits)


def encode_text(text: Any, tokens: Tensor) -> Tensor:
    """Return (N, D) unit vectors of texts (N, T), without the padding behind the longest.

    The tower is causal, so padding never reaches the end token that is read.
    """
    length = int((tokens != 0).sum(dim=1).max())
    tokens = tokens[:, :length]
    x = text.token_embedding(tokens) + text.positional_embedding[:length]
    x = text.ln_final(text.transformer(x, attn_mask=text.attn_mask[:length, :length]))
    ends = x[torch.arange(len(x)), tokens.argmax(dim=1)]  # the end token has the highest id
    return functional.normalize(ends @ text.text_projection, dim=-1)


def encode_images(visual: Any, images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return (B, 1 + P, D) unit vectors of images (B, S, S, 3) uint8.

    A close-up is smaller than the tower's input: its patches take the positions of a random window
    of the grid, so that it costs less and looks like a part of a scene.
    """
    mean, std = (torch.tensor(PREPARATION[key]).view(3, 1, 1) for key in ("mean", "std"))
    x = (images.permute(0, 3, 1, 2) / 255 - mean) / std  # (B, 3, S, S)
    trunk = visual.trunk
    patches = trunk.patch_embed(x.contiguous(memory_format=torch.channels_last))  # (B, P, C)
    grid, side = SIDE // PATCH, images.shape[1] // PATCH
    places = trunk.pos_embed[0, 1:].unflatten(0, (grid, grid))
    top, left = rng.integers(grid - side + 1, size=2)
    window = places[top : top + side, left : left + side].flatten(0, 1)  # (P, C)
    cls = (trunk.cls_token + trunk.pos_embed[:, :1]).expand(len(x), -1, -1)
    tokens = trunk.norm(trunk.blocks(torch.cat([cls, patches + window], dim=1)))
    return functional.normalize(visual.head(tokens), dim=-1)


def create_model(seed: int) -> Any:
    """Return a model of `MODEL` with random weights, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CustomTextCLIP(**MODEL)
    _place_patches(model.visual.trunk)
    return model


def _place_patches(trunk: Any) -> None:
    """Start position embeddings as sines of row and column, so that neighbours are similar."""
    waves = get_2d_sincos_pos_embed(trunk.embed_dim, SIDE // PATCH, cls_token=True)
    with torch.no_grad():
        trunk.pos_embed.copy_(0.5 * torch.from_numpy(waves)[None])


def _batches(
    folder: Path, tokens: Any, recipe: ClipRecipe, first: int, progress: ProgressCallback
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield images, targets and caption tokens from step `first` on: close-ups, then scenes."""
    parts = (
        (recipe.close_up_steps, recipe.close_ups, CLOSE_UP, recipe.close_up_batch),
        (recipe.scene_steps, recipe.scenes, SIDE, recipe.scene_batch),
    )
    begin = 0
    for steps, count, side, batch in parts:
        if first < begin + steps:
            scenes = _scenes(folder, tokens, count, side, progress)
            for step in range(max(first, begin), begin + steps):
                rng = np.random.default_rng([recipe.seed, 0, step])
                rows = rng.integers(count, size=batch)
                images = np.asarray(scenes.pixels[rows])
                images = images[:, :, ::-1] if rng.random() < 0.5 else images
                yield (
                    torch.from_numpy(np.ascontiguousarray(images)),
                    scenes.targets[rows],
                    scenes.captions[rows[:CAPTIONED_IMAGES]],
                )
        begin += steps


def _scenes(folder: Path, tokens: Any, count: int, side: int, progress: ProgressCallback) -> Scenes:
    close_up = side < SIDE
    name = "close-ups" if close_up else "scenes"
    progress(Progress(STEP, message=f"clip: {count:,} {name} of {side} x {side} pixels"))
    images = pixels(
        folder / f"{name}-{count}-{side}.npy",
        range(count),
        side=side,
        close_up=close_up,
        progress=progress,
    )
    drawn = [draw_scene(seed, close_up=close_up) for seed in range(count)]
    texts = [caption(scene, np.random.default_rng([scene.seed, 5])) for scene in drawn]
    return Scenes(images, torch.from_numpy(targets_of(drawn, WORDS)).float(), tokens(texts))
