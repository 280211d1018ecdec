"""Labelled photos: which files there are, and what each is known to show.

Every kind of dataset ends in the same `PhotoDataset`; training and evaluation look at nothing else.
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
BLOCK = 4096  # photos looked at together


@dataclass(frozen=True)
class PhotoDataset:
    """N photos in a folder and what is known of L labels.

    `files` are relative to `folder`. `targets` (N, L) int8: +1 the photo shows the label, -1 it
    does not, 0 unknown; an unknown entry takes no part in training or evaluation.
    """

    folder: Path
    files: tuple[str, ...]
    labels: tuple[str, ...]
    targets: Targets

    def __len__(self) -> int:
        return len(self.files)

    def only(self, labels: Sequence[str]) -> "PhotoDataset":
        """Return the same photos with these labels alone, in this order."""
        if tuple(labels) == self.labels:
            return self
        column = {label: i for i, label in enumerate(self.labels)}
        columns = [column[label] for label in labels]
        return replace(self, labels=tuple(labels), targets=self.targets[:, columns])

    def shown_by(self, rows: Rows) -> NDArray[np.int64]:
        """Return (L,): how many of these photos show each label."""
        counts = np.zeros(len(self.labels), np.int64)
        for first in range(0, len(rows), BLOCK):  # never a copy of all targets
            counts += (self.targets[rows[first : first + BLOCK]] > 0).sum(axis=0)
        return counts


@dataclass(frozen=True)
class Record:
    """What a dataset says of one photo. Without `absent`, labels not named are absent."""

    file: str
    shows: tuple[str, ...]
    absent: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()


def targets_of(records: Sequence[Record], labels: Sequence[str]) -> Targets:
    """Return (N, L) targets: a row for each record, a column for each label."""
    column = {label: i for i, label in enumerate(labels)}
    targets = all_unknown(len(records), len(labels))
    for row, record in zip(targets, records, strict=True):
        if record.absent is None:
            row[:] = -1
        row[[column[label] for label in record.absent or ()]] = -1
        row[[column[label] for label in record.unknown]] = 0
        row[[column[label] for label in record.shows]] = 1
    return targets


def all_unknown(photos: int, labels: int) -> Targets:
    """Return (photos, labels) targets of which nothing is known yet.

    Raises:
        DatasetError: they do not fit into this machine's memory.
    """
    there = memory()
    if there and photos * labels > there:
        raise DatasetError(
            f"what is known of {photos:,} photos and {labels:,} labels takes"
            f" {photos * labels / 2**30:.1f} GiB, this machine has {there / 2**30:.1f}. Keep fewer"
            " photos in the folder that --photos names."
        )
    return np.zeros((photos, labels), np.int8)


def memory() -> int:
    """Return the machine's memory in bytes; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
