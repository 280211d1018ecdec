"""Train the built-in demo models from scratch: scenes, the small CLIP, stage 1, stage 2.

    mkt train demo --out DIR

Every step leaves a folder and is skipped when that is there, so a killed run continues:

    DIR/recipe.json   the recipe; a folder is continued with the same one only
    DIR/clip          the teacher and its text tower, an open_clip folder
    DIR/photos        scenes to train and to test on, with labels.json and the like beside them
    DIR/plain         stage 1 without distillation, for comparison
    DIR/distilled     stage 1
    DIR/tuned         stage 2
    DIR/checkpoint    what is shipped: `tuned` in 16 bits with a calibrator; its tower is DIR/clip
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mkt_search.demo.scenes.photos import LABELS_FILE, SPLITS_FILE, write_dataset
from mkt_search.demo.scenes.world import draw_scene, unseen_shown
from mkt_search.errors import CalibrationError, TrainingError
from mkt_search.files import write_atomically
from mkt_search.models import checkpoint, conv_vit
from mkt_search.models.checkpoint import Prompt
from mkt_search.models.clip import is_clip_folder
from mkt_search.models.student import read_tensors
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from training import stage1, stage2
from training.demo.calibrator import SCENES, fit_demo
from training.demo.clip import SIDE, ClipRecipe, train_clip
from training.learning.held_out import NONE
from training.runs.files import hold
from training.runs.history import EpochCallback, ignore_epoch

CLIP, PLAIN, DISTILLED, TUNED, FINISHED = "clip", "plain", "distilled", "tuned", "checkpoint"
UNSEEN_FILE, RECIPE_FILE = "unseen.txt", "recipe.json"
CLIP_RUN = "clip.run"
STEP = "demo models"  # the name of this work in progress events

STUDENT = Stage1Config(
    backbone=conv_vit.NAME,
    backbone_weights="teacher",
    head_init="teacher",
    pca_dim=0,
    image_height=SIDE,
    image_width=SIDE,
    mean=conv_vit.MEAN,
    std=conv_vit.STD,
    anchor="0",
    frozen="0",
    top_k=4,
    regression=0.0,
    flip=True,
    epochs=3,
    batch_size=64,
    lr=5e-4,
    warmup_epochs=0.5,
    layer_decay=0.8,
    weight_decay=0.05,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the demo models.

    Args:
        train: scenes that students learn from.
        test: scenes that they are tested on.
        clip: training of the small CLIP.
        distill: weight of distillation of the student that is shipped.
        student: stage 1.
        prompt: stage 2.
    """

    train: int = 8_000
    test: int = 2_000
    clip: ClipRecipe = field(default_factory=ClipRecipe)
    distill: float = 1.0
    student: Stage1Config = STUDENT
    prompt: Stage2Config = field(default_factory=Stage2Config)


SMALL = Recipe(
    train=96,
    test=64,
    clip=ClipRecipe(
        close_ups=96,
        scenes=96,
        close_up_steps=3,
        scene_steps=3,
        close_up_batch=16,
        scene_batch=16,
    ),
    student=replace(STUDENT, epochs=1, batch_size=32, workers=0),
    prompt=Stage2Config(epochs=1, workers=0),
)
"""Every step in a minute, for tests; the models know nothing."""


def build_demo(
    folder: Path,
    recipe: Recipe,
    *,
    progress: ProgressCallback = no_progress,
    on_epoch: EpochCallback = ignore_epoch,
) -> Path:
    """Train the demo models in a folder, and return the checkpoint.

    Raises:
        TrainingError: the folder has other things in it, another process works there, or it was
            begun with another recipe.
    """
    folder = folder.resolve()  # settings have full paths, from which `pack` removes the folder
    if folder.exists() and any(folder.iterdir()) and not (folder / CLIP_RUN).exists():
        raise TrainingError(f"{folder} has other things in it; name a new folder.")
    with hold(folder / CLIP_RUN):
        _record(recipe, folder / RECIPE_FILE)
        if not is_clip_folder(folder / CLIP):
            train_clip(folder / CLIP_RUN, folder / CLIP, recipe.clip, progress)
        data = prepare_data(folder, recipe, progress)
        clip = str(folder / CLIP)
        student = replace(recipe.student, text_model=clip, teacher=clip)
        callbacks: dict[str, Any] = {"progress": progress, "on_epoch": on_epoch}
        for name, distill in ((PLAIN, 0.0), (DISTILLED, recipe.distill)):
            out, settings = folder / name, replace(student, distill=distill)
            if not _is_finished(out, progress):
                stage1.train(data, settings, out, **callbacks)
        if not _is_finished(folder / TUNED, progress):
            stage2.train(data, recipe.prompt, folder / DISTILLED, folder / TUNED, **callbacks)
        made = pack(folder)
        try:
            fit_demo(made, scenes=min(SCENES, recipe.test), progress=progress)
        except CalibrationError as error:
            progress(Progress(STEP, message=f"{NONE}: {error}"))
        return made


def _record(recipe: Recipe, path: Path) -> None:
    """Write the recipe. Raises TrainingError when the folder was begun with another one."""
    text = json.dumps(asdict(recipe), indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise TrainingError(
            f"{path.parent} was begun with another recipe, the one in {path.name}. Name a new"
            f" folder, or remove {path.name} to continue with what is there."
        )
    write_atomically(path, text)


def prepare_data(folder: Path, recipe: Recipe, progress: ProgressCallback) -> DataConfig:
    """Render the scenes that students learn from and are tested on; return where they are."""
    if not (folder / SPLITS_FILE).exists():
        count = recipe.train + recipe.test
        progress(Progress(STEP, message=f"rendering {count:,} photos of {SIDE} x {SIDE} pixels"))
        write_dataset(folder, train=recipe.train, test=recipe.test, side=SIDE, progress=progress)
    unseen = unseen_shown(draw_scene(seed).labels for seed in range(recipe.train))
    write_atomically(folder / UNSEEN_FILE, "\n".join(unseen))
    return DataConfig(
        photos=str(folder / "photos"),
        labels=str(folder / LABELS_FILE),
        splits=str(folder / SPLITS_FILE),
        unseen=str(folder / UNSEEN_FILE),
        validation="test",
        min_photos=1,
    )


def pack(folder: Path) -> Path:
    """Write the checkpoint that is shipped, student and prompt in 16 bits, and return its path."""
    tuned = folder / TUNED
    meta = checkpoint.read_meta(tuned)
    state = read_tensors(tuned / checkpoint.STUDENT)
    checkpoint.write(
        folder / FINISHED,
        replace(
            meta, prompt=Prompt(f"../{CLIP}", ""), trained=_without_paths(meta.trained, folder)
        ),
        {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
        context=read_tensors(tuned / checkpoint.PROMPT)["context"],
    )
    return folder / FINISHED


def _is_finished(out: Path, progress: ProgressCallback) -> bool:
    """Return True for a checkpoint whose last epoch is done, and report which it is."""
    is_finished = checkpoint.is_checkpoint(out) and bool(checkpoint.read_meta(out).results)
    progress(Progress(STEP, message=f"{out} is done" if is_finished else f"training {out}"))
    return is_finished


def _without_paths(provenance: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the provenance without the names of folders on this machine."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(item) for key, item in value.items()}
        if isinstance(value, list):
            return [stripped(item) for item in value]
        return value.replace(f"{folder}/", "") if isinstance(value, str) else value

    return {key: stripped(value) for key, value in provenance.items()}
