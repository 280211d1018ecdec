"""The methods of `Library` that set tags, list and export them, and take them back."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mkt_search.arguments import PhotoName, as_names, refuse_text, refuse_unknown
from mkt_search.errors import QueryError, UnknownLabel
from mkt_search.models.vocabulary import EVERYDAY, Vocabulary, read_vocabulary
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.search.reader import LibraryReader
from mkt_search.settings.config import Config
from mkt_search.spelling import clean_label
from mkt_search.store.records import LabelCount, PhotoRecord, TagReport
from mkt_search.store.store import Store
from mkt_search.tagging import bulk as tagging
from mkt_search.tagging import export
from mkt_search.tagging.assign import blocks_within
from mkt_search.tagging.choice import TagRequest, choose
from mkt_search.tagging.examples import Examples
from mkt_search.tagging.stand_out import some_of
from mkt_search.types import NO_FILTERS, Filters, Refusal, Tag, Vector

SOURCES = ("auto", "human", "imported")


class LibraryTags:
    """The tags of a library. `Library` inherits these methods and sets the attributes."""

    store: Store
    config: Config
    _reader: LibraryReader

    def tag(
        self,
        vocabulary: Sequence[str],
        *,
        top: int = 0,
        threshold: float | None = None,
        precision: float | None = None,
        min_p: float | None = None,
        dry_run: bool = False,
        examples: bool = False,
        progress: ProgressCallback = no_progress,
    ) -> TagReport:
        """Tag every photo from stored vectors; the labels' earlier automatic tags are replaced.

        Without `top`, `threshold`, `precision` and `min_p`, the precision is 0.8 where a calibrator
        can tell which photos show a label. Otherwise a photo gets at most five labels, which score
        clearly higher on it than on other photos of the library, and higher than everyday words.

        Args:
            vocabulary: labels, trained or not; a synonym of `labels.toml` is its label.
            top: the most labels for a photo, best first; 0 is no limit. A label counts as its score
                less half of the mean of its scores, so that no label wins everywhere.
            threshold: labels must score at least this.
            precision: each label gets as many photos as are expected to be right to this share,
                each with p of at least 0.05; in place of a threshold. A label that no photo looks
                clearly like gets none.
            min_p: labels must have at least this probability; in place of a threshold.
            dry_run: report what would change and change nothing.
            examples: report up to three photos of each label: of those that it goes to the best,
                one in the middle, and the last.
            progress: called as work advances.

        Raises:
            CalibrationError: a precision or p is asked for, and there is no calibrator that can
                tell.
            QueryError: there are no labels, what is asked for contradicts itself, or nothing is
                asked for, and there are too few photos and words to stand out among.
            UnknownLabel, LibraryLocked, StoreError.
        """
        refuse_text(vocabulary)
        labels = self._reader.label_file.distinct_names(vocabulary)
        if isinstance(vocabulary, Vocabulary):
            labels = Vocabulary(labels, vocabulary.about)
        asked = TagRequest(top, threshold, precision, min_p)
        asked.check(labels)
        calibrator = self._reader.calibrator()
        if asked.needs_p:
            calibrator.needed()
        if calibrator.is_unusable:
            progress(
                Progress(tagging.SCORING, message=f"The tags get no probability. {calibrator.why}")
            )
        asked = asked.or_default(calibrator)
        memory, encoding = self.config.tag.memory_mb, self._reader.stored().encoding
        blocks = blocks_within(memory, encoding, len(labels), top=asked.top)

        def work(run: int | None) -> TagReport:
            snapshot = self._reader.snapshot()
            vectors = self._reader.vocabulary_vectors(labels, snapshot, progress)
            choice = choose(asked, calibrator, vectors, snapshot, self._everyday_words)
            if choice.note:
                progress(Progress(tagging.SCORING, message=choice.note))
            found = Examples(len(labels)) if examples else None
            report = tagging.tag(
                self.store.catalog,
                snapshot,
                labels,
                vectors,
                choice=choice,
                blocks=blocks,
                run=run,
                spill_folder=self.store.directory,
                examples=found,
                progress=progress,
            )
            report = replace(report, rule=choice.text)
            if found is None:
                return report
            hits = (
                self._reader.hits_of_label(vector, found.of(row))
                for row, vector in enumerate(vectors)
            )
            return replace(report, examples=dict(zip(labels, hits, strict=True)))

        if dry_run:
            return work(None)
        settings = {"labels": labels, **vars(asked)}
        with self.store.writing("mkt tag"), self.store.run("tag", settings) as run:
            return work(run.id)

    def _everyday_words(self) -> Vector:
        """Return the vectors (W, D) of words that labels stand out among."""
        words = read_vocabulary(EVERYDAY)
        try:
            return self._reader.label_vectors(some_of(words))
        except UnknownLabel:  # a table has some of them
            known = some_of(self._reader.known_labels(words))
        if not known:
            return np.empty((0, self._reader.stored().encoding.dim), np.float32)
        return self._reader.label_vectors(known)

    def untag(self, run: int) -> TagReport:
        """Delete the tags of a run and restore those it replaced; tags set by hand stay.

        Raises:
            QueryError: there is no such tag run, or it was reverted before.
            LibraryLocked, StoreError.
        """
        with self.store.writing("mkt untag"):
            return self.store.catalog.revert_run(run)

    def add_tag(self, photos: PhotoName | Sequence[PhotoName], label: str) -> int:
        """Tag pictures by hand; return how many photos did not have the tag yet.

        The tag belongs to the picture: its copies have it too, and it stays with the picture
        wherever that is moved, and when it is edited.

        Raises:
            QueryError: the label is empty, or a photo is not in the library, was never read, or
                has changed since.
            LibraryLocked, StoreError.
        """
        label = self.label_name(label)
        with self.store.writing("mkt tag --add"):
            return self.store.catalog.add_tag(self._unchanged(photos), label)

    def remove_tag(self, photos: PhotoName | Sequence[PhotoName], label: str) -> int:
        """Remove a tag from pictures, whoever set it; return how many photos had it.

        No run sets it on them, or on their copies, until you add it by hand or `allow_tag` it.

        Raises:
            QueryError: the label is empty, or a photo is not in the library or has changed since.
            LibraryLocked, StoreError.
        """
        label = self.label_name(label)
        with self.store.writing("mkt tag --remove"):
            return self.store.catalog.remove_tag(self._unchanged(photos), label)

    def allow_tag(self, photos: PhotoName | Sequence[PhotoName], label: str) -> int:
        """Let runs set a tag again that was removed by hand; return how many photos had it refused.

        Raises:
            QueryError: the label is empty, or a photo is not in the library.
            LibraryLocked, StoreError.
        """
        label = self.label_name(label)
        ids = [photo.id for photo in self._reader.photos(as_names(photos))]
        with self.store.writing("mkt tag --allow"):
            return self.store.catalog.allow_label(ids, label)

    def label_name(self, label: str) -> str:
        """Return the label as tags have it: the one that a synonym of `labels.toml` stands for.

        Raises:
            QueryError: the label is empty.
            ConfigError: `labels.toml` cannot be read.
        """
        clean = clean_label(self._reader.label_file.name(label))
        if not clean:
            raise QueryError("The label is empty.")
        return clean

    def _name(self, label: str | None) -> str | None:
        return None if label is None else self._reader.label_file.name(label)

    def refusals(
        self,
        *,
        label: str | None = None,
        photo: PhotoName | None = None,
        filters: Filters = NO_FILTERS,
    ) -> Iterator[Refusal]:
        """Yield the tags that were removed by hand and that no run may set, photo by photo.

        Args:
            label: only this label.
            photo: only of this photo.
            filters: conditions on the photos.

        Raises:
            QueryError: the photo is not in the library.
        """
        id_ = None if photo is None else self._reader.photo(photo).id
        return self.store.catalog.refusals(
            label=self._name(label), photo=id_, filters=self._reader.named(filters)
        )

    def _unchanged(self, photos: PhotoName | Sequence[PhotoName]) -> list[int]:
        """Return the ids of photos, as `_unchanged_photos` returns these."""
        return [photo.id for photo in self._unchanged_photos(photos)]

    def _unchanged_photos(self, photos: PhotoName | Sequence[PhotoName]) -> list[PhotoRecord]:
        """Return photos whose files, if they exist now, are as the library knows them.

        Raises:
            QueryError: a photo is not in the library, or its file has changed: what a person says
                of it would be recorded of another picture.
        """
        from indexer.walk import modified_ns

        found = self._reader.photos(as_names(photos))
        for photo in found:
            try:
                about = os.stat(photo.path)
            except OSError:
                continue  # on a disk that is away, say
            if (about.st_size, modified_ns(about)) != (photo.size, photo.mtime_ns):
                raise QueryError(
                    f"{photo.path} has changed since it was indexed; run `mkt index` first."
                )
        return found

    def tags(
        self,
        *,
        label: str | None = None,
        photo: PhotoName | None = None,
        source: str | None = None,
        run: int | None = None,
        filters: Filters = NO_FILTERS,
    ) -> Iterator[Tag]:
        """Yield the current tags, photo by photo, each with the parents of its label.

        Args:
            label: only tags with this label.
            photo: only tags of this photo.
            source: only "auto", "human" or "imported" tags.
            run: only tags of this run.
            filters: conditions on the photos.

        Raises:
            QueryError: there is no such source or run, or the photo is not in the library.
        """
        refuse_unknown("source", source, SOURCES)
        id_ = None if photo is None else self._reader.photo(photo).id
        if run is not None:
            self.store.catalog.check_tag_run(run)
        found = self.store.catalog.tags(
            label=self._name(label),
            photo=id_,
            source=source,
            run=run,
            filters=self._reader.named(filters),
        )
        file = self._reader.label_file
        if not file.parents:
            return found
        return (replace(tag, parents=file.ancestors(tag.label)) for tag in found)

    def tag_counts(self) -> list[LabelCount]:
        """Return how many photos have each label as a tag, in the order of the labels."""
        return self.store.catalog.count_tags()

    def export_tags(
        self,
        file: Path | str,
        *,
        label: str | None = None,
        photo: PhotoName | None = None,
        source: str | None = None,
        run: int | None = None,
        filters: Filters = NO_FILTERS,
        raw: bool = False,
    ) -> int:
        """Write tags to a .csv, .json or .parquet file; return how many.

        The other arguments are those of `tags`. In CSV, text that a spreadsheet would take for a
        formula gets an apostrophe in front, unless `raw`.

        Raises:
            QueryError: as for `tags`.
            StoreError: the file cannot be written.
            MktError: it has another suffix, or Parquet needs pyarrow.
        """
        found = self.tags(label=label, photo=photo, source=source, run=run, filters=filters)
        return export.write(found, Path(file), raw=raw)
