"""Plans: which photos to encode, in shards, and how. They are made once and never change.

plan.json            the folder of the photos, the model, the encoding, the number of shards
lists/000000.json    the photos of a shard: paths relative to the folder
done/000000.json     what a worker found, see `shard`
segments/            its vectors
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from indexer.walk import modified_ns
from mkt_search.errors import PlanError
from mkt_search.files import read_text, write_atomically
from mkt_search.paths import path_to_text, text_to_path
from mkt_search.photos.decode import MAX_PIXELS
from mkt_search.store.manifest import StoredEncoding
from mkt_search.types import Encoding, PhotoFile

FORMAT = 1
FILE, LISTS, DONE, SEGMENTS, LOCKS = "plan.json", "lists", "done", "segments", "locks"
PHOTOS_A_SHARD = 2_000
"""A worker that is killed loses at most so many."""
MAX_SHARDS = 1_000_000
MAX_BYTES = 1 << 28  # of a list or a record


@dataclass(frozen=True)
class ShardPlan:
    """A plan in a folder.

    `photos` and `shards` are counts; `root` is the folder of the photos, which other machines may
    have elsewhere; `model` is the name of the model where the plan was made.
    """

    folder: Path
    root: Path
    model: str
    encoding: Encoding
    photos: int
    shards: int
    max_pixels: int = MAX_PIXELS

    @property
    def stored(self) -> StoredEncoding:
        """The encoding as a library would have it."""
        return StoredEncoding(0, self.encoding, self.model, "building")

    @property
    def segments(self) -> Path:
        """The folder of the vectors."""
        return self.folder / SEGMENTS

    def record(self, shard: int) -> Path:
        """Return the record of a shard; it is done if this file exists."""
        return self.folder / DONE / _file_name(shard)

    def lock(self, shard: int) -> Path:
        """Return the lock file of a shard that is being encoded."""
        return self.folder / LOCKS / f"{shard:06}.lock"

    def is_done(self, shard: int) -> bool:
        """Return True if a shard is encoded."""
        return self.record(shard).exists()

    def missing(self) -> list[int]:
        """Return the shards that are not done, in order."""
        done = {path.name for path in _entries(self.folder / DONE)}
        return [shard for shard in range(self.shards) if _file_name(shard) not in done]

    def paths(self, shard: int) -> list[str]:
        """Return the photos of a shard: paths relative to the root, as text.

        Raises:
            PlanError: there is no such shard, or its list is damaged.
        """
        if not 0 <= shard < self.shards:
            raise PlanError(
                f"{self.folder} has no shard {shard}; its shards are 0 to {self.shards - 1}."
            )
        file = self.folder / LISTS / _file_name(shard)
        paths = read_json(file)
        if not isinstance(paths, list) or not all(map(is_inside, paths)):
            raise PlanError(f"{file}: not a list of paths inside the folder of the photos.")
        return paths

    def files(self, shard: int) -> Iterator[PhotoFile]:
        """Yield the photos of a shard that are on this machine, as files."""
        for path in self.paths(shard):
            absolute = self.root / text_to_path(path)
            try:
                status = os.stat(absolute)
            except OSError:
                continue
            yield PhotoFile(self.root, path, absolute, status.st_size, modified_ns(status))

    def at(self, root: Path) -> "ShardPlan":
        """Return the plan for a machine that has the photos in another folder."""
        return replace(self, root=root)


def write_plan(
    folder: Path,
    paths: Iterable[str],
    *,
    root: Path,
    model: str,
    encoding: Encoding,
    photos_a_shard: int = PHOTOS_A_SHARD,
    max_pixels: int = MAX_PIXELS,
) -> ShardPlan:
    """Write a plan; `plan.json` comes last, so a plan that was cut short is none.

    Args:
        folder: a new or empty folder.
        paths: of the photos, relative to `root`, as text; read as they are written.
        root: the folder of the photos.
        model: the name of the model to encode with.
        encoding: of the vectors.
        photos_a_shard: photos of each shard but the last.
        max_pixels: photos with more pixels fail.

    Raises:
        PlanError: the folder is not empty or cannot be written, or there are no photos.
    """
    if any(_entries(folder)):
        raise PlanError(f"{folder} is not empty; name a new folder for the plan.")
    rest = iter(paths)
    some = list(islice(rest, photos_a_shard))
    if not some:
        raise PlanError("There is nothing to encode: the library has all photos already.")
    photos = shards = 0
    try:
        for name in (LISTS, DONE, SEGMENTS, LOCKS):
            (folder / name).mkdir(parents=True)
        while some:
            write_atomically(folder / LISTS / _file_name(shards), json.dumps(some, indent=0))
            photos, shards = photos + len(some), shards + 1
            some = list(islice(rest, photos_a_shard))
        plan = ShardPlan(folder, root, model, encoding, photos, shards, max_pixels)
        facts = {
            "format": FORMAT,
            "root": path_to_text(root),
            "model": model,
            "encoding": encoding.as_settings(),
            "photos": photos,
            "shards": shards,
            "max_pixels": max_pixels,
        }
        write_atomically(folder / FILE, json.dumps(facts, indent=2))
    except OSError as error:
        raise PlanError(f"{folder}: the plan cannot be written ({error.strerror}).") from error
    return plan


def read_plan(folder: Path) -> ShardPlan:
    """Return the plan in a folder.

    Raises:
        PlanError: there is none, it is damaged, or another version made it.
    """
    file = folder / FILE
    if not file.is_file():
        raise PlanError(f"There is no plan in {folder}. Make one with `mkt encode plan`.")
    facts = read_json(file)
    try:
        if facts["format"] != FORMAT:
            raise PlanError(f"{file}: another version of mkt made this plan; make a new one.")
        plan = ShardPlan(
            folder,
            text_to_path(facts["root"]),
            str(facts["model"]),
            Encoding.from_settings(facts["encoding"]),
            int(facts["photos"]),
            int(facts["shards"]),
            int(facts["max_pixels"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{file}: damaged ({error!r}); make the plan again.") from error
    if not 0 < plan.shards <= MAX_SHARDS:
        raise PlanError(f"{file}: damaged ({plan.shards} shards); make the plan again.")
    return plan


def is_inside(path: object) -> bool:
    """Return True for the text of a relative path that stays inside its folder."""
    if not isinstance(path, str) or not path or "\0" in path:
        return False
    try:
        parts = PurePosixPath(text_to_path(path).as_posix()).parts
    except ValueError:
        return False
    return bool(parts) and parts[0] != "/" and ".." not in parts


def read_json(file: Path) -> Any:
    """Return the content of a file of a plan. Raises PlanError."""
    text = read_text(file, PlanError, at_most=MAX_BYTES)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{file}: damaged ({error}).") from error


def _file_name(shard: int) -> str:
    return f"{shard:06}.json"


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
