"""Measure where the patch vectors of a CLIP point, and which form of them searches best.

    OMP_NUM_THREADS=1 python benchmarks/local_vectors.py --work runs/local_vectors

CLIP trains its class token alone. So does this program: small image towers of four blocks learn, by
their class token, which words describe a scene of the demo world (a sigmoid for each of 142 words,
after a cross-entropy on close-ups); the vectors of the words are those of the built-in CLIP and do
not change. The towers have a convolutional stem, as the demo's, or the plain one of a ViT. Then
scenes that none has seen are encoded in every form, and scored for the labels that they show:

- pointing: the share of things in scenes whose best patch lies within the thing's square; chance is
  the share of the patches there.
- patch AUC: how often a patch within the square scores higher than one outside of it.
- local, fused: mAP of the two streams over labels of things; places fill the whole scene and are
  apart, as *places*.

`--demo` measures the built-in models instead. The cost of the forms is measured by `--cost`: the
processor time of a ViT-B/16 of random weights, relative to `encode_image`, in alternating rounds.
"""

import argparse
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import timm
import torch
from corel import every_patch, rank
from numpy.typing import NDArray
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from results import Results, Table, add_json_option
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from mkt_search.demo.scenes.photos import TEST_SEED, pixels, targets_of
from mkt_search.demo.scenes.world import LABELS, PLACES, Scene, draw_scene
from mkt_search.evaluation.metrics import mean_average_precision
from mkt_search.models import conv_vit, last_block
from mkt_search.models.build import DEMO, DEMO_CLIP, DEMO_TEACHER, open_model
from mkt_search.models.clip import ClipFolder
from mkt_search.models.clip_student import ClipStudent, clip_student
from mkt_search.scoring import scale
from mkt_search.types import Encoded, PatchVectors, Vector
from training.demo.clip import CLOSE_UP, KINDS, PATCH, PREPARATION, SIDE, WORDS, Matching

WIDTH, BLOCKS, HEADS = 128, 4, 4
GRID = SIDE // PATCH
CLOSE_UPS, SCENES, TEST = 20_000, 14_000, 800
CLOSE_UP_BATCH, SCENE_BATCH = 64, 32
K = 2  # patches averaged by the local score; the smallest things cover three
STEMS = ("convolutional", "plain")
FORMS: tuple[PatchVectors, ...] = ("own", "value", "kk")
OTHERS = ("kk, no window", "kk, narrow window", "qq + kk", "value, residual and MLP")
NARROW = 1.5  # patches
Pixels = NDArray[np.uint8]
COLUMNS = {
    **{"stem": "", "patch vectors": "", "seeds": "", "pointing": ".3f", "patch AUC": ".3f"},
    **{"local": ".3f", "fused": ".3f", "global": ".3f"},
    **{"places, local": ".3f", "places, fused": ".3f"},
}


@dataclass(frozen=True)
class Measures:
    """What is measured of one set of patch vectors."""

    pointing: float
    auc: float
    local: float
    fused: float
    global_only: float
    places_local: float
    places_fused: float

    def cells(self) -> tuple[float, ...]:
        """Return the columns of a table, from `pointing` on."""
        return tuple(vars(self).values())


