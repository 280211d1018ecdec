"""Read `labels.toml`, in which a person says more of a label than its name.

    [crane]
    phrases = ["a construction crane", "a tower crane on a building site"]

The vector of the label is then the mean of the vectors of its phrases. A phrase takes the place of
the label in the templates. Every label has a table, so that later keys have a place.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mkt_search.display import printable
from mkt_search.errors import ConfigError
from mkt_search.files import read_text
from mkt_search.scoring import unit
from mkt_search.settings.setting import nearest
from mkt_search.spelling import clean_label, label_key
from mkt_search.types import Vector

KEYS = ("phrases",)
MAX_BYTES = 1 << 22
MAX_PHRASES = 100  # of a label


@dataclass(frozen=True)
class LabelFile:
    """What a person says of labels; `phrases` maps the key of a label to its phrases."""

    phrases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
    phrases: dict[str, tuple[str, ...]] = {}
    for label, table in tables.items():
        place = f"{shown}: [{printable(label)}]"
        if label_key(label) in phrases:
            raise ConfigError(f"{place} is there twice, in another spelling; keep one")
        phrases[label_key(label)] = _phrases(table, place=place)
    return LabelFile(phrases)


def _phrases(table: Any, *, place: str) -> tuple[str, ...]:
    if not isinstance(table, dict):
        raise ConfigError(f"{place} must be a table, with its phrases as `phrases = [...]`")
    for key in table:
        if key not in KEYS:
            hint = nearest(key, KEYS, '"{}"')
            raise ConfigError(f'{place} has the unknown key "{printable(key)}"{hint}')
    found = table.get("phrases", [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ConfigError(f"{place}: phrases must be a list of texts in quotes")
    if len(found) > MAX_PHRASES:
        raise ConfigError(f"{place} has {len(found):,} phrases; keep {MAX_PHRASES}")
    clean = tuple(dict.fromkeys(map(clean_label, found)))
    if "" in clean:
        raise ConfigError(f"{place} has an empty phrase; leave it out")
    return clean


def _mean(vectors: Sequence[Vector]) -> Vector:
    """Return the mean of vectors (D,) in the mean of their lengths; of one, the vector itself."""
    if len(vectors) == 1:
        return vectors[0]
    length = np.mean(np.linalg.norm(vectors, axis=1), dtype=np.float32)
    return length * unit(np.mean(vectors, axis=0, dtype=np.float32))
