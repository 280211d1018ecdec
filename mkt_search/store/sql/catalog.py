"""The catalog in a SQL database: the protocols of `store.catalog`, and what the store needs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection, Engine

from mkt_search.progress import ProgressCallback
from mkt_search.store.catalog import (
    Catalog,
    EvaluationCatalog,
    IndexCatalog,
    ReviewCatalog,
    TagCatalog,
)
from mkt_search.store.records import (
    Copies,
    Decision,
    DecisionBatch,
    Evaluation,
    KnownPhoto,
    LabelCount,
    PhotoRecord,
    Place,
    Proposal,
    ReviewQueue,
    RootLocation,
    RunInfo,
    ShownContents,
    TagReport,
)
from mkt_search.store.spill import SpillFile
from mkt_search.store.sql import (
    changes,
    contents,
    decisions,
    evaluations,
    hand_tags,
    identity,
    judgements,
    label_vectors,
    lock,
    miniatures,
    photos,
    refusals,
    roots,
    runs,
    tag_runs,
    tags,
    timeline,
    vectors,
)
from mkt_search.store.sql.database import (
    check_schema,
    close_engine,
    is_empty,
    open_engine,
    reading,
    refuse_code,
    size_of_tables,
    sqlite_file,
    sqlite_url,
    transaction,
    write_back,
)
from mkt_search.store.timeline import Timeline
from mkt_search.types import Filters, Judgement, PhotoFile, Refusal, Tag

PHOTOS_PER_LOOKUP = 500


class Counts(NamedTuple):
    """The catalog in numbers: photos by state, photos by root, segments, tags, sizes in bytes."""

    photos: dict[str, int]
    duplicates: int
    roots: list[tuple[int, Path, int]]
    tags: dict[str, int]
    segments: int
    bytes_segments: int
    bytes_tables: int


class SqlCatalog(Catalog, TagCatalog, ReviewCatalog, IndexCatalog, EvaluationCatalog):
    """The catalog of a library; `store.catalog` says what the methods of its protocols promise."""

    def __init__(self, engine: Engine, *, reading_on: Connection | None = None) -> None:
        """Use a database.

        Args:
            engine: the database.
            reading_on: a connection that is reading, whose time all answers share.
        """
        self.engine = engine
        self._source = engine if reading_on is None else reading_on

    @classmethod
    def open(cls, file: Path, url: str | None = None) -> Self:
        """Connect to a database: a SQLite file, unless a URL is given. Raises StoreError."""
        return cls(open_engine(url or sqlite_url(file)))

    def check_schema(self) -> None:
        """Raise SchemaOutdated unless the database has the schema of this version."""
        check_schema(self.engine)

    def upgrade(self) -> None:
        """Create the tables, or bring them to the schema of this version."""
        from mkt_search.store.sql.upgrade import upgrade

        refuse_code(self.engine)
        upgrade(self.engine)

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database, None for one on a server."""
        return sqlite_file(self.engine)

    def is_empty(self) -> bool:
        """Return True for a database without any table of a library."""
        return is_empty(self.engine)

    def library_id(self) -> str | None:
        """Return the id of the library that the database belongs to, None for no one's."""
        with reading(self.engine) as session:
            return identity.read(session)

    def set_library_id(self, library: str) -> None:
        """Give the database to a library, unless it belongs to one."""
        with transaction(self.engine) as session:
            identity.write(session, library)

    def writing(self, command: str) -> AbstractContextManager[None]:
        """Keep writers on other machines out of a database on a server. Raises LockHeld."""
        return lock.hold(self.engine, command)

    def writer(self) -> str | None:
        """Return who writes to a database on a server now, None when nobody does."""
        return lock.holder(self.engine)

    def close(self) -> None:
        """Close all connections; every later call raises StoreError."""
        close_engine(self.engine)

    # Catalog

    @contextmanager
    def at_one_time(self) -> Iterator[Catalog]:
        """Give a catalog for reading, whose answers were all true at the same time: about now."""
        with reading(self.engine) as session:
            yield SqlCatalog(self.engine, reading_on=session.connection())

    def revision(self) -> int:
        """Return a number that grows with every change of what a search could find."""
        with reading(self._source) as session:
            return changes.revision(session)

    def photos(
        self, *, state: str | None = None, filters: Filters | None = None
    ) -> Iterator[PhotoRecord]:
        """Yield photos in the order of their paths: all, or those indexed, failed or missing."""
        with reading(self._source) as session:
            yield from photos.photos(session, state=state, filters=filters)

    def photo_at(self, path: Path) -> PhotoRecord | None:
        """Return the photo at an absolute path, None if there is none."""
        with reading(self._source) as session:
            return photos.at_path(session, path)

    def photos_of_ids(self, ids: Sequence[int]) -> dict[int, PhotoRecord]:
        """Return photos by id; those that the library does not have are left out."""
        with reading(self._source) as session:
            return photos.of_ids(session, ids)

    def photos_after(
        self, photo_id: int, *, state: str | None = None, count: int
    ) -> list[PhotoRecord]:
        """Return the first photos with a larger id, in the order of their ids."""
        with reading(self._source) as session:
            return photos.after(session, photo_id, state=state, count=count)

    def count_indexed(self) -> int:
        """Count the photos that can be found."""
        with reading(self._source) as session:
            return photos.count_indexed(session)

    def timeline(self, filters: Filters) -> Timeline:
        """Return the indexed photos that meet the filters, the newest first."""
        with reading(self._source) as session:
            return timeline.read(session, filters)

    def photos_of_contents(
        self, content_ids: Sequence[int], filters: Filters
    ) -> dict[int, list[PhotoRecord]]:
        """Return the indexed photos of contents by content id, the oldest row first."""
        with reading(self._source) as session:
            return photos.of_contents(session, content_ids, filters)

    def matching_content_ids(self, filters: Filters) -> list[int]:
        """Return the contents of indexed photos that meet the filters."""
        with reading(self._source) as session:
            return contents.matching(session, filters)

    def shown_contents(self) -> ShownContents:
        """Return every content that a search can find, with its oldest indexed photo."""
        with reading(self._source) as session:
            return contents.shown(session)

    def content_ids_of(self, sha256s: Collection[str]) -> dict[str, int]:
        """Return the ids of those contents (SHA-256 in hex) that the library has."""
        with reading(self._source) as session:
            return contents.ids_of(session, sorted(sha256s))

    def label_vectors(self, encoder: str, labels: Sequence[str]) -> dict[str, bytes]:
        """Return remembered vectors of labels under a label encoder, little-endian float32."""
        with reading(self._source) as session:
            return label_vectors.find(session, encoder, labels)

    def remembered_labels(self, encoder: str) -> Iterator[tuple[str, bytes]]:
        """Yield every label remembered under a label encoder, with its vector."""
        with reading(self._source) as session:
            yield from label_vectors.of_encoder(session, encoder)

    def remembered_like(self, prefix: str, *, count: int) -> list[str]:
        """Return labels that are remembered and begin so, whatever encoder made their vectors."""
        with reading(self._source) as session:
            return label_vectors.like(session, prefix, count=count)

    def remember_label_vectors(self, encoder: str, vectors: dict[str, bytes]) -> None:
        """Remember vectors of labels; a label that is remembered keeps its vector."""
        with transaction(self.engine, wait=False) as session:
            label_vectors.remember(session, encoder, vectors)

    def judged(self, labels: Sequence[str]) -> dict[str, dict[int, bool]]:
        """Return what people judged for each label that they did, by content id: True for yes."""
        with reading(self._source) as session:
            return judgements.of_labels(session, labels)

    # TagCatalog

    def tags(
        self,
        *,
        label: str | None = None,
        photo: int | None = None,
        source: str | None = None,
        run: int | None = None,
        filters: Filters | None = None,
    ) -> Iterator[Tag]:
        """Yield the current tags by photo, best score first."""
        with reading(self._source) as session:
            yield from tags.current(
                session, label=label, photo=photo, source=source, run=run, filters=filters
            )

    def tag_labels_like(self, prefix: str, *, count: int) -> list[str]:
        """Return labels of tags and refusals that begin so, by name."""
        with reading(self._source) as session:
            return tags.labels_like(session, prefix, count=count)

    def count_tags(self) -> list[LabelCount]:
        """Return how many photos have each label, by name."""
        with reading(self._source) as session:
            return tags.counts(session)

    def add_tag(self, photo_ids: Sequence[int], label: str) -> int:
        """Tag photos by hand; return how many did not have the tag by hand yet."""
        with transaction(self.engine) as session:
            refusals.allow(session, photo_ids, label)
            return hand_tags.add(session, photo_ids, label)

    def remove_tag(self, photo_ids: Sequence[int], label: str) -> int:
        """Remove a label from photos, whoever set it; return how many had it."""
        with transaction(self.engine) as session:
            refusals.add(session, photo_ids, label)
            return hand_tags.remove(session, photo_ids, label)

    def refusals(
        self, *, label: str | None = None, photo: int | None = None, filters: Filters
    ) -> Iterator[Refusal]:
        """Yield the labels that a person removed, by photo and label."""
        with reading(self.engine) as session:
            yield from refusals.listed(session, label=label, photo=photo, filters=filters)

    def allow_label(self, photo_ids: Sequence[int], label: str) -> int:
        """Let runs set a label on photos again; return how many had it refused."""
        with transaction(self.engine) as session:
            return refusals.allow(session, photo_ids, label)

    def add_judgements(
        self, label: str, photos: Mapping[int, bool], *, person: str, model: str
    ) -> None:
        """Remember whether photos show a label, by photo id, in place of earlier judgements."""
        with transaction(self.engine) as session:
            judgements.add(session, label, photos, person=person, model=model)

    def remove_judgements(self, label: str, photo_ids: Sequence[int] | None = None) -> int:
        """Delete judgements for a label, of some photos or all; return of how many pictures."""
        with transaction(self.engine) as session:
            return judgements.remove(session, label, photo_ids)

    def judgements(self, label: str | None = None) -> Iterator[Judgement]:
        """Yield judgements by label and photo."""
        with reading(self._source) as session:
            yield from judgements.listed(session, label=label)

    def words(self) -> Iterator[tuple[int, str, bool]]:
        """Yield (content id, label, whether it was set or refused) of all that a person said."""
        with reading(self._source) as session:
            yield from hand_tags.words(session)

    def apply_tag_run(
        self,
        run: int,
        labels: Sequence[str],
        assignments: SpillFile,
        *,
        step: str,
        progress: ProgressCallback,
    ) -> TagReport:
        """Replace the automatic tags of labels by a run's assignments, and end the run."""
        with transaction(self.engine) as session:
            return tag_runs.apply(session, assignments, labels, run, step=step, progress=progress)

    def preview_tag_run(self, labels: Sequence[str], assignments: SpillFile) -> TagReport:
        """Return what `apply_tag_run` would, and change nothing."""
        with reading(self._source) as session:
            return tag_runs.preview(session, assignments, labels)

    def check_tag_run(self, run: int) -> None:
        """Raise QueryError if there is no such tag run."""
        with reading(self.engine) as session:
            tag_runs.check(session, run)

    def revert_run(self, run: int) -> TagReport:
        """Delete a run's tags and restore those it replaced. Raises QueryError."""
        with transaction(self.engine) as session:
            return tag_runs.revert(session, run)

    def runs(self) -> list[RunInfo]:
        """Return every run, the oldest first."""
        with reading(self._source) as session:
            return runs.listed(session)

    # ReviewCatalog

    def review_queues(self) -> list[ReviewQueue]:
        """Return what there is to review, by label and run."""
        with reading(self._source) as session:
            return decisions.queues(session)

    def proposals(
        self,
        label: str,
        *,
        run: int | None = None,
        after: tuple[float, int] | None = None,
        count: int,
    ) -> list[Proposal]:
        """Return undecided photos of a label, best first; one of photos with the same bytes."""
        with reading(self._source) as session:
            return decisions.proposals(session, label, run=run, after=after, count=count)

    def decide(self, label: str, given: Sequence[Decision]) -> tuple[int | None, int]:
        """Record decisions; return the number of their batch, and how many pictures changed."""
        with transaction(self.engine) as session:
            return decisions.decide(session, label, given)

    def undo_decisions(self, batch: int) -> int:
        """Put back what a batch replaced; return how many pictures changed. Raises QueryError."""
        with transaction(self.engine) as session:
            return decisions.undo(session, batch)

    def last_decisions(self) -> DecisionBatch | None:
        """Return the last batch of decisions that was not undone, None if there is none."""
        with reading(self._source) as session:
            return decisions.last(session)

    # IndexCatalog

    def root_folders(self) -> list[Path]:
        """Return the registered folders in the order of their paths."""
        with reading(self._source) as session:
            return roots.folders(session)

    def moved_to(self, root: Path) -> tuple[Path, int] | None:
        """Return the folder that holds most photos of a root under their paths, and how many."""
        with reading(self.engine) as session:
            return roots.moved_to(session, root)

    def locate(self, folder: Path) -> RootLocation:
        """Return where a folder lies among the roots; nothing is registered."""
        with reading(self._source) as session:
            return roots.locate(session, folder)

    def known(self, location: RootLocation, encoding_id: int | None) -> dict[str, KnownPhoto]:
        """Return the photos below a location, by path relative to its root."""
        with reading(self._source) as session:
            return photos.known(session, location, encoding_id)

    def known_paths(
        self, location: RootLocation, paths: Sequence[str], encoding_id: int | None
    ) -> dict[str, KnownPhoto]:
        """Return the photos at some paths of a registered root."""
        with reading(self._source) as session:
            return photos.known_paths(session, location, paths, encoding_id)

    def record_scan(
        self,
        location: RootLocation,
        missing: Sequence[int],
        returned: Sequence[tuple[int, PhotoFile]],
    ) -> RootLocation:
        """Register a folder, and record which of its photos vanished and which are back."""
        with transaction(self.engine) as session:
            location = roots.register(session, location)
            photos.mark_missing(session, missing)
            photos.mark_returned(session, returned)
            if changed := [*missing, *(photo_id for photo_id, _ in returned)]:
                content_ids = contents.of_photos(session, changed)
                photos.forget_replaced(session, content_ids)
                changes.record_change(session, content_ids)
        return location

    def mark_missing(self, photo_ids: Sequence[int]) -> None:
        """Record that files are gone; their vectors and tags stay until they are pruned."""
        with transaction(self.engine) as session:
            photos.mark_missing(session, photo_ids)
            changes.record_change(session, contents.of_photos(session, photo_ids))

    def copies(self, sha256s: Collection[str], encoding_id: int) -> Copies:
        """Return what is stored of contents (SHA-256 in hex) under an encoding."""
        with reading(self._source) as session:
            return contents.copies(session, sha256s, encoding_id)

    def spoken_of(self, sha256s: Collection[str]) -> set[str]:
        """Return those of the contents (SHA-256 in hex) of which a person said something."""
        with reading(self.engine) as session:
            return hand_tags.spoken_of(session, sha256s)

    def miniatures(self, sha256s: Collection[str]) -> dict[str, bytes]:
        """Return the miniatures of contents (SHA-256 in hex) that have one."""
        with reading(self.engine) as session:
            return miniatures.of_contents(session, sha256s)

    def places(self, sha256s: Collection[str]) -> dict[str, list[Place]]:
        """Return where the library has, or had, the photos of contents (SHA-256 in hex)."""
        with reading(self.engine) as session:
            return photos.places(session, sha256s)

    def replaced_photos(self) -> set[int]:
        """Return the ids of missing photos whose paths other pictures have taken."""
        with reading(self.engine) as session:
            return photos.replaced(session)

    def unencoded_photos(self, encoding_ids: Sequence[int]) -> Iterator[PhotoRecord]:
        """Yield the indexed photos without vectors under any of some encodings, by path."""
        with reading(self._source) as session:
            indexed = photos.photos(session, state="indexed")
            while some := list(islice(indexed, PHOTOS_PER_LOOKUP)):
                shas = {photo.content for photo in some if photo.content is not None}
                encoded = contents.with_vectors(session, shas, encoding_ids)
                yield from (photo for photo in some if photo.content not in encoded)

    def count_unencoded(self, encoding_id: int | None = None) -> int:
        """Count the indexed photos without vectors under an encoding; None is for any encoding."""
        with reading(self._source) as session:
            return vectors.count_unencoded(session, encoding_id)

    def count_live(self, encoding_id: int) -> int:
        """Count the contents with vectors and an indexed photo; copies share one."""
        with reading(self._source) as session:
            return vectors.count_live(session, encoding_id)

    # EvaluationCatalog

    def add_evaluations(self, found: Sequence[Evaluation], *, started_at: datetime) -> int:
        """Record one finished evaluation of several models; return the id of its run."""
        with transaction(self.engine) as session:
            return evaluations.add(session, found, started_at=started_at)

    def evaluations(self) -> list[Evaluation]:
        """Return every evaluation: the newest run first, its models in the order given."""
        with reading(self._source) as session:
            return evaluations.listed(session)

    def all_label_vectors(self) -> list[bytes]:
        """Return all remembered vectors, by label, whatever encoder made them."""
        with reading(self._source) as session:
            return label_vectors.every(session)

    # Upkeep

    def start_run(self, kind: str, settings: dict[str, Any], process: str) -> int:
        """Add a run that is under way; return its id."""
        with transaction(self.engine) as session:
            return runs.start(session, kind, settings, process)

    def end_run(self, run: int, outcome: str, summary: dict[str, Any]) -> None:
        """Record the outcome of a run; one that has an outcome keeps it."""
        with transaction(self.engine) as session:
            runs.end(session, run, outcome, summary)

    def write_back(self) -> None:
        """Bring what was committed from the log into the file, to have room for more."""
        write_back(self.engine)

    def end_abandoned_runs(self) -> None:
        """Call runs that a kill left open interrupted. Only the writer may."""
        with transaction(self.engine) as session:
            runs.end_abandoned(session)

    def move_root(self, old: Path, new: Path) -> int:
        """Give a root another folder; return how many photos are below it. Raises QueryError."""
        with transaction(self.engine) as session:
            return roots.move(session, old, new)

    def counts(self) -> Counts:
        """Return the catalog in numbers, all of one time."""
        with reading(self._source) as session:
            segments, bytes_segments = vectors.totals(session)
            return Counts(
                photos=photos.count_by_state(session),
                duplicates=photos.count_duplicates(session),
                roots=roots.with_counts(session),
                tags=tags.count_by_source(session),
                segments=segments,
                bytes_segments=bytes_segments,
                bytes_tables=size_of_tables(session),
            )
