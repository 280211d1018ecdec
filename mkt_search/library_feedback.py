"""The methods of `Library` for judgements of hits: whether a photo shows the label."""

import getpass
from collections.abc import Iterator, Sequence
from pathlib import Path

from mkt_search.arguments import as_paths
from mkt_search.errors import QueryError
from mkt_search.library_tags import LibraryTags
from mkt_search.spelling import clean_label
from mkt_search.store.records import PhotoRecord
from mkt_search.types import Feedback, Judgement

Photos = Path | str | Sequence[Path | str]


class LibraryFeedback(LibraryTags):
    """Judgements, and what they come to. `Library` inherits these methods."""

    def add_feedback(
        self, label: str, *, yes: Photos = (), no: Photos = (), person: str | None = None
    ) -> Feedback:
        """Say which photos show a label and which do not; later searches for it follow.

        Ranks and p change for all photos, as `mkt_search.calibration.feedback` says. A photo judged
        no is not a hit of the label. A judgement is of the picture, wherever its files are, and
        replaces an earlier one. `remove_feedback` takes judgements back.

        Args:
            label: the label, as it is searched for.
            yes: photos that show it.
            no: photos that do not.
            person: who judges; by default the user who is logged in.

        Raises:
            QueryError: the label is empty, no photo is named, one is named in both, or one is not
                in the library, was never read, or has changed since.
            UnknownLabel, LibraryLocked, StoreError.
        """
        label = _clean(label)
        self._reader.label_vectors([label])
        shown, others = self._unchanged_photos(yes), self._unchanged_photos(no)
        _check(shown, others)
        answers = {photo.id: True for photo in shown} | {photo.id: False for photo in others}
        with self.store.writing("mkt feedback"):
            self.store.catalog.add_judgements(
                label,
                answers,
                person=clean_label(_user() if person is None else person),
                model=self._reader.stored().encoding.checkpoint,
            )
        return self.feedback(label)

    def remove_feedback(self, label: str, photos: Photos | None = None) -> int:
        """Take judgements back: of some photos, by default all of a label; return how many.

        Once a label has none, a search for it is as if there had never been any.

        Raises:
            QueryError: the label is empty, or a photo is not in the library.
            LibraryLocked, StoreError.
        """
        named = None if photos is None else [self._reader.photo(p).id for p in as_paths(photos)]
        with self.store.writing("mkt feedback"):
            return self.store.catalog.remove_judgements(_clean(label), named)

    def judgements(self, label: str | None = None) -> Iterator[Judgement]:
        """Yield the judgements for a label, or for all, by label and photo."""
        return self.store.catalog.judgements(None if label is None else _clean(label))

    def feedback(self, label: str) -> Feedback:
        """Return what the judgements for a label come to.

        Raises:
            QueryError: the label is empty.
            UnknownLabel, ModelError, StoreError.
        """
        return self._reader.feedback(_clean(label))


def _check(shown: Sequence[PhotoRecord], others: Sequence[PhotoRecord]) -> None:
    """Raise QueryError unless photos can be judged so: yes for some, no for others."""
    if not (shown or others):
        raise QueryError("No photo is named; name some that show the label, or do not.")
    for photo in (*shown, *others):
        if photo.content is None:
            raise QueryError(
                f"{photo.path} could never be read, and a judgement is of a picture: make it "
                "readable, run `mkt index --retry`, and judge it then."
            )
    contents = {photo.content for photo in shown}
    for photo in others:
        if photo.content in contents:
            raise QueryError(
                f"{photo.path} is judged both yes and no, itself or a copy of it; decide for one."
            )


def _clean(label: str) -> str:
    """Return a label as it is searched for. Raises QueryError if it is empty."""
    clean = clean_label(label)
    if not clean:
        raise QueryError("The label is empty.")
    return clean


def _user() -> str:
    """Return the name of the user, "" if it is not known."""
    try:
        return getpass.getuser()
    except (OSError, ImportError, KeyError):
        return ""
