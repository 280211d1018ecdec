"""Completion of a label that a person begins to type."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Literal

from mkt_search.models.label_file import LabelFile
from mkt_search.models.vocabulary import SHIPPED, read_vocabulary, shipped_vocabularies
from mkt_search.spelling import clean_label, distinct_labels, label_key
from mkt_search.store.store import Store

HintKind = Literal["tag", "query", "vocabulary"]


@dataclass(frozen=True)
class LabelHint:
    """A label that begins as asked, and where it comes from.

    `kind` is "tag" for a label of a tag, "query" for one that was searched for or scored, and
    "vocabulary" for one of `labels.toml` or of a vocabulary that ships.
    """

    label: str
    kind: HintKind


def complete(store: Store, file: LabelFile, prefix: str, *, count: int) -> list[LabelHint]:
    """Return labels that begin with a prefix, in any case, each once: tags come first.

    Args:
        store: of the tags and searches.
        file: `labels.toml`.
        prefix: what was typed; "" for any label.
        count: how many at most.
    """
    return list(islice(_hints(store, file, clean_label(prefix), count), count))


def _hints(store: Store, file: LabelFile, prefix: str, count: int) -> Iterator[LabelHint]:
    seen: set[str] = set()

    def new(labels: list[str], kind: HintKind) -> Iterator[LabelHint]:
        for label in labels:
            if (key := label_key(label)) not in seen:
                seen.add(key)
                yield LabelHint(label, kind)

    yield from new(store.catalog.tag_labels_like(prefix, count=count), "tag")
    yield from new(store.catalog.remembered_like(prefix, count=2 * count), "query")
    begins = label_key(prefix)
    words = distinct_labels([*file.labels, *_shipped()])
    yield from new([label for label in words if label_key(label).startswith(begins)], "vocabulary")


@cache
def _shipped() -> tuple[str, ...]:
    """Return the labels of every vocabulary that ships, by name."""
    files = (SHIPPED / f"{name}.toml" for name in shipped_vocabularies())
    return tuple(sorted(label for file in files for label in read_vocabulary(file)))
