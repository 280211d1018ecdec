"""NUS-WIDE in the layout of the published code of MKT and BiAM (https://github.com/akshitac8/BiAM).

    ROOT/Flickr/actor/0001_2124494179.jpg     the photos
    ROOT/img_names.pkl, test_img_names.pkl    {"img_names": ["actor_0001_2124494179.jpg", ...]}
    ROOT/Concepts925.txt, Concepts81.txt      seen and unseen labels, one a line
    ROOT/features/nus_wide_train.h5           NAME-labels (seen)
    ROOT/features/nus_wide_test.h5            NAME-labels (seen, then unseen), NAME-labels_81

NUS-WIDE has 1,000 tags and 81 concepts. The 75 tags that are also concepts are not seen labels,
which leaves 925. Values are +1, -1 and 0. The unseen labels of a training photo are unknown, unless
the file has its NAME-labels_81.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mkt_search.datasets.dataset import STEP, PhotoDataset, Targets, unknown_targets
from mkt_search.datasets.files import names_on_disk, read_text, require_folder
from mkt_search.datasets.pickles import read_pickle
from mkt_search.datasets.split import LabelSplit, PhotoSplit, PublishedDataset
from mkt_search.display import count_noun, first_few
from mkt_search.errors import DatasetError
from mkt_search.progress import Progress, ProgressCallback, no_progress

SEEN_FILE, UNSEEN_FILE = "Concepts925.txt", "Concepts81.txt"
NAME_FILES = {"train": "img_names.pkl", "test": "test_img_names.pkl"}
PHOTO_NAME = re.compile(r"[^/\\._][^/\\]*_[^/\\_]+_[^/\\_]+")  # FOLDER_NUMBER_ID.jpg


def read_nus_wide(root: Path, progress: ProgressCallback = no_progress) -> PublishedDataset:
    """Read NUS-WIDE with its own splits of photos and labels. Photos not on disk are left out.

    Args:
        root: the folder of the dataset.
        progress: receives remarks about photos left out and about conflicting labels.

    Raises:
        DatasetError: a file is missing or malformed; the text says which.
    """
    require_folder(root)
    seen, unseen = (read_concepts(root / file) for file in (SEEN_FILE, UNSEEN_FILE))
    both = sorted(set(seen) & set(unseen))
    if both:
        raise DatasetError(
            f"{root / SEEN_FILE} and {root / UNSEEN_FILE} share"
            f" {count_noun(len(both), 'label')}: {first_few(both)}. The seen labels are the 1,000"
            " tags without those that are concepts; take them out."
        )
    names = {part: _on_disk(root, file, progress) for part, file in NAME_FILES.items()}
    twice = sorted(set(names["train"]) & set(names["test"]))
    if twice:
        raise DatasetError(
            f"{NAME_FILES['train']} and {NAME_FILES['test']} of {root} share"
            f" {count_noun(len(twice), 'photo')}: {first_few(twice)}. Take them out of the first."
        )
    targets = unknown_targets(sum(map(len, names.values())), len(seen) + len(unseen))
    count = len(names["train"])
    _fill_train(root, names["train"], targets[:count], len(seen))
    _fill_test(root, names["test"], targets[count:], len(seen), progress)
    files = tuple(path_of(name) for part in names.values() for name in part)
    train, test = np.arange(count), np.arange(count, len(files))
    return PublishedDataset(
        PhotoDataset(root, files, (*seen, *unseen), targets),
        PhotoSplit(train, train[:0], test),
        LabelSplit(seen, unseen),
    )


def path_of(name: str) -> str:
    """Return the path of a photo: "actor_0001_2124.jpg" is "Flickr/actor/0001_2124.jpg"."""
    *folder, number, photo = name.split("_")
    return f"Flickr/{'_'.join(folder)}/{number}_{photo}"


def read_concepts(file: Path) -> tuple[str, ...]:
    """Read labels, one per line; in a line with tabs the label follows the last one.

    Raises:
        DatasetError: a line is empty, or a label occurs twice.
    """
    lines = [line.split("\t")[-1].strip() for line in read_text(file).splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DatasetError(f"{file} names no labels.")
    for number, label in enumerate(lines, start=1):
        if not label:
            raise DatasetError(f"{file}:{number}: the line is empty; each line must name a label.")
        if label in lines[: number - 1]:
            raise DatasetError(f"{file}:{number}: {label!r} occurs twice.")
    return tuple(lines)


def read_names(file: Path) -> list[str]:
    """Read the photo names in a pickle, in its order.

    Raises:
        DatasetError: the pickle holds anything else.
    """
    content = read_pickle(file)
    names = content.get("img_names") if isinstance(content, dict) else None
    if not isinstance(names, list) or not names:
        raise DatasetError(f'{file} must hold {{"img_names": [photo names]}}.')
    for name in names:
        if not isinstance(name, str) or not PHOTO_NAME.fullmatch(name):
            raise DatasetError(
                f"{file}: {name!r} is not a photo name; expected FOLDER_NUMBER_ID.jpg."
            )
    if len(set(names)) < len(names):
        raise DatasetError(f"{file} names a photo twice.")
    return [str(name) for name in names]


def _on_disk(root: Path, file: str, progress: ProgressCallback) -> list[str]:
    names = {path_of(name): name for name in read_names(root / file)}
    return names_on_disk(root, names, named_by=root / file, progress=progress)


def _fill_train(root: Path, names: Sequence[str], targets: Targets, seen: int) -> None:
    """Fill the targets of the training photos, of unseen labels too where the file has them."""
    file = root / "features" / "nus_wide_train.h5"
    with _open_labels(file) as labels_of:
        for row, name in zip(targets, names, strict=True):
            row[:seen] = labels_of(f"{name}-labels", seen)
            unseen = labels_of(f"{name}-labels_81", len(row) - seen, is_optional=True)
            if unseen is not None:
                row[seen:] = unseen
    if not (targets[:, :seen] < 0).any():
        raise DatasetError(f"{file} has no -1: no label is known to be absent from any photo.")


def _fill_test(
    root: Path, names: Sequence[str], targets: Targets, seen: int, progress: ProgressCallback
) -> None:
    """Fill the targets of the test photos. NAME-labels_81 decides on the unseen labels."""
    file = root / "features" / "nus_wide_test.h5"
    differing = []
    with _open_labels(file) as labels_of:
        for row, name in zip(targets, names, strict=True):
            row[:] = labels_of(f"{name}-labels", len(row))
            unseen = labels_of(f"{name}-labels_81", len(row) - seen)
            if not np.array_equal(row[seen:], unseen):
                differing.append(name)
                row[seen:] = unseen
    if differing:
        sentence = (
            f"{file}: -labels and -labels_81 differ in the unseen labels of"
            f" {count_noun(len(differing), 'photo')}; -labels_81 is used: {first_few(differing)}"
        )
        progress(Progress(STEP, message=sentence))


@contextmanager
def _open_labels(file: Path) -> Iterator[Callable[..., Any]]:
    """Open an HDF5 file and yield a function that reads one array of +1, -1 and 0 from it."""
    try:
        import h5py
    except ImportError as error:
        raise DatasetError(
            "reading NUS-WIDE needs h5py; install the extra `datasets`:"
            ' pip install "mkt-search[datasets]"'
        ) from error
    if not file.is_file():
        raise DatasetError(f"{file} is missing; it holds the labels of the photos.")
    try:
        arrays = h5py.File(file, "r")
    except OSError as error:
        raise DatasetError(f"{file} is not an HDF5 file, or is damaged: {error}.") from error

    def labels_of(key: str, count: int, *, is_optional: bool = False) -> NDArray[Any] | None:
        if is_optional and key not in arrays:
            return None
        return _labels(arrays.get(key), f"{file}: {key}", count)

    with arrays:
        yield labels_of


def _labels(array: Any, where: str, count: int) -> NDArray[Any]:
    if array is None:
        raise DatasetError(f"{where} is missing; every named photo needs its labels.")
    if not hasattr(array, "shape"):
        raise DatasetError(f"{where} is a group, not an array.")
    try:
        values = np.asarray(array[()])  # (count,)
    except OSError as error:  # a damaged chunk
        raise DatasetError(f"{where} cannot be read: {error}.") from error
    if values.shape != (count,):
        raise DatasetError(
            f"{where} has the shape {values.shape}, expected ({count},): one value for each"
            f" label of {SEEN_FILE} and, for a test photo, {UNSEEN_FILE}."
        )
    if values.dtype.kind not in "iuf" or not np.isin(values, (-1, 0, 1)).all():
        raise DatasetError(f"{where} has values other than 1, 0 and -1.")
    return values