class Bed:
    """Scenes that no model has seen, their labels and where each thing is.

    Args:
        images: (N, S, S, 3) uint8.
        scenes: what they show.
        labels: (L, D) unit vectors of `LABELS`.
        only: measure these labels; by default all.
    """

    def __init__(
        self,
        images: Pixels,
        scenes: list[Scene],
        labels: Vector,
        only: Collection[str] = LABELS,
    ) -> None:
        self.images = images
        self._only = [label in only for label in LABELS]
        self._scenes = scenes
        self._labels = labels
        self._shown = np.where(targets_of(scenes), 1, -1).astype(np.int8)

    def measure(self, encoded: Encoded, *, k: int = K) -> Measures:
        """Measure the vectors of the scenes: global (N, D), patches (N, P, D)."""
        scaled = scale(encoded)
        scores = rank(self._labels, every_patch(scaled), k)
        columns = np.flatnonzero(self._only)
        things, places = columns[columns >= len(PLACES)], columns[columns < len(PLACES)]
        hits, areas = zip(*self._pointed(scaled.patches), strict=True)

        def mean(found: Vector, columns: NDArray[np.int64]) -> float:
            if not len(columns):
                return float("nan")
            return mean_average_precision(found[:, columns], self._shown[:, columns]).standard

        return Measures(
            float(np.mean(hits)),
            float(np.mean(areas)),
            mean(scores.local_scores, things),
            mean(scores.fused, things),
            mean(scores.global_scores, things),
            mean(scores.local_scores, places),
            mean(scores.fused, places),
        )

    def chance(self) -> float:
        """Return the mean share of patches within a thing's square."""
        return float(np.mean([inside.mean() for _, _, inside in self._squares(GRID)]))

    def _pointed(self, patches: Vector) -> Iterator[tuple[bool, float]]:
        """Yield, for every thing shown, whether its best patch is on it, and the patch AUC."""
        side = round(patches.shape[1] ** 0.5)
        for row, column, inside in self._squares(side):
            scores = patches[row] @ self._labels[column]
            above = scores[inside][:, None] - scores[~inside][None]
            yield bool(inside[scores.argmax()]), float(((above > 0) + 0.5 * (above == 0)).mean())

    def _squares(self, side: int) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
        """Yield scene, label and (P,), the patches whose centres lie within things of the label."""
        centres = (np.arange(side) + 0.5) / side
        for row, scene in enumerate(self._scenes):
            for label in scene.labels[1:]:
                inside = np.zeros((side, side), np.bool_)
                for thing in scene.things:
                    if thing.label == label:
                        reach = thing.size / 2
                        inside |= (np.abs(centres - thing.y) <= reach)[:, None] & (
                            np.abs(centres - thing.x) <= reach
                        )[None]
                if inside.any() and self._only[LABELS.index(label)]:
                    yield row, LABELS.index(label), inside.ravel()


def tower(stem: str, dim: int) -> Any:
    """Build an image tower of random weights, as open_clip has it."""
    visual = TimmModel("test_vit", dim, image_size=SIDE, pool="token", proj="linear")
    options: dict[str, Any] = {"embed_dim": WIDTH, "depth": BLOCKS, "num_heads": HEADS}
    name = conv_vit.NAME
    if stem == "plain":
        name, options = "vit_tiny_patch16_224", {**options, "patch_size": PATCH, "img_size": SIDE}
    visual.trunk = timm.create_model(name, num_classes=0, **options)
    visual.trunk.patch_embed.strict_img_size = False  # close-ups are smaller
    visual.head = nn.Sequential(nn.Linear(WIDTH, dim, bias=False))
    visual.preprocess_cfg = {**PREPARATION, "size": SIDE}
    return visual


