"""Measure how high a panorama ranks beside the square photo that it shows, and what it costs.

    python benchmarks/panoramas.py --data ../shared/data --model runs/corel5k/seed0/checkpoint

A panorama is made of the central square of a photo, at a random place: between squares of photos
without its label (`joined`), or on a plain ground (`alone`). It is ranked for the label among all
other photos of the dataset, in four ways:

- squashed: the whole panorama as one view.
- cropped: its central square as one view.
- views, mean: several views, the mean of their global vectors, their local vectors as they are.
- views, best: several views, scored as the best of them. The library does this.

The rank of the square alone is what the panorama should reach. For labels that an `alone` panorama
does not show, its rank should be that of any photo: the middle.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from corel import encode_all, rank
from PIL import Image, ImageFilter
from results import Results, Table, add_json_option

from mkt_search.models.build import Model, open_model
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.photos import decode as images
from mkt_search.photos.decode import DECODER, Decoded
from mkt_search.pooling.pool import pool
from mkt_search.scoring import mean_of_views, stream_weights
from mkt_search.types import Encoded, Encoding, ImageSpec, PhotoFacts, PhotoVectors, Vector

SIDE = 256  # pixels of the square, the height of a panorama
MIN_PHOTOS = 20  # of a label
ASPECTS = (3, 8, 16)
M = 16
NOISE = 6  # levels, of the plain ground
TIMED = 10  # encodings, of which the fastest counts


@dataclass(frozen=True)
class Dataset:
    """Photos, their labels, and the labels that enough of them show."""

    folder: Path
    labels: dict[str, list[str]]
    names: list[str]

    @property
    def files(self) -> list[str]:
        """The file of each photo, in order."""
        return sorted(self.labels)

    def showing(self, name: str) -> list[int]:
        """Return the numbers of the photos that show a label."""
        return [i for i, file in enumerate(self.files) if name in self.labels[file]]


def read_dataset(data: Path) -> Dataset:
    """Read the dataset from the folder that holds voc300/."""
    labels = json.loads((data / "voc300" / "labels.json").read_text())
    every = sorted({name for names in labels.values() for name in names})
    often = [name for name in every if sum(name in v for v in labels.values()) >= MIN_PHOTOS]
    return Dataset(data / "voc300" / "images", labels, often)


def square(path: Path) -> Image.Image:
    """Return the central square of a photo."""
    image = images.decode(images.read(path)).image
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.resize((SIDE, SIDE), box=(left, top, left + side, top + side))


def alone(shown: Image.Image, aspect: int, rng: np.random.Generator) -> Image.Image:
    """Return a square on a ground that goes from its upper to its lower colour."""
    pixels = np.asarray(shown, float)
    ends = pixels[: SIDE // 4].mean(axis=(0, 1)), pixels[-SIDE // 4 :].mean(axis=(0, 1))
    ground = np.linspace(*ends, SIDE)[:, None] + rng.normal(0, NOISE, (SIDE, aspect * SIDE, 1))
    strip = Image.fromarray(ground.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur)
    strip.paste(shown, (int(rng.integers((aspect - 1) * SIDE + 1)), 0))
    return strip


def joined(parts: list[Image.Image]) -> Image.Image:
    """Return squares side by side."""
    strip = Image.new("RGB", (len(parts) * SIDE, SIDE))
    for place, part in enumerate(parts):
        strip.paste(part, (place * SIDE, 0))
    return strip


class Ways:
    """The ways to make the vectors of an image."""

    def __init__(self, model: Model, encoder: PhotoEncoder) -> None:
        self.encoder = encoder
        self.spec: ImageSpec = model.image
        self.encoding = Encoding(
            *(model.fingerprint, model.dim, model.grid, "cover", M, model.top_k, "int8"),
            decoder=DECODER,
        )

    def squashed(self, image: Image.Image) -> PhotoVectors:
        """Make them of the whole image as one view."""
        return self._single(image, replace(self.spec, resize="squash", shorter_side=None))

    def cropped(self, image: Image.Image) -> PhotoVectors:
        """Make them of the central square as one view."""
        return self._single(image, replace(self.spec, resize="crop", shorter_side=None))

    def best(self, image: Image.Image) -> PhotoVectors:
        """Make them as the library does."""
        encoded = self.encoder.encode(self.views(image))
        return pool(encoded, self.encoding, views=[len(encoded.patches)])

    def mean(self, image: Image.Image) -> PhotoVectors:
        """Make them of the same views, with one global vector for all."""
        encoded = self.encoder.encode(self.views(image))
        share = -(-M // len(encoded.patches))
        each = pool(encoded, replace(self.encoding, m=share))
        return PhotoVectors(
            stream_weights(encoded.local_share)[0] * mean_of_views(encoded.global_vectors)[None],
            each.local_vectors.swapaxes(0, 1).reshape(1, -1, self.encoding.dim)[:, :M],
            each.members.swapaxes(0, 1).reshape(1, -1, self.encoding.patches)[:, :M],
        )

    def views(self, image: Image.Image) -> np.ndarray:
        """Return what the student sees of an image: (V, H, W, 3)."""
        return images.to_views(Decoded(image, PhotoFacts(*image.size, "PNG")), self.spec)

    def _single(self, image: Image.Image, spec: ImageSpec) -> PhotoVectors:
        pixels = images.to_pixels(image, spec)[None]
        return pool(self.encoder.encode(pixels), self.encoding)


WAYS: dict[str, Callable[[Ways, Image.Image], PhotoVectors]] = {
    "squashed": Ways.squashed,
    "cropped": Ways.cropped,
    "views, mean": Ways.mean,
    "views, best": Ways.best,
}


class Ranking:
    """Ranks an image for a label among the photos of a dataset."""

    def __init__(self, ways: Ways, labels: Vector, encoded: Encoded) -> None:
        """Score all photos (N, L)."""
        self.labels, self.k = labels, ways.encoding.top_k
        self.scores = rank(labels, pool(encoded, ways.encoding), self.k).fused

    def of(self, vectors: PhotoVectors, label: int, among: list[int]) -> int:
        """Return the rank of an image for a label among some photos; 1 is first."""
        own = rank(self.labels[label, None], vectors, self.k).fused[0, 0]
        return 1 + int((self.scores[among, label] > own).sum())


def cases(dataset: Dataset, each: int) -> Iterator[tuple[int, int]]:
    """Yield labels and photos that show them, `each` of a label."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(dataset.names):
        for photo in rng.permutation(dataset.showing(name))[:each]:
            yield label, int(photo)


