"""Are edits distinguished from other photos? The miniatures of `photos/miniature.py` on real ones.

    python benchmarks/miniatures.py --data ../shared/data --json benchmarks/results/miniatures.json

The threshold is chosen on VOC and on some of Corel-5k's train photos; the rest have no part in
that and are only reported. Another photo is one at random, one of the same series of a hundred
(Corel), or one of the five most alike of the collection by the gradients of the whole photo.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance
from results import Results, add_json_option

from mkt_search.photos.miniature import SAME_FROM, miniature, similarity

THRESHOLDS = (0.7, 0.75, 0.8, 0.82, 0.85, 0.88, 0.9)
ALIKE, IN_SERIES, RANDOM = 5, 3, 2  # other photos for each photo
CHOSEN_ON = 2_000  # of Corel's train photos
WHOLE_SIDE = 24  # pixels, of the photos that are compared as a whole
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


def exposed(stops: float) -> Edit:
    """Return the edit that changes the exposure, in linear light."""
    table = [min(255, round(255 * ((v / 255) ** 2.2 * 2**stops) ** (1 / 2.2))) for v in range(256)]
    return lambda image, _: image.point(table * 3)


def cropped(share: float) -> Edit:
    """Return the edit that keeps a share of both sides, somewhere."""

    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = round(image.width * share), round(image.height * share)
        left = int(rng.integers(image.width - width + 1))
        top = int(rng.integers(image.height - height + 1))
        return image.crop((left, top, left + width, top + height))

    return edit


def recoded(quality: int, scale: float = 1) -> Edit:
    """Return the edit that writes a JPEG, perhaps smaller."""

    def edit(image: Image.Image, _: np.random.Generator) -> Image.Image:
        size = (round(image.width * scale), round(image.height * scale))
        buffer = io.BytesIO()
        image.resize(size).save(buffer, "JPEG", quality=quality)
        return Image.open(buffer).convert("RGB")

    return edit


def square(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Return the square in the middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def straightened(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Return a photo turned by two degrees, without the corners."""
    margin = round(0.04 * min(image.size))
    box = (margin, margin, image.width - margin, image.height - margin)
    return image.rotate(2, Image.Resampling.BICUBIC).crop(box)


