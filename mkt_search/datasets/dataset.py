"""Labeled photos: the files, and what each is known to show.

Every kind of dataset becomes a `PhotoDataset`; training and evaluation use nothing else.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mkt_search.errors import DatasetError

Targets = NDArray[np.int8]
Rows = NDArray[np.int64]
STEP = "dataset"  # the name of reading one in progress events


@dataclass(frozen=True)
class PhotoDataset:
    """N photos in a folder and what is known about L labels.

    `files` are relative to `folder`. `targets` (N, L) int8: +1 the photo shows the label, -1 it
    does not, 0 unknown; training and evaluation skip unknown entries.
    """

    folder: Path
    files: tuple[str, ...]
    labels: tuple[str, ...]
    targets: Targets

    def __len__(self) -> int:
        return len(self.files)

    def only(self, labels: Sequence[str]) -> "PhotoDataset":
        """Return the same photos with only these labels, in this order."""
        if tuple(labels) == self.labels:
            return self
        column = {label: i for i, label in enumerate(self.labels)}
        columns = [column[label] for label in labels]
        return replace(self, labels=tuple(labels), targets=self.targets[:, columns])

    def shown_by(self, rows: Rows, *, photos_per_block: int = 4096) -> NDArray[np.int64]:
        """Return (L,): how many of these photos show each label.

        Works in blocks of `photos_per_block` rows, so the targets are never copied whole.
        """
        counts = np.zeros(len(self.labels), np.int64)
        for start in range(0, len(rows), photos_per_block):
            counts += (self.targets[rows[start : start + photos_per_block]] > 0).sum(axis=0)
        return counts


@dataclass(frozen=True)
class Record:
    """What a dataset says about one photo.

    If `absent` is None, every label in neither `shows` nor `unknown` is absent; otherwise such a
    label is unknown.
    """

    file: str
    shows: tuple[str, ...]
    absent: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()


def targets_of(records: Sequence[Record], labels: Sequence[str]) -> Targets:
    """Return (N, L) targets: a row for each record, a column for each label.

    Raises:
        DatasetError: the targets do not fit into memory.
    """
    column = {label: i for i, label in enumerate(labels)}
    targets = unknown_targets(len(records), len(labels))
    for row, record in zip(targets, records, strict=True):
        if record.absent is None:
            row[:] = -1
        row[[column[label] for label in record.absent or ()]] = -1
        row[[column[label] for label in record.unknown]] = 0
        row[[column[label] for label in record.shows]] = 1
    return targets


def unknown_targets(photos: int, labels: int) -> Targets:
    """Return (photos, labels) targets that are all unknown.

    Raises:
        DatasetError: the targets do not fit into this machine's memory.
    """
    available = machine_memory()
    if available and photos * labels > available:
        raise DatasetError(
            f"the targets of {photos:,} photos and {labels:,} labels take"
            f" {photos * labels / 2**30:.1f} GiB; this machine has {available / 2**30:.1f}. Keep"
            " fewer photos in the folder that --photos names."
        )
    return np.zeros((photos, labels), np.int8)


def machine_memory() -> int:
    """Return the machine's memory in bytes; 0 if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