def normalized(images: Pixels) -> Tensor:
    """Return (B, 3, S, S) as the towers take it."""
    mean, std = (torch.tensor(PREPARATION[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2) / 255 - mean) / std


def class_vectors(visual: Any, images: Pixels, rng: np.random.Generator) -> Tensor:
    """Return (B, D), from the class token; a close-up stands at a random place of the grid."""
    trunk = visual.trunk
    patches = trunk.patch_embed(normalized(images))
    side = images.shape[1] // PATCH
    places = trunk.pos_embed[0, 1:].unflatten(0, (GRID, GRID))
    top, left = rng.integers(GRID - side + 1, size=2)
    window = places[top : top + side, left : left + side].flatten(0, 1)
    cls = (trunk.cls_token + trunk.pos_embed[:, :1]).expand(len(patches), -1, -1)
    tokens = trunk.norm(trunk.blocks(torch.cat([cls, patches + window], dim=1)))
    return functional.normalize(visual.head(tokens[:, 0]), dim=-1)


def train(
    stem: str, seed: int, words: Tensor, work: Path, steps: tuple[int, int], lr: float = 1e-3
) -> Any:
    """Train a tower by its class token alone, and return it; one that is in `work` is read.

    Args:
        stem: "convolutional" or "plain".
        seed: of weights and order.
        words: (W, D) unit vectors of `WORDS`.
        work: keeps the rendered scenes and the towers.
        steps: on close-ups, and on scenes.
        lr: the highest learning rate.
    """
    torch.manual_seed(seed)
    visual, matching = tower(stem, words.shape[1]).train(), Matching()
    path = work / f"{stem}-{seed}-{steps[0]}-{steps[1]}.safetensors"
    if path.exists():
        visual.load_state_dict(load_file(path))
        return visual.eval()
    parameters = [*visual.parameters(), *matching.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=sum(steps), pct_start=0.05
    )
    sizes, rng = [len(kind) for kind in KINDS], np.random.default_rng(seed)
    for part, (count, side, batch) in enumerate(
        ((CLOSE_UPS, CLOSE_UP, CLOSE_UP_BATCH), (SCENES, SIDE, SCENE_BATCH))
    ):
        images, targets = training_scenes(work, count, side)
        for _ in range(steps[part]):
            rows = rng.integers(count, size=batch)
            with torch.autocast("cpu", torch.bfloat16):
                vectors = class_vectors(visual, images[rows], rng)
            wanted, found = targets[rows], vectors.float() @ words.T
            if side == CLOSE_UP:
                logits = torch.split(matching(found, "close-up"), sizes, dim=1)
                kinds = zip(logits, torch.split(wanted, sizes, dim=1), strict=True)
                loss = sum(functional.cross_entropy(x, y.argmax(dim=1)) for x, y in kinds)
            else:
                loss = functional.binary_cross_entropy_with_logits(
                    matching(found, "scene"), wanted, reduction="sum"
                ) / len(wanted)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[union-attr]
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            schedule.step()
    save_file(visual.state_dict(), path)
    return visual.eval()


def training_scenes(work: Path, count: int, side: int) -> tuple[Pixels, Tensor]:
    """Return rendered scenes or close-ups, and (N, W) which words describe each."""
    is_close_up = side == CLOSE_UP
    path = work / f"{'close-ups' if is_close_up else 'scenes'}-{count}.npy"
    images = pixels(path, range(count), side=side, close_up=is_close_up)
    scenes = [draw_scene(seed, close_up=is_close_up) for seed in range(count)]
    return images, torch.from_numpy(targets_of(scenes, WORDS)).float()


@torch.inference_mode()
def encode(student: ClipStudent, images: Pixels, *, batch: int = 100) -> Encoded:
    """Encode images (N, S, S, 3)."""
    parts = [student(normalized(images[at : at + batch])) for at in range(0, len(images), batch)]
    return Encoded(
        torch.cat([part.global_vectors for part in parts]).numpy(),
        torch.cat([part.patches for part in parts]).numpy(),
    )


class OtherForm(ClipStudent):
    """A timm ViT whose patch vectors have a form that the library does not offer."""

    def __init__(self, student: ClipStudent, form: str) -> None:
        super().__init__(student.visual, dim=student.dim, grid=student.grid)
        self._other = form
        self._window = last_block.gaussian_window(student.grid)

    def forward(self, images: Tensor) -> Any:
        """Encode images."""
        trunk, head = self.visual.trunk, self.visual.head
        block = trunk.blocks[-1]
        with last_block.watched(block) as calls:
            global_vectors = self.visual(images)
        tokens = calls[0].given[:, 1:]
        attention = block.attn
        q, k, v = (
            part.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
            for part in attention.qkv(block.norm1(tokens)).chunk(3, dim=-1)
        )
        if self._other == "value, residual and MLP":
            out = tokens + block.ls1(attention.proj(v.transpose(1, 2).flatten(2)))
            out = out + block.ls2(block.mlp(block.norm2(out)))
        else:
            weights = _weights(self._other, q * attention.scale**0.5, k * attention.scale**0.5)
            out = block.ls1(attention.proj((weights @ v).transpose(1, 2).flatten(2)))
        return SimpleNamespace(global_vectors=global_vectors, patches=head(trunk.norm(out)))


def _weights(form: str, q: Tensor, k: Tensor) -> Tensor:
    if form == "qq + kk":
        return (q @ q.mT).softmax(dim=-1) + (k @ k.mT).softmax(dim=-1)
    window = torch.zeros(GRID * GRID, GRID * GRID)
    if form == "kk, narrow window":
        rows = torch.cartesian_prod(*2 * (torch.arange(GRID, dtype=torch.float32),))
        squared = (rows[:, None] - rows[None]).square().sum(dim=-1)
        window = torch.exp(-squared / (2 * NARROW**2))
    return (k @ k.mT + window).softmax(dim=-1)


def measure_towers(
    results: Results, bed: Bed, words: Tensor, work: Path, seeds: int, steps: tuple[int, int]
) -> None:
    """Train a tower for each stem and seed, and measure every form."""
    found: dict[tuple[str, str], list[Measures]] = {}
    means = results.table("forms", COLUMNS)
    each = results.table("each tower", COLUMNS)
    for seed in range(seeds):  # the first seed of both stems comes first
        for stem in STEMS:
            visual = train(stem, seed, words, work, steps)
            student = clip_student(SimpleNamespace(visual=visual), "own")
            for form in FORMS:
                student.patch_vectors = form
                found.setdefault((stem, form), []).append(bed.measure(encode(student, bed.images)))
            for other in OTHERS:
                encoded = encode(OtherForm(student, other), bed.images)
                found.setdefault((stem, other), []).append(bed.measure(encoded))
            for name in (*FORMS, *OTHERS):
                each.row(stem, name, f"seed {seed}", *found[stem, name][-1].cells())
            means.rows = [
                (of_stem, name, str(len(rows)), *np.mean([row.cells() for row in rows], axis=0))
                for of_stem in STEMS
                for name in (*FORMS, *OTHERS)
                if (rows := found.get((of_stem, name)))
            ]
            results.save()  # a run that is stopped keeps what it measured


def measure_built_in(results: Results, images: Pixels, scenes: list[Scene]) -> None:
    """Measure the two models of the package in every form that they have."""
    columns = {name: spec for name, spec in COLUMNS.items() if name not in ("stem", "seeds")}
    table: Table = results.table("built-in models", {"model": "", **columns})
    for name in (DEMO, DEMO_TEACHER):
        model = open_model(name)
        bed = Bed(images, scenes, model.label_encoder().encode(LABELS))
        encoder = model.photo_encoder(dtype="float32")
        table.row(name, "own", *bed.measure(encoder.encode(images)).cells())
    student = clip_student(ClipFolder(DEMO_CLIP).load())  # the teacher, whose patches were taught
    for form in FORMS[1:]:
        student.patch_vectors = form
        table.row(DEMO_TEACHER, form, *bed.measure(encode(student, images)).cells())


def measure_cost(results: Results, rounds: int, batch: int) -> None:
    """Measure the processor time of each form in relation to `encode_image`."""
    visual = VisionTransformer(224, 16, 768, 12, 12, 4.0, output_dim=512).eval()
    visual.preprocess_cfg = {**PREPARATION, "size": 224}
    student = clip_student(SimpleNamespace(visual=visual), "own")
    images = torch.randn(batch, 3, 224, 224)
    spent: dict[str, list[float]] = {"encode_image": [], **{form: [] for form in FORMS}}

    def taken(call: Callable[[Tensor], Any]) -> float:
        started = time.process_time()
        call(images)
        return time.process_time() - started

    with torch.inference_mode():
        visual(images)
        for _ in range(rounds):
            spent["encode_image"].append(taken(visual))
            for form in FORMS:
                student.patch_vectors = form
                spent[form].append(taken(student))
    base = np.array(spent["encode_image"])
    table = results.table("cost", {"patch vectors": "", "time / encode_image": ".3f"})
    for form in FORMS:
        table.row(form, float(np.median(np.array(spent[form]) / base)))


def main() -> None:
    """Run what the options name."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("runs/local_vectors"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--close-up-steps", type=int, default=312)
    parser.add_argument("--scene-steps", type=int, default=438)
    parser.add_argument("--rounds", type=int, default=5, help="of the measurement of cost")
    add_json_option(parser)
    given = parser.parse_args()
    results = Results(given.json)
    seeds = range(TEST_SEED, TEST_SEED + TEST)
    images = np.array(pixels(given.work / "test.npy", seeds, side=SIDE, close_up=False))
    scenes = [draw_scene(seed) for seed in seeds]
    encoder = open_model("demo-teacher").label_encoder()
    words = torch.from_numpy(encoder.encode(WORDS))
    bed = Bed(images, scenes, encoder.encode(LABELS))
    results.fact("scenes", TEST, ",")
    results.fact("chance", bed.chance(), ".3f")
    measure_built_in(results, images, scenes)
    measure_cost(results, given.rounds, batch=2)
    results.save()
    steps = (given.close_up_steps, given.scene_steps)
    if given.seeds:
        measure_towers(results, bed, words, given.work, given.seeds, steps)
    results.save()


if __name__ == "__main__":
    main()
