"""Write scenes of the demo world: as photos with labels, or as arrays to train on."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mkt_search.demo.scenes.world import LABELS, Scene, draw_scene
from mkt_search.files import write_atomically
from mkt_search.progress import Progress, ProgressCallback, no_progress

T = TypeVar("T")

TEST_SEED = 10_000_000  # seeds from here on are never trained on
LIBRARY_SEED = 20_000_000
LABELS_FILE, SPLITS_FILE = "labels.json", "splits.json"
JPEG_QUALITY = 92
SCENES_PER_TASK = 16  # of a worker process
MAX_SCENES_IN_ONE_PROCESS = 256  # rendered sooner than other processes would start
STEP = "rendering scenes"


def write_photos(
    folder: Path, seeds: Sequence[int], *, side: int, progress: ProgressCallback = no_progress
) -> dict[str, list[str]]:
    """Render scenes as JPEGs of `side` x `side` pixels, and return file name -> labels.

    An existing file is kept, since a seed always renders to the same photo.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [seed for seed in seeds if not (folder / photo_name(seed)).exists()]
    for done, _ in enumerate(_in_parallel(partial(_write_photo, folder, side), missing), 1):
        progress(Progress(STEP, len(seeds) - len(missing) + done, len(seeds)))
    return {photo_name(seed): list(draw_scene(seed).labels) for seed in seeds}


def write_dataset(
    folder: Path,
    *,
    train: int,
    test: int,
    side: int,
    progress: ProgressCallback = no_progress,
) -> None:
    """Render training and test photos, with labels.json and splits.json beside them."""
    seeds = [*range(train), *range(TEST_SEED, TEST_SEED + test)]
    labels = write_photos(folder / "photos", seeds, side=side, progress=progress)
    splits = {photo_name(seed): "test" if seed >= TEST_SEED else "train" for seed in seeds}
    for name, content in ((LABELS_FILE, labels), (SPLITS_FILE, splits)):
        write_atomically(folder / name, json.dumps(content, indent=0))


def photo_name(seed: int) -> str:
    """Return the file name of a scene's photo."""
    return f"scene-{seed:08d}.jpg"


def seeds_in(folder: Path) -> list[int]:
    """Return the seeds of the scenes whose photos are in a folder; other files are ignored."""
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    matches = (re.fullmatch(r"scene-(\d{8})\.jpg", name) for name in names)
    return sorted(int(match[1]) for match in matches if match)


def targets_of(scenes: Iterable[Scene], words: Sequence[str] = LABELS) -> NDArray[np.bool_]:
    """Return (N, W): which words describe each scene: its labels, and their colours and shapes."""
    column = {word: i for i, word in enumerate(words)}
    described = [{word for label in s.labels for word in (label, *label.split())} for s in scenes]
    rows = [[column[word] for word in found if word in column] for found in described]
    targets = np.zeros((len(rows), len(words)), np.bool_)
    for row, columns in enumerate(rows):
        targets[row, columns] = True
    return targets


def pixels(
    path: Path,
    seeds: Sequence[int],
    *,
    side: int,
    close_up: bool,
    progress: ProgressCallback = no_progress,
) -> NDArray[np.uint8]:
    """Return rendered scenes (N, side, side, 3) uint8, memory-mapped from a file written once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (len(seeds), side, side, 3)
        with _renamed_when_done(path) as temporary:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
            for row, image in enumerate(_in_parallel(partial(_pixels, side, close_up), seeds)):
                array[row] = image
                progress(Progress(STEP, row + 1, len(seeds)))
            array.flush()
    images: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    return images


def _write_photo(folder: Path, side: int, seed: int) -> None:
    from mkt_search.demo.scenes.render import render

    image = render(draw_scene(seed), side)
    with _renamed_when_done(folder / photo_name(seed)) as temporary:
        image.save(temporary, "JPEG", quality=JPEG_QUALITY, subsampling=0)


def _pixels(side: int, close_up: bool, seed: int) -> NDArray[np.uint8]:
    from mkt_search.demo.scenes.render import render

    return np.asarray(render(draw_scene(seed, close_up=close_up), side))


@contextmanager
def _renamed_when_done(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` at the end, or delete it after an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _in_parallel(work: Callable[[int], T], seeds: Sequence[int]) -> Iterator[T]:
    """Yield the result of `work` for each seed, in order."""
    if len(seeds) <= MAX_SCENES_IN_ONE_PROCESS:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(
        mp_context=get_context("spawn"),
        initializer=signal.signal,  # this process handles Ctrl-C and ends the others
        initargs=(signal.SIGINT, signal.SIG_IGN),
    ) as workers:
        yield from workers.map(work, seeds, chunksize=SCENES_PER_TASK)
