"""Which sidecar belongs to which photo.

Two schemes of names are in use: `photo.jpg.xmp` (digiKam, darktable, Immich) and `photo.xmp`
(Adobe). In the second, `IMG_1.CR2` and `IMG_1.JPG` share a name: the sidecar is the RAW file's, as
Adobe's programs write into a JPEG itself. Where that does not decide, it belongs to no photo.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePath

from mkt_search.photos.formats import RAW_SUFFIXES, SUFFIXES

SUFFIX = ".xmp"


def is_sidecar(name: str) -> bool:
    """Return True for the name of a sidecar, in any case."""
    return PurePath(name).suffix.lower() == SUFFIX


def find_sidecars(photo: Path) -> list[Path]:
    """Return the sidecars of a photo, `photo.jpg.xmp` first.

    Raises:
        OSError: its folder cannot be read.
    """
    return sidecars_in(photo.parent).get(photo.name, [])


def sidecars_in(folder: Path) -> dict[str, list[Path]]:
    """Return the sidecars of the photos in a folder by file name, `photo.jpg.xmp` first.

    Photos without a sidecar are left out, and so are folders and pipes that are named like one.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_file()]
    return {photo: [folder / sidecar for sidecar in found] for photo, found in pair(names).items()}


def pair(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the sidecars of photos, given the names of all files of one folder."""
    by_stem: dict[str, list[str]] = defaultdict(list)
    sidecars = []
    for name in sorted(names):
        path = PurePath(name)
        if path.suffix.lower() == SUFFIX:
            sidecars.append((name, path.stem))
        elif path.suffix.lower() in SUFFIXES:
            by_stem[path.stem].append(name)
    photos = {photo for found in by_stem.values() for photo in found}
    pairs: dict[str, list[str]] = defaultdict(list)
    for name, of in sidecars:
        if of in photos:
            pairs[of].insert(0, name)
        elif (owner := owner_of_stem(by_stem.get(of, ()))) is not None:
            pairs[owner].append(name)
    return dict(pairs)


def owner_of_stem(photos: Iterable[str]) -> str | None:
    """Return which of the photos with one stem `stem.xmp` belongs to, None if that is not clear."""
    names = list(photos)
    raw = [name for name in names if PurePath(name).suffix.lower() in RAW_SUFFIXES]
    candidates = raw or names
    return candidates[0] if len(candidates) == 1 else None
