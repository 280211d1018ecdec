"""What the tags of a library say of its photos: which show a label, which do not, which may.

A photo that a person tagged counts as looked at: it shows its tags and their parents alone.
Only a label below one of its tags is open, since who says "animal" need not say "dog". Of a
photo of which a person only removed labels, these alone are known. Of any other photo nothing is
known: that it has no tag does not mean that it shows nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mkt_search.spelling import label_key

Ancestors = Callable[[str], Sequence[str]]
"""Returns the parents of a label from the topmost down to its own."""


@dataclass(frozen=True)
class TagTruth:
    """The words of a person on photos, by content id; labels are known by their keys.

    Attributes:
        tags: the labels that were set on a photo, without their parents.
        removed: the labels that were removed from a photo.
        names: every label and parent, by its key.
        above: the parents of a label.
    """

    tags: Mapping[int, set[str]]
    removed: Mapping[int, set[str]]
    names: Mapping[str, str]
    above: Mapping[str, set[str]]

    @classmethod
    def of(cls, words: Iterable[tuple[int, str, bool]], ancestors: Ancestors) -> "TagTruth":
        """Collect words: content ids, labels, and whether they were set or removed."""
        tags: dict[int, set[str]] = defaultdict(set)
        removed: dict[int, set[str]] = defaultdict(set)
        names: dict[str, str] = {}
        for photo, label, is_set in words:
            key = label_key(label)
            names.setdefault(key, label)
            (tags if is_set else removed)[photo].add(key)
        for label in list(names.values()):
            for parent in ancestors(label):
                names.setdefault(label_key(parent), parent)
        above = {key: set(map(label_key, ancestors(label))) for key, label in names.items()}
        return cls(dict(tags), dict(removed), names, above)

    @property
    def photos(self) -> list[int]:
        """The content ids of which something is known, in order."""
        return sorted({*self.tags, *self.removed})

    @property
    def labels(self) -> list[str]:
        """Every label and parent, in alphabetical order."""
        return sorted(self.names.values())

    def targets(self, photos: Sequence[int], labels: Sequence[str]) -> NDArray[np.int8]:
        """Return (n, L): +1 where a photo shows a label, -1 where it does not, 0 if nobody knows.

        Args:
            photos: content ids.
            labels: some of `labels`.
        """
        columns = {label_key(label): column for column, label in enumerate(labels)}
        below: dict[str, list[int]] = defaultdict(list)
        for key, column in columns.items():
            for parent in self.above[key]:
                below[parent].append(column)
        found = np.zeros((len(photos), len(labels)), np.int8)
        for row, photo in zip(found, photos, strict=True):
            tags = self.tags.get(photo, set())
            shown = tags.union(*(self.above[key] for key in tags))
            row[:] = -1 if tags else 0
            row[[column for key in tags for column in below.get(key, ())]] = 0
            row[[columns[key] for key in self.removed.get(photo, ()) if key in columns]] = -1
            row[[columns[key] for key in shown if key in columns]] = 1
        return found
