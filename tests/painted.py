"""A small labelled world for training tests: painted photos whose labels are their colours.

Each photo is grey with two painted patches; a label's vector is its colour, so a colour nobody
trained lies between colours that were. A ViT of random weights tells colours apart well enough.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mkt_search.config import Stage1Config
from tests.tiny import COLOURS, colour_table, paint

NAMES = tuple(COLOURS)
TINY_VIT = ("img_size=32", "patch_size=8", "embed_dim=16", "depth=2", "num_heads=2")


def painted_world(folder: Path, *, photos: int = 48, seed: int = 0) -> Stage1Config:
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
    return replace(
        Stage1Config(),
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
        feature_dim=0,
        top_k=2,
        epochs=3,
        batch_size=8,
        lr=1e-3,
        flip=False,
        device="cpu",
        dtype="float32",
        workers=0,
    )
