"""Corel-5k as the benchmarks see it: photos, labels, splits, and every photo encoded once."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.models.build import Model
from mkt_search.photos import decode as images
from mkt_search.process import keep_freed_memory
from mkt_search.scoring import StreamScores, score
from mkt_search.types import Encoded, PhotoVectors, Vector

BATCH = 64


@dataclass(frozen=True)
class Corel:
    """The dataset: its folder of images, every file in order, their labels, the test files."""

    folder: Path
    files: list[str]
    labels: dict[str, list[str]]
    test: list[str]

    def shown(self, files: list[str], names: list[str]) -> NDArray[np.int8]:
        """Return (files, names): 1 where a photo has a label, -1 where it has not."""
        rows = [[1 if name in self.labels[file] else -1 for name in names] for file in files]
        return np.array(rows, np.int8)

    def frequent(self, least: int) -> list[str]:
        """Return the labels with at least so many train photos, sorted."""
        train = set(self.files) - set(self.test)
        often = Counter(label for file in train for label in self.labels[file])
        return sorted(name for name, count in often.items() if count >= least)


def read_corel(data: Path) -> Corel:
    """Read the dataset from the folder that holds corel5k/."""
    folder = data / "corel5k"
    labels = json.loads((folder / "labels.json").read_text())
    splits = json.loads((folder / "splits.json").read_text())
    test = sorted(file for file, split in splits.items() if split == "test")
    return Corel(folder / "images", sorted(labels), labels, test)


def write_choice(corel: Corel, names: list[str], folder: Path, *, splits: int) -> list[Path]:
    """Write a task to choose settings on, made of train photos and the labels `names` alone.

    `labels.json` and `splits.json` (1,000 photos are its test); a quarter of the labels is held out
    in each split, no label twice: a file for each split names them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train = sorted(set(corel.files) - set(corel.test))
    labels = {file: [name for name in corel.labels[file] if name in names] for file in train}
    rng = np.random.default_rng(7)
    aside = set(rng.permutation(train)[:1000].tolist())
    parts = {file: "test" if file in aside else "train" for file in train}
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "splits.json").write_text(json.dumps(parts))
    shuffled, count = rng.permutation(names).tolist(), round(len(names) / 4)
    files = [folder / f"unseen{number}.txt" for number in range(splits)]
    for number, file in enumerate(files):
        held_out = sorted(shuffled[number * count : (number + 1) * count])
        file.write_text("\n".join(held_out) + "\n")
    return files


def encode_all(model: Model, files: list[Path]) -> Encoded:
    """Encode photos in batches: (N, D) and (N, P, D)."""
    keep_freed_memory()
    encoder, spec = model.photo_encoder(), model.image
    parts = []
    for start in range(0, len(files), BATCH):
        pixels = [
            images.to_pixels(images.decode(images.read(file), name=file.name).image, spec)
            for file in files[start : start + BATCH]
        ]
        parts.append(encoder.encode(np.stack(pixels)))
    return Encoded(
        np.concatenate([part.global_ for part in parts]),
        np.concatenate([part.patches for part in parts]),
    )


def every_patch(scaled: Encoded) -> PhotoVectors:
    """Return all patches as local vectors of one patch each."""
    n, patches, _ = scaled.patches.shape
    own = np.broadcast_to(np.eye(patches, dtype=np.bool_), (n, patches, patches))
    return PhotoVectors(scaled.global_, scaled.patches, own)


def rank(labels: Vector, vectors: PhotoVectors, k: int) -> StreamScores:
    """Return (N, L) scores of both streams, a few hundred photos at a time."""
    parts = []
    for start in range(0, len(vectors), 256):
        at = slice(start, start + 256)
        counts = vectors.members[at].sum(axis=-1)
        parts.append(score(labels, vectors.global_[at], vectors.local_vectors[at], counts, k=k))
    return StreamScores(
        np.concatenate([part.global_ for part in parts]),
        np.concatenate([part.local for part in parts]),
    )
