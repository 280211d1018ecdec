"""Measure what a teacher's corrected patch vectors bring to its student.

    OMP_NUM_THREADS=1 python benchmarks/patch_distillation.py --work runs/patch_distillation

The teachers are the small towers of `local_vectors.py`, whose class token alone was trained: their
own patch tokens do not tell where a thing is, and the corrected ones do. A student starts as its
teacher, and learns on scenes of the demo world by stage 1 of the demo's recipe, with several
weights of the distance to the teacher's corrected patch vectors (`--distill-patches`). Pointing,
patch AUC and mean AP are those of `local_vectors.py`, on other scenes and over labels of things
that no student was trained on. Rows are means over the seeds.
"""

import argparse
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from local_vectors import (
    BLOCKS,
    COLUMNS,
    HEADS,
    TEST,
    WIDTH,
    Bed,
    Measures,
    encode,
    train,
)
from results import Results, add_json_option
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mkt_search.demo.scenes.photos import TEST_SEED, pixels
from mkt_search.demo.scenes.world import LABELS, draw_scene
from mkt_search.models import checkpoint, conv_vit
from mkt_search.models.build import DEMO_CLIP, open_model
from mkt_search.models.checkpoint import CLIP_CONFIG
from mkt_search.models.clip import ClipFolder, write_clip_folder
from mkt_search.models.clip_student import clip_student
from training import stage1
from training.demo.build import STUDENT, UNSEEN_FILE, Recipe, prepare_data
from training.demo.clip import PREPARATION, SIDE, WORDS

WEIGHTS = (0.0, 1.0, 4.0)
STEPS = (312, 438)  # of a teacher, on close-ups and on scenes
NAME = "conv_vit_bed"
MEASURES = [name for name in COLUMNS if name not in ("stem", "patch vectors", "seeds")]
MEASURES = [name for name in MEASURES if not name.startswith("places")]  # all places are seen


@register_model
def conv_vit_bed(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """Build the towers of `local_vectors.py` by a name, as an open_clip folder needs it."""
    size = {"embed_dim": WIDTH, "depth": BLOCKS, "num_heads": HEADS}
    model: VisionTransformer = conv_vit.conv_vit_mini_64(pretrained, **(size | options))
    described: Any = model.pretrained_cfg
    config: Any = {**described, "architecture": NAME}
    model.pretrained_cfg = model.default_cfg = config
    return model


def teacher_folder(seed: int, words: torch.Tensor, work: Path) -> Path:
    """Return an open_clip folder of a tower, trained now, and the text tower of the demo's CLIP."""
    folder = work / f"teacher-{seed}"
    text = (DEMO_CLIP / CLIP_CONFIG).read_text(encoding="utf-8").replace(conv_vit.NAME, NAME)
    visual = train("convolutional", seed, words, work, STEPS)
    model = ClipFolder(DEMO_CLIP).load()
    model.visual = visual
    visual.head = nn.Sequential(OrderedDict(proj=visual.head[0]))  # open_clip's name
    description = json.loads(text)["model_cfg"]
    write_clip_folder(folder, model, model_cfg=description, preprocess_cfg=PREPARATION)
    return folder


def main() -> None:
    """Train the teachers and their students, measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, default=Path("runs/patch_distillation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=4_000, help="that a student learns from")
    add_json_option(parser)
    given = parser.parse_args()
    work = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    results = Results(given.json)
    data = prepare_data(work, Recipe(train=given.photos, test=50), lambda _: None)
    unseen = set((work / UNSEEN_FILE).read_text(encoding="utf-8").splitlines())
    seeds = range(TEST_SEED, TEST_SEED + TEST)
    images = np.array(pixels(work / "test.npy", seeds, side=SIDE, close_up=False))
    encoder = open_model("demo-teacher").label_encoder()
    words = torch.from_numpy(encoder.encode(WORDS))
    scenes = [draw_scene(seed) for seed in seeds]
    bed = Bed(images, scenes, encoder.encode(LABELS), only=unseen)
    results.fact("photos", given.photos, ",")
    results.fact("labels", len(unseen), ",")

    found: dict[str, list[Measures]] = {}
    table = results.table("students", {"": "", "seeds": "", **{name: ".3f" for name in MEASURES}})

    def note(name: str, encode_images: Callable[[], Any]) -> None:
        rows = found.setdefault(name, [])
        rows.append(bed.measure(encode_images()))
        print(name, *(f"{x:.3f}" for x in rows[-1].cells()), flush=True)
        table.rows = [
            (name, str(len(rows)), *np.mean([r.cells()[: len(MEASURES)] for r in rows], axis=0))
            for name, rows in found.items()
        ]
        results.save()  # a run that is stopped keeps what it measured

    for seed in range(given.seeds):
        folder = teacher_folder(seed, words, work)
        teacher = clip_student(SimpleNamespace(visual=ClipFolder(folder).load().visual), "own")
        for form in ("own", "kk"):
            teacher.patch_vectors = form
            note(f"the teacher, {form}", partial(encode, teacher, images))
        for weight in WEIGHTS:
            out = work / f"student-{seed}-{weight:g}"
            config = replace(
                STUDENT,
                text_model=str(folder),
                teacher=str(folder),
                backbone=NAME,
                distill=1.0,
                distill_patches=weight,
                workers=0,
                seed=seed,
            )
            if not (checkpoint.is_checkpoint(out) and checkpoint.read_meta(out).results):
                stage1.train(data, config, out)
            own = open_model(out).photo_encoder(dtype="float32")
            note(f"a student, weight {weight:g}", partial(own.encode, images))
    results.save()


if __name__ == "__main__":
    main()