def captioned(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Return a photo with a black bar over its lowest tenth."""
    edited = image.copy()
    box = (0, round(0.9 * image.height), image.width, image.height)
    ImageDraw.Draw(edited).rectangle(box, "black")
    return edited


def warmed(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Return a photo with more red and less blue."""
    red, green, blue = image.split()
    parts = (red.point(lambda v: v * 1.15), green, blue.point(lambda v: v * 0.8))
    return Image.merge("RGB", parts)


EDITS: dict[str, Edit] = {
    "JPEG of quality 30": recoded(30),
    "half the size": recoded(85, 0.5),
    "exposure + 1": exposed(1),
    "exposure - 1": exposed(-1),
    "contrast x 1.5": lambda image, _: ImageEnhance.Contrast(image).enhance(1.5),
    "black and white": lambda image, _: image.convert("L").convert("RGB"),
    "warmer": warmed,
    "caption": captioned,
    "turned by 90 degrees": lambda image, _: image.transpose(Image.Transpose.ROTATE_90),
    "straightened by 2 degrees": straightened,
    "crop to 90 % of the sides": cropped(0.9),
    "crop to 75 %": cropped(0.75),
    "crop to 60 %": cropped(0.6),
    "crop to a square": square,
    "crop to 80 %, exposure + 1": lambda image, rng: exposed(1)(cropped(0.8)(image, rng), rng),
}


@dataclass
class Photos:
    """A collection: the photos to edit, and all miniatures among which others are chosen."""

    name: str
    files: list[Path]
    others: list[Path]


def collections(data: Path, limit: int) -> Iterator[Photos]:
    """Yield VOC, and two parts of Corel-5k's train photos; at most `limit` of each are edited."""
    voc = sorted((data / "voc300" / "images").iterdir())
    yield Photos("VOC", voc[:limit], voc)
    corel = data / "corel5k"
    splits = json.loads((corel / "splits.json").read_text())
    train = [corel / "images" / name for name in sorted(splits) if splits[name] == "train"]
    mixed = [train[i] for i in np.random.default_rng(0).permutation(len(train))]
    chosen_on, rest = mixed[:CHOSEN_ON], mixed[CHOSEN_ON:]
    yield Photos("Corel", chosen_on[:limit], chosen_on)
    yield Photos("Corel, reported only", rest[:limit], rest)


def whole(path: Path) -> NDArray[np.float32]:
    """Return the gradients of a whole photo as a vector of length 1."""
    image = Image.open(path)
    image.draft("L", (2 * WHOLE_SIDE, 2 * WHOLE_SIDE))
    gray = image.convert("L").resize((WHOLE_SIDE, WHOLE_SIDE), Image.Resampling.BOX)
    down, right = np.gradient(np.asarray(gray, np.float32))
    gradients = np.concatenate([down.ravel(), right.ravel()]).astype(np.float32)
    length = np.float32(max(float(np.linalg.norm(gradients)), 1e-6))
    return np.asarray(gradients / length, np.float32)


@cache
def of_file(path: Path) -> bytes:
    """Return the miniature of a photo."""
    return miniature(Image.open(path).convert("RGB"))


def edits_of(photos: Photos) -> dict[str, NDArray[np.float64]]:
    """Return the similarity of every photo to each of its edits."""
    rng = np.random.default_rng(1)
    found: dict[str, list[float]] = {name: [] for name in EDITS}
    for path in photos.files:
        image = Image.open(path).convert("RGB")
        before = miniature(image)
        for name, edit in EDITS.items():
            found[name].append(similarity(before, miniature(edit(image, rng))))
    return {name: np.array(values) for name, values in found.items()}


def others_of(photos: Photos) -> dict[str, NDArray[np.float64]]:
    """Return the similarity of every photo to others: at random, of its series, most alike."""
    rng = np.random.default_rng(2)
    features = np.stack([whole(path) for path in photos.others])
    place = {path: i for i, path in enumerate(photos.others)}
    found: dict[str, list[float]] = {"random": [], "same series": [], "most alike": []}

    def compare(kind: str, path: Path, chosen: Sequence[Path]) -> None:
        found[kind] += [similarity(of_file(path), of_file(c)) for c in chosen if c != path]

    for path in photos.files:
        compare("random", path, _some(photos.others, RANDOM, rng))
        series = [p for p in photos.others if p.stem[:-2] == path.stem[:-2] and p != path]
        if path.stem.isdigit() and series:
            compare("same series", path, _some(series, IN_SERIES, rng))
        order = np.argsort(-(features @ features[place[path]]))[: ALIKE + 1]
        compare("most alike", path, [photos.others[i] for i in order])
    return {name: np.array(values) for name, values in found.items() if values}


def _some(photos: Sequence[Path], count: int, rng: np.random.Generator) -> list[Path]:
    return [photos[i] for i in rng.integers(len(photos), size=count)]


def main() -> None:
    """Measure and print; save with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with voc300 and corel5k")
    parser.add_argument("--limit", type=int, default=200, help="edited photos of each collection")
    add_json_option(parser)
    given = parser.parse_args()
    results = Results(given.json)
    start, count = time.perf_counter(), 0
    edits, others = {}, {}
    for photos in collections(given.data, given.limit):
        edits[photos.name], others[photos.name] = edits_of(photos), others_of(photos)
        count += sum(map(len, [*edits[photos.name].values(), *others[photos.name].values()]))
    milliseconds = (time.perf_counter() - start) / count * 1e3

    names = list(edits)
    shares = dict.fromkeys(names, ".3f")
    table = results.table("thresholds", {"threshold": ".2f", "": "", **shares})
    for threshold in THRESHOLDS:
        same = (np.mean(np.concatenate([*edits[n].values()]) >= threshold) for n in names)
        table.row(threshold, "edits recognized", *map(float, same))
        taken = (np.mean(others[n]["most alike"] >= threshold) for n in names)
        table.row(threshold, "most alike others taken for edits", *map(float, taken))
    table = results.table("edits", {"edit": "", **shares})
    for name in EDITS:
        table.row(name, *(float(np.mean(edits[n][name] >= SAME_FROM)) for n in names))
    table = results.table("others", {"other photo": "", **dict.fromkeys(names, ".4f")})
    for kind in ("random", "same series", "most alike"):
        cells = [others[n].get(kind) for n in names]
        table.row(kind, *(None if c is None else float(np.mean(c >= SAME_FROM)) for c in cells))
    results.fact("threshold", SAME_FROM, ".2f")
    results.fact("ms a pair", milliseconds, ".1f")
    results.save()


if __name__ == "__main__":
    main()
