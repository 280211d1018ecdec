"""Rebuild the demo checkpoint from nothing: scenes, the small CLIP, stage 1, stage 2.

    mkt train demo --out DIR

Every step leaves a folder and is skipped when that is there, so a killed run goes on:

    DIR/recipe.json   what was asked for; a folder goes on with the same recipe alone
    DIR/clip          the teacher and its text tower, an open_clip folder
    DIR/photos        scenes to learn from and to be tested on, with labels.json and the like
    DIR/plain         stage 1 without distillation, to compare
    DIR/distilled     stage 1
    DIR/tuned         stage 2
    DIR/checkpoint    what is shipped: `tuned` in 16 bits; it finds its text tower in DIR/clip
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mkt_search.demo.scenes.photos import LABELS_FILE, SPLITS_FILE, write_dataset
from mkt_search.demo.scenes.world import draw_scene, unseen_shown
from mkt_search.errors import TrainingError
from mkt_search.files import write_atomically
from mkt_search.models import checkpoint, conv_vit
from mkt_search.models.checkpoint import Prompt
from mkt_search.models.clip import is_clip_folder
from mkt_search.models.student import read_tensors
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from training import stage1, stage2
from training.demo.clip import SIDE, ClipRecipe, train_clip
from training.runs.files import hold
from training.runs.history import Listener
from training.runs.report import epoch_line

Say = Callable[[str], None]

CLIP, PLAIN, DISTILLED, TUNED, FINISHED = "clip", "plain", "distilled", "tuned", "checkpoint"
UNSEEN_FILE, RECIPE_FILE = "unseen.txt", "recipe.json"
CLIP_RUN = "clip.run"
TOP_K = 4

STUDENT = Stage1Config(
    backbone=conv_vit.NAME,
    backbone_weights="teacher",
    start="teacher",
    feature_dim=0,
    image_height=SIDE,
    image_width=SIDE,
    mean=conv_vit.MEAN,
    std=conv_vit.STD,
    frozen="0",
    top_k=TOP_K,
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
    """All that decides the demo checkpoint: photos to learn from, to test on, and three stages."""

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
"""A walk through every step in a minute; what comes out knows nothing."""


def rebuild(folder: Path, recipe: Recipe, say: Say) -> Path:
    """Make the demo checkpoint in a folder, and return where it is.

    Raises:
        TrainingError: the folder has other things in it, another process works there, or it was
            begun with another recipe.
    """
    folder = folder.resolve()  # settings name folders in full, so what is told can leave them out
    if folder.exists() and any(folder.iterdir()) and not (folder / CLIP_RUN).exists():
        raise TrainingError(f"{folder} has other things in it; name a new folder.")
    with hold(folder / CLIP_RUN):
        _keep(recipe, folder / RECIPE_FILE)
        if not is_clip_folder(folder / CLIP):
            train_clip(folder / CLIP_RUN, folder / CLIP, recipe.clip, say)
        data = prepare_data(folder, recipe, say)
        clip = str(folder / CLIP)
        settings = replace(recipe.student, text_model=clip, teacher=clip)
        for name, distill in ((PLAIN, 0.0), (DISTILLED, recipe.distill)):
            stage = _stage1(data, replace(settings, distill=distill))
            _if_missing(folder / name, say, stage, epochs=settings.epochs)
        stage = _stage2(data, recipe.prompt, folder / DISTILLED)
        _if_missing(folder / TUNED, say, stage, epochs=recipe.prompt.epochs)
        return pack(folder)


def _keep(recipe: Recipe, path: Path) -> None:
    """Write down the recipe. Raises TrainingError when the folder was begun with another one."""
    text = json.dumps(asdict(recipe), indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise TrainingError(
            f"{path.parent} was begun with another recipe, which {path.name} tells. Name a new"
            f" folder, or remove {path.name} to go on with what is there all the same."
        )
    write_atomically(path, text)


def prepare_data(folder: Path, recipe: Recipe, say: Say) -> DataConfig:
    """Render the photos that students learn from and are tested on; return where they are."""
    if not (folder / SPLITS_FILE).exists():
        say(f"rendering {recipe.train + recipe.test:,} photos of {SIDE} x {SIDE} pixels")
        write_dataset(folder, train=recipe.train, test=recipe.test, side=SIDE)
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
    """Put what is shipped together: student and prompt in 16 bits, and their story."""
    made = folder / TUNED
    meta = checkpoint.read_meta(made)
    state = read_tensors(made / checkpoint.STUDENT)
    checkpoint.write(
        folder / FINISHED,
        replace(
            meta, prompt=Prompt(f"../{CLIP}", ""), trained=_told_anywhere(meta.trained, folder)
        ),
        {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
        context=read_tensors(made / checkpoint.PROMPT)["context"],
    )
    return folder / FINISHED


def _stage1(data: DataConfig, settings: Stage1Config) -> Callable[[Path, Listener], object]:
    return lambda out, listener: stage1.train(data, settings, out, listener=listener)


def _stage2(
    data: DataConfig, settings: Stage2Config, source: Path
) -> Callable[[Path, Listener], object]:
    return lambda out, listener: stage2.train(data, settings, source, out, listener=listener)


def _if_missing(
    out: Path, say: Say, train: Callable[[Path, Listener], object], *, epochs: int
) -> None:
    """Train what is not there, or was stopped before its last epoch."""
    if checkpoint.is_checkpoint(out) and checkpoint.read_meta(out).results:
        say(f"{out} is done")
        return
    say(f"training {out}")
    train(out, Listener(say=say, on_epoch=lambda epoch: say(epoch_line(epoch, of=epochs))))


def _told_anywhere(story: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The story without the names of folders on the machine it happened on."""

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(item) for key, item in value.items()}
        if isinstance(value, list):
            return [told(item) for item in value]
        return value.replace(f"{folder}/", "") if isinstance(value, str) else value

    return {key: told(value) for key, value in story.items()}
