"""Labeled photos for tests of evaluation, and checkpoints with a record of their training.

Twelve photos, four each of red, green and blue, with one patch in the next colour. The colour
checkpoint finds a colour wherever it is, so every figure can be computed by hand.
"""

import json
from pathlib import Path
from typing import Any

import torch

from mkt_search.models import checkpoint
from mkt_search.models.build import CheckpointModel
from mkt_search.models.checkpoint import META, Prompt
from tests.tiny import colour_checkpoint, paint, tiny_clip, tiny_meta, tiny_student

MAIN = ("red", "green", "blue")
LABELS = (*MAIN, "yellow")
PATCH = {"red": "green", "green": "blue", "blue": "red"}


def labeled_photos(home: Path) -> Path:
    """Paint the photos, write their labels to labels.json, and return `home`.

    A photo shows its own colour and that of its patch, which is yellow in one of four.
    """
    shown: dict[str, list[str]] = {}
    for number in range(12):
        colour = MAIN[number % 3]
        patch = "yellow" if number >= 9 else PATCH[colour]
        name = f"{number:02}.png"
        paint(home / "photos" / name, colour, {(0, 0): patch, (3, 3): patch}, size=(32, 32))
        shown[name] = sorted([colour, patch])
    (home / "labels.json").write_text(json.dumps(shown))
    (home / "unseen.txt").write_text("blue\nyellow\n")
    return home


def record_training(folder: Path, **trained: Any) -> Path:
    """Write into a checkpoint's meta.json what it was trained on."""
    meta = json.loads((folder / META).read_text())
    (folder / META).write_text(json.dumps({**meta, "trained": trained}))
    return folder


def colour_model(folder: Path, *, seen: tuple[str, ...] = ()) -> CheckpointModel:
    """Make the colour checkpoint; `seen` are the labels that it records as trained on."""
    colour_checkpoint(folder)
    if seen:
        record_training(
            folder, seen=list(seen), unseen=[label for label in LABELS if label not in seen]
        )
    return CheckpointModel(folder, name=str(folder))


def prompted_model(folder: Path, *, learned: bool = True) -> CheckpointModel:
    """Make a random student with the text tower of a tiny CLIP and, if asked, a learned prompt."""
    name, _, weights = tiny_clip(folder.parent / "clip").partition("/")
    meta = tiny_meta(prompt=Prompt(name, weights))
    context = torch.randn(6, 32, generator=torch.Generator().manual_seed(1)) if learned else None
    checkpoint.write(folder, meta, tiny_student().state(), context=context)
    return CheckpointModel(folder, name=str(folder))
