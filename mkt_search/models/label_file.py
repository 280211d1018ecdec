"""Read `labels.toml`, in which a person says more of a label than its name.

    [crane]
    phrases = ["a construction crane", "a tower crane on a building site"]

    [animal]
    group = "animals"

    [dog]
    parent = "animal"
    synonyms = ["puppy", "doggy"]

The vector of the label is then the mean of the vectors of its phrases. A phrase takes the place of
the label in the templates. A synonym is another name of the label for tags, filters and
vocabularies, and has no part in its vector; a search for the synonym is a search for that text.
Exports show a label below its parents. A label without a group has that of its parent.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mkt_search.display import printable
from mkt_search.errors import ConfigError
from mkt_search.files import read_text
from mkt_search.scoring import unit
from mkt_search.settings.setting import nearest
from mkt_search.spelling import clean_label, distinct_labels, label_key
from mkt_search.types import LEVEL, Vector

KEYS = ("phrases", "synonyms", "parent", "group")
MAX_BYTES = 1 << 22
MAX_TEXTS = 100  # phrases of a label, or synonyms


@dataclass(frozen=True)
class LabelFile:
    """What a person says of labels. Mappings are by the key of a label, see `label_key`.

    Attributes:
        phrases: the phrases of a label.
        labels: every label that has a table, in the order of the file.
        names: the label that a synonym stands for, by the key of the synonym.
        parents: the parent of a label.
        groups: the group of a label, its own or the nearest one of its parents.
        synonyms: the synonyms of a label.
    """

    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def name(self, label: str) -> str:
        """Return the label that a synonym stands for; any other label as it is."""
        return self.names.get(label_key(label), label) if self.names else label

    def distinct_names(self, labels: Sequence[str]) -> list[str]:
        """Return labels, with synonyms replaced, each once."""
        return distinct_labels(map(self.name, labels))

    def ancestors(self, label: str) -> tuple[str, ...]:
        """Return the parents of a label from the topmost down to its own."""
        found: list[str] = []
        while (parent := self.parents.get(label_key(label))) is not None:
            found.insert(0, parent)
            label = parent
        return tuple(found)

    def with_phrases_of(self, other: "LabelFile") -> "LabelFile":
        """Return this file with the phrases of another for labels to which it gives none."""
        own = {key: texts for key, texts in self.phrases.items() if texts}
        return replace(self, phrases={**other.phrases, **own})

    def texts(self, label: str) -> tuple[str, ...]:
        """Return the phrases of a label; the label itself if it has none."""
        return self.phrases.get(label_key(label)) or (label,)

    def vectors(
        self, labels: Sequence[str], vectors_of: Callable[[Sequence[str]], Vector]
    ) -> Vector:
        """Return the vectors (L, D) of labels.

        Args:
            labels: the labels.
            vectors_of: returns a vector (D,) for each of several texts.
        """
        texts = [self.texts(label) for label in labels]
        if all(len(each) == 1 for each in texts):
            return vectors_of([text for (text,) in texts])
        distinct = list(dict.fromkeys(text for each in texts for text in each))
        found = dict(zip(distinct, vectors_of(distinct), strict=True))
        return np.stack([_mean([found[text] for text in each]) for each in texts])


def read_label_file(path: str) -> LabelFile:
    """Read a `labels.toml`; "" is none.

    Raises:
        ConfigError: the file cannot be read, or says something else of a label.
    """
    if not path:
        return LabelFile()
    file = Path(path).expanduser()
    shown = printable(str(file))
    text = read_text(file, ConfigError, at_most=MAX_BYTES)
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{shown}: not valid TOML: {problem}") from None
    except (ValueError, RecursionError):  # thousands of digits or brackets
        raise ConfigError(f"{shown}: a value is far too long or too deep") from None
    return _checked(tables, shown)


def _checked(tables: Mapping[str, Any], shown: str) -> LabelFile:
    """Return what tables say of labels. Raises ConfigError."""
    labels: dict[str, str] = {}
    for label, table in tables.items():
        place = f"{shown}: [{printable(label)}]"
        if not label_key(label):
            raise ConfigError(f"{place} is an empty label; leave it out")
        if label_key(label) in labels:
            raise ConfigError(f"{place} is there twice, in another spelling; keep one")
        labels[label_key(label)] = clean_label(label)
        _check_table(table, place=place)
    phrases: dict[str, tuple[str, ...]] = {}
    synonyms: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    parents: dict[str, str] = {}
    groups: dict[str, str] = {}
    for label, table in tables.items():
        place, key = f"{shown}: [{printable(label)}]", label_key(label)
        phrases[key] = _texts(table, "phrases", place=place)
        synonyms[key] = _texts(table, "synonyms", place=place)
        for synonym in synonyms[key]:
            _check_synonym(synonym, labels, names, place=place)
            names[label_key(synonym)] = labels[key]
        if "parent" in table:
            parents[key] = _parent(table, labels, place=place)
        if "group" in table:
            groups[key] = _text(table, "group", place=place)
    for key, label in labels.items():
        if key in parents:
            _check_line(label, parents, place=f"{shown}: [{printable(label)}]")
    found = LabelFile(phrases, tuple(labels.values()), names, parents, synonyms=synonyms)
    for key, label in labels.items():
        line = (label, *reversed(found.ancestors(label)))
        group = next((groups[label_key(one)] for one in line if label_key(one) in groups), None)
        if group is not None:
            groups[key] = group
    return replace(found, groups=groups)


def _check_table(table: Any, *, place: str) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{place} must be a table, with its phrases as `phrases = [...]`")
    for key in table:
        if key not in KEYS:
            hint = nearest(key, KEYS, '"{}"')
            raise ConfigError(f'{place} has the unknown key "{printable(key)}"{hint}')


def _texts(table: Mapping[str, Any], key: str, *, place: str) -> tuple[str, ...]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ConfigError(f"{place}: {key} must be a list of texts in quotes")
    if len(found) > MAX_TEXTS:
        raise ConfigError(f"{place} has {len(found):,} {key}; keep {MAX_TEXTS}")
    clean = tuple(dict.fromkeys(map(clean_label, found)))
    if "" in clean:
        raise ConfigError(f"{place} has an empty {key.removesuffix('s')}; leave it out")
    return clean


def _text(table: Mapping[str, Any], key: str, *, place: str) -> str:
    found = table[key]
    if not isinstance(found, str) or not clean_label(found):
        raise ConfigError(f"{place}: {key} must be one text in quotes")
    return clean_label(found)


def _check_synonym(
    synonym: str, labels: Mapping[str, str], names: Mapping[str, str], *, place: str
) -> None:
    key, shown = label_key(synonym), printable(synonym)
    if key in labels:
        raise ConfigError(
            f'{place}: the synonym "{shown}" is a label of its own; leave out one of the two'
        )
    if key in names:
        raise ConfigError(
            f'{place}: "{shown}" is a synonym of "{printable(names[key])}" already; keep one'
        )


def _parent(table: Mapping[str, Any], labels: Mapping[str, str], *, place: str) -> str:
    parent = _text(table, "parent", place=place)
    if label_key(parent) not in labels:
        close = nearest(label_key(parent), labels, '"{}"')
        hint = close if "did you mean" in close else f"; add [{printable(parent)}]"
        raise ConfigError(f'{place}: the parent "{printable(parent)}" has no table{hint}')
    return labels[label_key(parent)]


def _check_line(label: str, parents: Mapping[str, str], *, place: str) -> None:
    """Raise ConfigError if a label is below itself, or cannot be shown in a hierarchy."""
    line = [label]
    while (parent := parents.get(label_key(line[-1]))) is not None:
        line.append(parent)
        if parent in line[:-1]:
            shown = " < ".join(map(printable, line))
            raise ConfigError(f"{place} is below itself ({shown}); take out one parent")
    if any(LEVEL in one for one in line):
        shown = " < ".join(map(printable, line))
        raise ConfigError(
            f'{place}: "{LEVEL}" separates the levels of a hierarchy ({shown}); rename the label'
        )


def _mean(vectors: Sequence[Vector]) -> Vector:
    """Return the mean of vectors (D,) in the mean of their lengths; of one, the vector itself."""
    if len(vectors) == 1:
        return vectors[0]
    length = np.mean(np.linalg.norm(vectors, axis=1), dtype=np.float32)
    return length * unit(np.mean(vectors, axis=0, dtype=np.float32))
