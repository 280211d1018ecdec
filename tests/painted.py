"""A small labeled world for training tests: painted photos whose labels are their colours.

Each photo is grey with patches in two colours; a label's vector is its colour, so an untrained
colour lies between trained ones. A ViT of random weights distinguishes colours well enough.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mkt_search.progress import no_progress
from mkt_search.settings.config import DataConfig, Stage1Config
from tests.tiny import COLOURS, colour_table, paint
from training.data.label_vectors import LabelSpec, open_label_space
from training.data.task import Task, read_task

NAMES = tuple(COLOURS)
TINY_VIT = ("img_size=32", "patch_size=8", "embed_dim=16", "depth=2", "num_heads=2")


class World(NamedTuple):
    """Settings that train on painted photos: `train(*world, out)`."""

    data: DataConfig
    config: Stage1Config

    def but(self, **changes: Any) -> "World":
        """Return the same world with some settings of either section changed."""
        keys = {item.name for item in fields(DataConfig)}
        return World(
            replace(self.data, **{k: v for k, v in changes.items() if k in keys}),
            replace(self.config, **{k: v for k, v in changes.items() if k not in keys}),
        )


def painted_world(folder: Path, *, photos: int = 48, seed: int = 0) -> World:
    """Paint photos, write labels and a label table, and return settings that train on them."""
    rng = np.random.default_rng(seed)
    labels: dict[str, list[str]] = {}
    for number in range(photos):
        chosen = [NAMES[i] for i in rng.choice(len(NAMES), 2, replace=False)]
        cells = rng.choice(16, 6, replace=False)
        patches = {
            (int(cell) // 4, int(cell) % 4): chosen[place % 2] for place, cell in enumerate(cells)
        }
        labels[f"{number:03}.png"] = sorted(chosen)
        paint(folder / "photos" / f"{number:03}.png", (90, 90, 90), patches, size=(32, 32))
    (folder / "labels.json").write_text(json.dumps(labels))
    colour_table().save(folder / "table.npz")
    return World(DataConfig(), Stage1Config()).but(
        photos=str(folder / "photos"),
        labels=str(folder / "labels.json"),
        label_table=str(folder / "table.npz"),
        label_transform="none",
        min_photos=2,
        test_fraction=0.25,
        validation_fraction=0.2,
        backbone="vit_tiny_patch16_224",
        backbone_args=TINY_VIT,
        image_height=32,
        image_width=32,
        pca_dim=0,
        top_k=2,
        epochs=3,
        batch_size=8,
        lr=1e-3,
        flip=False,
        device="cpu",
        dtype="float32",
        workers=0,
    )


def painted_task(folder: Path) -> Task:
    """Paint photos and return them as a task with the label table."""
    world = painted_world(folder)
    space = open_label_space(LabelSpec(table=folder / "table.npz"))
    return read_task(world.data, space, no_progress)


def write_settings(folder: Path, **sections: Any) -> Path:
    """Write the settings that are not defaults to `folder`/mkt.toml, with paths relative to it.

    Args:
        sections: `DataConfig`, `Stage1Config` and so on by the name of their section.
    """
    lines: list[str] = []
    for name, settings in sections.items():
        lines += [f"[{name}]", *changed_lines(settings, folder)]
    (folder / "mkt.toml").write_text("\n".join(lines))
    return folder


def changed_lines(settings: Any, folder: Path) -> Iterator[str]:
    """Yield the lines of mkt.toml for settings that are not the defaults."""
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.metadata["rule"].is_path and value and Path(value).is_absolute():
            value = str(Path(value).relative_to(folder))
        if value != item.default:
            yield f"{item.name} = {json.dumps(value)}"


def no_number_at(call: int, loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a loss that is NaN at one call, counted from 1."""
    calls = itertools.count(1)

    def counted(*args: Any, **more: Any) -> Tensor:
        found = loss(*args, **more)
        return found * float("nan") if next(calls) == call else found

    return counted
