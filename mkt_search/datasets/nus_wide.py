"""NUS-WIDE as MKT's and BiAM's published code expects it (https://github.com/akshitac8/BiAM).

    ROOT/Flickr/actor/0001_2124494179.jpg     the photos
    ROOT/img_names.pkl, test_img_names.pkl    {"img_names": ["actor_0001_2124494179.jpg", ...]}
    ROOT/Concepts925.txt, Concepts81.txt      seen and unseen labels, one a line
    ROOT/features/nus_wide_train.h5           NAME-labels (seen)
    ROOT/features/nus_wide_test.h5            NAME-labels (seen, then unseen), NAME-labels_81

Of the 1,000 tags of NUS-WIDE the 75 that are among its 81 concepts are no seen labels, which leaves
925. Values are +1, -1 and 0. What a training photo shows of the unseen labels is unknown, unless
the file has NAME-labels_81 for it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.datasets.dataset import PhotoDataset, Targets, all_unknown
from mkt_search.datasets.files import keep_there, read_text, require_folder
from mkt_search.datasets.pickles import read_pickle
from mkt_search.datasets.split import LabelSplit, PhotoSplit, Published
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError

SEEN, UNSEEN = "Concepts925.txt", "Concepts81.txt"
NAMES = {"train": "img_names.pkl", "test": "test_img_names.pkl"}
NAME = re.compile(r"[^/\\._][^/\\]*_[^/\\_]+_[^/\\_]+")  # FOLDER_NUMBER_ID.jpg
Say = Callable[[str], None]


def read_nus_wide(root: Path, say: Say = lambda sentence: None) -> Published:
    """Read NUS-WIDE with its own split of photos and of labels. Photos not on disk are left out.

    Raises:
        DatasetError: a file is missing or cannot be understood; the text says which.
    """
    require_folder(root)
    seen, unseen = (read_concepts(root / file) for file in (SEEN, UNSEEN))
    both = sorted(set(seen) & set(unseen))
    if both:
        raise DatasetError(
            f"{count_noun(len(both), 'label')} of {root / UNSEEN} also in {root / SEEN}: "
            f"{first_few(both)}. The seen"
            " labels are the 1,000 tags without those that are concepts; take them out."
        )
    names = {part: _on_disk(root, file, say) for part, file in NAMES.items()}
    twice = sorted(set(names["train"]) & set(names["test"]))
    if twice:
        raise DatasetError(
            f"{count_noun(len(twice), 'photo')} both in {NAMES['train']} and in {NAMES['test']} "
            f"of {root}: {first_few(twice)}. Take them out of the first."
        )
    targets = all_unknown(sum(map(len, names.values())), len(seen) + len(unseen))
    count = len(names["train"])
    _fill_train(root, names["train"], targets[:count], len(seen))
    _fill_test(root, names["test"], targets[count:], len(seen), say)
    files = tuple(path_of(name) for part in names.values() for name in part)
    train, test = np.arange(count), np.arange(count, len(files))
    return Published(
        PhotoDataset(root, files, (*seen, *unseen), targets),
        PhotoSplit(train, train[:0], test),
        LabelSplit(seen, unseen),
    )


def path_of(name: str) -> str:
    """Return where a photo lies: "actor_0001_2124.jpg" is "Flickr/actor/0001_2124.jpg"."""
    *folder, number, photo = name.split("_")
    return f"Flickr/{'_'.join(folder)}/{number}_{photo}"


def read_concepts(file: Path) -> tuple[str, ...]:
    """Return the labels of a file, one a line; of a line with tabs, what follows the last one."""
    lines = [line.split("\t")[-1].strip() for line in read_text(file).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DatasetError(f"{file} names no labels.")
    for number, label in enumerate(lines, start=1):
        if not label:
            raise DatasetError(f"{file}:{number}: the line is empty; each must name a label.")
        if label in lines[: number - 1]:
            raise DatasetError(f"{file}:{number}: {label!r} is there twice.")
    return tuple(lines)


def read_names(file: Path) -> list[str]:
    """Return the photo names of a pickle, in its order."""
    said = read_pickle(file)
    names = said.get("img_names") if isinstance(said, dict) else None
    if not isinstance(names, list) or not names:
        raise DatasetError(f'{file} must hold {{"img_names": [names of photos]}}.')
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise DatasetError(f"{file}: {name!r} is no photo name; expected FOLDER_NUMBER_ID.jpg.")
    if len(set(names)) < len(names):
        raise DatasetError(f"{file} names a photo twice.")
    return [str(name) for name in names]


def _on_disk(root: Path, file: str, say: Say) -> list[str]:
    names = read_names(root / file)
    return keep_there(root, {path_of(name): name for name in names}, named_by=root / file, say=say)


def _fill_train(root: Path, names: Sequence[str], targets: Targets, seen: int) -> None:
    """Fill the rows of the training photos; what the file says of unseen labels is kept too."""
    file = root / "features" / "nus_wide_train.h5"
    with _opened(file) as labels_of:
        for row, name in zip(targets, names, strict=True):
            row[:seen] = labels_of(f"{name}-labels", seen)
            further = labels_of(f"{name}-labels_81", len(row) - seen, is_optional=True)
            if further is not None:
                row[seen:] = further
    if not (targets[:, :seen] < 0).any():
        raise DatasetError(f"{file} has no -1: no label is known to be absent from any photo.")


def _fill_test(root: Path, names: Sequence[str], targets: Targets, seen: int, say: Say) -> None:
    """Fill the rows of the test photos. NAME-labels_81 decides on the unseen labels."""
    file = root / "features" / "nus_wide_test.h5"
    differing = []
    with _opened(file) as labels_of:
        for row, name in zip(targets, names, strict=True):
            row[:] = labels_of(f"{name}-labels", len(row))
            further = labels_of(f"{name}-labels_81", len(row) - seen)
            if not np.array_equal(row[seen:], further):
                differing.append(name)
                row[seen:] = further
    if differing:
        say(
            f"{file}: {count_noun(len(differing), 'photo')} with other unseen labels in -labels"
            f" than in -labels_81, which is taken: {first_few(differing)}"
        )


@contextmanager
def _opened(file: Path) -> Iterator[Callable[..., Any]]:
    """Open an HDF5 file and give the function that reads one array of +1, -1 and 0 from it."""
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(
            "reading NUS-WIDE needs h5py; install the extra `datasets`:"
            ' pip install "mkt-search[datasets]"'
        ) from error
    if not file.is_file():
        raise DatasetError(f"cannot read {file}: No such file. It holds the labels of the photos.")
    try:
        opened = h5py.File(file, "r")
    except OSError as error:
        raise DatasetError(f"{file} is no HDF5 file, or is damaged: {error}.") from error

    def labels_of(key: str, count: int, *, is_optional: bool = False) -> NDArray[Any] | None:
        if is_optional and key not in opened:
            return None
        return _labels(opened.get(key), f"{file}: {key}", count)

    with opened:
        yield labels_of


def _labels(found: Any, place: str, count: int) -> NDArray[Any]:
    if found is None:
        raise DatasetError(f"{place} is not there; every photo that is named needs its labels.")
    if not hasattr(found, "shape"):
        raise DatasetError(f"{place} is a group, no array.")
    try:
        values = np.asarray(found[()])
    except OSError as error:  # a damaged chunk
        raise DatasetError(f"{place} cannot be read: {error}.") from error
    if values.shape != (count,):
        raise DatasetError(
            f"{place} has the shape {values.shape}, expected {count} values, one for each label of"
            f" {SEEN} and, for a test photo, {UNSEEN}."
        )
    if values.dtype.kind not in "iuf" or not np.isin(values, (-1, 0, 1)).all():
        raise DatasetError(f"{place} has values other than 1, 0 and -1.")
    return values
