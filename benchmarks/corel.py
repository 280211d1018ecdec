"""Corel-5k for the benchmarks: photos, labels, splits, and every photo encoded once."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.models.build import Model
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.photos import decode as images
from mkt_search.process import keep_freed_memory
from mkt_search.scoring import StreamScores, score
from mkt_search.types import Encoded, PhotoVectors, Vector

BATCH_PHOTOS = 64
SCORED_PHOTOS = 256  # bounds the memory of (photos, m, labels) products


@dataclass(frozen=True)
class Corel:
    """The dataset: the folder of images, all files in order, their labels, and the test files."""

    folder: Path
    files: list[str]
    labels: dict[str, list[str]]
    test: list[str]

    def shown(self, files: list[str], names: list[str]) -> NDArray[np.int8]:
        """Return (files, names): 1 where a photo has a label, otherwise -1."""
        rows = [[1 if name in self.labels[file] else -1 for name in names] for file in files]
        return np.array(rows, np.int8)

    def frequent(self, min_photos: int) -> list[str]:
        """Return the labels with at least `min_photos` train photos, sorted."""
        train = set(self.files) - set(self.test)
        often = Counter(label for file in train for label in self.labels[file])
        return sorted(name for name, count in often.items() if count >= min_photos)


def read_corel(data: Path) -> Corel:
    """Read the dataset from the folder that holds corel5k/."""
    folder = data / "corel5k"
    labels = json.loads((folder / "labels.json").read_text())
    splits = json.loads((folder / "splits.json").read_text())
    test = sorted(file for file, split in splits.items() if split == "test")
    return Corel(folder / "images", sorted(labels), labels, test)


def write_choice(corel: Corel, names: list[str], folder: Path, *, splits: int) -> list[Path]:
    """Write a task for choosing settings that uses only train photos and the labels `names`.

    Writes `labels.json`, `splits.json` (1,000 of the photos are its test split), and for each label
    split a file with the held-out quarter of the labels, which do not overlap. Returns these files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train = sorted(set(corel.files) - set(corel.test))
    labels = {file: [name for name in corel.labels[file] if name in names] for file in train}
    rng = np.random.default_rng(7)
    held_back = set(rng.permutation(train)[:1000].tolist())
    parts = {file: "test" if file in held_back else "train" for file in train}
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "splits.json").write_text(json.dumps(parts))
    shuffled, size = rng.permutation(names).tolist(), round(len(names) / 4)
    files = [folder / f"unseen{number}.txt" for number in range(splits)]
    for number, file in enumerate(files):
        held_out = sorted(shuffled[number * size : (number + 1) * size])
        file.write_text("\n".join(held_out) + "\n")
    return files


def encode_all(model: Model | PhotoEncoder, files: list[Path]) -> Encoded:
    """Encode photos: global vectors (N, D) and patches (N, P, D)."""
    keep_freed_memory()
    encoder = model.photo_encoder() if isinstance(model, Model) else model
    spec = encoder.spec
    parts = []
    for start in range(0, len(files), BATCH_PHOTOS):
        pixels = [
            images.to_pixels(images.decode(images.read(file), name=file.name).image, spec)
            for file in files[start : start + BATCH_PHOTOS]
        ]
        parts.append(encoder.encode(np.stack(pixels)))
    return Encoded.join(parts)


def every_patch(scaled: Encoded) -> PhotoVectors:
    """Return vectors whose local vectors are all patches (N, P, D), one patch each."""
    n, patches, _ = scaled.patches.shape
    own = np.broadcast_to(np.eye(patches, dtype=np.bool_), (n, patches, patches))
    return PhotoVectors(scaled.global_vectors, scaled.patches, own)


def rank(labels: Vector, vectors: PhotoVectors, k: int) -> StreamScores:
    """Return the scores of both streams, (N, L) each, for labels (L, D)."""
    parts = []
    for start in range(0, len(vectors), SCORED_PHOTOS):
        at = slice(start, start + SCORED_PHOTOS)
        counts = vectors.members[at].sum(axis=-1)
        parts.append(
            score(labels, vectors.global_vectors[at], vectors.local_vectors[at], counts, k=k)
        )
    return StreamScores(
        np.concatenate([part.global_scores for part in parts]),
        np.concatenate([part.local_scores for part in parts]),
    )