def measure(
    ways: Ways, ranking: Ranking, dataset: Dataset, kind: str, aspect: int, each: int
) -> tuple[list[int], dict[str, list[int]], dict[str, list[float]]]:
    """Return the ranks of the squares, and of the panoramas by way.

    The last are the ranks for labels that a panorama does not show, as fractions of the photos.
    """
    rng = np.random.default_rng(aspect)
    squares: list[int] = []
    shown: dict[str, list[int]] = {name: [] for name in WAYS}
    others: dict[str, list[float]] = {name: [] for name in WAYS}
    for label, photo in cases(dataset, each):
        image = square(dataset.folder / dataset.files[photo])
        rest = [i for i in range(len(dataset.files)) if i != photo]
        without = [i for i in rest if i not in dataset.showing(dataset.names[label])]
        if kind == "joined":
            parts = [square(dataset.folder / dataset.files[i]) for i in rng.choice(without, aspect)]
            parts[int(rng.integers(aspect))] = image
            strip = joined(parts)
        else:
            strip = alone(image, aspect, rng)
        squares.append(ranking.of(ways.squashed(image), label, rest))
        for name, way in WAYS.items():
            vectors = way(ways, strip)
            shown[name].append(ranking.of(vectors, label, rest))
            for other, missing in enumerate(dataset.names):
                if kind == "alone" and missing not in dataset.labels[dataset.files[photo]]:
                    lacking = sorted(set(rest) - set(dataset.showing(missing)))
                    others[name].append(ranking.of(vectors, other, lacking) / len(lacking))
    return squares, shown, others


def cost(ways: Ways, table: Table) -> None:
    """Add the milliseconds and the views of photos of several shapes, on this machine."""
    rng = np.random.default_rng(0)
    for name, size in (("3:2", (1536, 1024)), ("3:1", (3072, 1024)), ("8:1", (8192, 1024))):
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
        steps = [
            fastest(lambda image=image: ways.views(image)),  # type: ignore[misc]
            fastest(lambda image=image: ways.best(image)),  # type: ignore[misc]
        ]
        table.row(name, len(ways.views(image)), steps[0], steps[1] - steps[0])


def fastest(step: Callable[[], object]) -> float:
    """Return the milliseconds of the fastest of some runs."""
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main() -> None:
    """Read the options, measure, and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with voc300/")
    parser.add_argument("--model", required=True, help="a checkpoint folder with a label table")
    parser.add_argument("--each", type=int, default=8, help="photos of each label")
    add_json_option(parser)
    given = parser.parse_args()
    dataset, model, results = read_dataset(given.data), open_model(given.model), Results(given.json)
    ways = Ways(model, model.photo_encoder())
    encoded = encode_all(model, [dataset.folder / file for file in dataset.files])
    ranking = Ranking(ways, model.label_encoder().encode(dataset.names), encoded)
    results.fact("photos", len(dataset.files))
    results.fact("labels", len(dataset.names))
    results.fact("panoramas of a kind", sum(1 for _ in cases(dataset, given.each)))
    columns = {"panorama": "", "aspect": "", "square": ".1f", **dict.fromkeys(WAYS, ".1f")}
    ranks = results.table("ranks", columns)
    shares = dict.fromkeys(WAYS, ".0%")
    tenths = results.table("first tenth", {"panorama": "", "aspect": "", **shares})
    missing = results.table("missing", {"aspect": "", **shares})
    for kind in ("joined", "alone"):
        for aspect in ASPECTS:
            squares, shown, others = measure(ways, ranking, dataset, kind, aspect, given.each)
            name = f"{aspect}:1"
            medians = [float(np.median(shown[way])) for way in WAYS]
            ranks.row(kind, name, float(np.median(squares)), *medians)
            tenth = len(dataset.files) / 10
            in_it = np.array(squares) <= tenth
            kept = [float(np.mean(np.array(shown[way])[in_it] <= tenth)) for way in WAYS]
            tenths.row(kind, name, *kept)
            if kind == "alone":
                missing.row(name, *(float(np.mean(others[way])) for way in WAYS))
    cost(ways, results.table("cost", {"photo": "", "views": "", "resize ms": ".1f", "ms": ".1f"}))
    results.save()


if __name__ == "__main__":
    main()
