"""The library on disk, its halves kept in step: SQL is the truth, segments hold the vectors.

A batch is one commit: the segment is written, synced and renamed, its folder synced, and then one
transaction names it together with the photos. A crash before the transaction leaves a file nobody
names, which the next writer removes; the database never names a segment that is not whole.
"""

import logging
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import URL, Engine, delete, select, update

from mkt_search.errors import CheckpointMismatch, LibraryDamaged, LibraryNotFound, StoreError
from mkt_search.store import lock
from mkt_search.store.disk import disk_errors
from mkt_search.store.records import FailedPhoto, KnownPhoto, NewPhoto, RootLocation
from mkt_search.store.segments import segment as segments
from mkt_search.store.segments.files import Written
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql import changes, encodings, runs
from mkt_search.store.sql import photos as photo_queries
from mkt_search.store.sql.candidate_index import CandidateIndex
from mkt_search.store.sql.catalog import SqlCatalog
from mkt_search.store.sql.database import check_schema, open_engine, reading, transaction
from mkt_search.store.sql.schema import EncodingRow, SegmentRow, VectorRow
from mkt_search.types import Encoding, ModelRecord, PhotoVectors

log = logging.getLogger(__name__)

DATABASE = "mkt.db"
SEGMENTS = "segments"
INDEX = "index"
MOST_LEFT_BEHIND = 2  # files of a library that was interrupted before its first commit


@dataclass(frozen=True)
class Batch:
    """What one commit adds: photos, files that failed, the vectors of contents new to the store.

    `vectors` row i belongs to the photo whose `row` is i.
    """

    photos: Sequence[NewPhoto]
    failed: Sequence[FailedPhoto] = ()
    vectors: PhotoVectors | None = None


@dataclass(frozen=True)
class StoredEncoding:
    """An encoding the library knows: its id, its settings, the model asked for, and its state.

    `retired` names what this version can no longer read of its vectors; "" for one in use.
    `record` describes the model as it was when it was last opened, if it was ever recorded.
    """

    id: int
    encoding: Encoding
    model: str
    state: str
    retired: str = ""
    record: ModelRecord | None = None

    def is_of(self, encoding: Encoding) -> bool:
        """True if these vectors can be compared with new ones of `encoding`."""
        return not self.retired and self.encoding == encoding

    def check_in_use(self) -> None:
        """Raise CheckpointMismatch if this version cannot read the vectors."""
        if self.retired:
            raise CheckpointMismatch(
                f"This library stores its vectors in a form that is no longer read "
                f"({self.retired}): run `mkt index --rebuild` to encode every photo again; all "
                "tags stay."
            )


@dataclass(frozen=True)
class Manifest:
    """The vectors of an encoding as one moment of the library has them.

    `files` has the file of every segment by segment id; `live` (n, 3) the segment id, row and
    content id of every vector some indexed photo has; `generation` is the candidate index. Where
    only what changed was asked for, `changed` has those contents, and `live` no others.
    """

    revision: int
    files: dict[int, str]
    live: NDArray[np.int64]
    generation: CandidateIndex | None
    changed: NDArray[np.int64] | None = None


class Store:
    """A library's folder and database. Reading needs no more; writing goes inside `writing`."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.directory = directory
        self.engine = engine
        self.catalog = SqlCatalog(engine)

    # Opening and closing

    @classmethod
    def create(cls, directory: Path, *, url: str | None = None) -> "Store":
        """Make a library, or finish one that was left half made; a whole one stays as it is."""
        from mkt_search.store.sql.upgrade import upgrade

        (directory / SEGMENTS).mkdir(parents=True, exist_ok=True)
        with lock.write_lock(directory, "mkt init"), _engine(directory, url) as engine:
            upgrade(engine)
            store = cls(directory, engine)
            store._check_is_own()
        return store

    @classmethod
    def open(cls, directory: Path, *, url: str | None = None, check: bool = True) -> "Store":
        """Open a library. Raises LibraryNotFound, SchemaOutdated (unless told not to check)."""
        if not (directory / SEGMENTS).is_dir() or (
            url is None and not (directory / DATABASE).is_file()
        ):
            raise LibraryNotFound(
                f"There is no library in {directory}. Make one with `mkt init`, or name one with "
                "--library DIR."
            )
        with _engine(directory, url) as engine:
            if check:
                check_schema(engine)
        return cls(directory, engine)

    def _check_is_own(self) -> None:
        """Raise StoreError if the database names segments of another library."""
        with reading(self.engine) as session:
            named = list(session.scalars(select(SegmentRow.file)))
        if named and not any((self.folder / file).exists() for file in named):
            raise StoreError(
                f"The database belongs to another library: none of its {len(named)} segments is in "
                f"{self.folder}. Name an empty database, or copy the segments of that library here."
            )

    def migrate(self) -> None:
        """Bring the database to this program's schema."""
        from mkt_search.store.sql.upgrade import upgrade

        with lock.write_lock(self.directory, "mkt migrate"):
            upgrade(self.engine)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @contextmanager
    def writing(self, command: str) -> Iterator[None]:
        """Hold the right to write; first remove what a crash left behind. Raises LibraryLocked."""
        with lock.write_lock(self.directory, command):
            self.remove_orphans()
            with transaction(self.engine) as session:
                runs.end_abandoned(session)
            yield

    def remove_orphans(self) -> list[str]:
        """Delete what a crash left behind: files that no row names. Only the writer may call it.

        Raises:
            StoreError: the database names none of many files, so it is hardly theirs.
        """
        with reading(self.engine) as session:
            named = set(session.scalars(select(SegmentRow.file)))
            sketches = generations.files(session)
        for path in self.index_folder.glob("*") if self.index_folder.is_dir() else ():
            if path.name not in sketches:
                log.info("removing %s, left by an interrupted run", path.name)
                path.unlink(missing_ok=True)
        files = (path for path in self.folder.iterdir() if not path.is_dir())
        orphans = [path for path in files if path.name not in named]
        if not named and len(orphans) > MOST_LEFT_BEHIND:
            raise StoreError(
                f"{self.folder} holds {len(orphans)} files, but the database knows none: is "
                "it this library's? Name the right one under [library] in mkt.toml, or put mkt.db "
                "back; files that are really nobody's can be deleted."
            )
        for path in orphans:
            log.info("removing %s, left by an interrupted run", path.name)
            path.unlink(missing_ok=True)
        return [path.name for path in orphans]

    @property
    def folder(self) -> Path:
        """Where the segments are."""
        return self.directory / SEGMENTS

    @property
    def index_folder(self) -> Path:
        """Where the generations are; it may not be there yet."""
        return self.directory / INDEX

    # Encodings

    def encodings(self) -> list[StoredEncoding]:
        """Return the encodings, oldest first: the active one, and one being built."""
        with reading(self.engine) as session:
            return [_stored(row) for row in encodings.encoding_rows(session)]

    @property
    def active(self) -> StoredEncoding | None:
        """The encoding that is searched, None while nothing was ever indexed."""
        return next((item for item in self.encodings() if item.state == "active"), None)

    @property
    def building(self) -> StoredEncoding | None:
        """The encoding a rebuild is making, if one is under way."""
        return next((item for item in self.encodings() if item.state == "building"), None)

    def find_encoding(
        self, encoding: Encoding, *, model: str, rebuild: bool = False
    ) -> StoredEncoding | None:
        """Return the encoding that `begin_encoding` would go on with, None for a new one.

        Raises:
            CheckpointMismatch: the library's vectors were made otherwise and `rebuild` is off.
        """
        active, building = self.active, self.building
        if building is not None and building.is_of(encoding):
            return building
        if active is None or rebuild:
            return None
        active.check_in_use()
        if active.is_of(encoding):
            return active
        raise CheckpointMismatch(_mismatch(active, encoding, model))

    def begin_encoding(
        self,
        encoding: Encoding,
        *,
        model: str,
        rebuild: bool = False,
    ) -> StoredEncoding:
        """Return the encoding to write under, new when the library has none or is rebuilt.

        A model of another name with the same student gives the same vectors; it is the one that is
        searched with from now on: a checkpoint that was moved, or one with another prompt.

        Raises:
            CheckpointMismatch: the library's vectors were made otherwise and `rebuild` is off.
        """
        found = self.find_encoding(encoding, model=model, rebuild=rebuild)
        if found is not None:
            return found if found.model == model else self._rename_model(found, model)
        active, building = self.active, self.building
        if building is not None:
            self._drop(building)
        row = EncodingRow(
            fingerprint=encoding.fingerprint,
            settings=encoding.as_settings(),
            model=model,
            state="active" if active is None else "building",
            created_at=photo_queries.now(),
        )
        with transaction(self.engine) as session:
            session.add(row)
        return _stored(row)

    def _rename_model(self, stored: StoredEncoding, model: str) -> StoredEncoding:
        with transaction(self.engine) as session:
            encodings.set_model(session, stored.id, model, None)
        return replace(stored, model=model, record=None)

    def record_model(self, model: str, checkpoint: str, record: ModelRecord | None) -> None:
        """Record what is known of a model with every encoding that it made.

        Args:
            model: its name, as it is opened.
            checkpoint: its fingerprint.
            record: what a search needs of it; None if that is unknown.
        """
        with transaction(self.engine) as session:
            for row in encodings.encoding_rows(session):
                if row.settings["checkpoint"] == checkpoint:
                    encodings.set_model(session, row.id, model, record)

    def finish_encoding(self, stored: StoredEncoding) -> bool:
        """Switch to a rebuilt encoding once every photo has its vectors; the old ones go.

        Returns False, and changes nothing, while photos without vectors are left.
        """
        if stored.state == "active":
            return True
        files: list[str] = []
        sketches: list[str] = []
        with transaction(self.engine) as session:
            if encodings.unencoded(session, stored.id):
                return False
            for row in encodings.encoding_rows(session):
                if row.id != stored.id:
                    if row.settings["checkpoint"] != stored.encoding.checkpoint:
                        runs.forget_labels(session)  # hardly of use for the new vectors
                    sketches += generations.drop(session, [row.id])
                    files += encodings.drop_encoding(session, row.id)
            session.execute(
                update(EncodingRow).where(EncodingRow.id == stored.id).values(state="active")
            )
            changes.bump(session, ())
        self.remove_files(files)
        self.remove_generations(sketches)
        return True

    def _drop(self, unwanted: StoredEncoding) -> None:
        with transaction(self.engine) as session:
            sketches = generations.drop(session, [unwanted.id])
            files = encodings.drop_encoding(session, unwanted.id)
        self.remove_files(files)
        self.remove_generations(sketches)

    def remove_files(self, files: Iterable[str]) -> None:
        """Delete segment files that no row names any more."""
        for file in files:
            (self.folder / file).unlink(missing_ok=True)

    def drop_generation(self, stored: StoredEncoding) -> None:
        """Let go of an encoding's candidate index; searches read every photo then."""
        with transaction(self.engine) as session:
            files = generations.drop(session, [stored.id])
            changes.bump(session, ())
        self.remove_generations(files)

    def remove_generations(self, files: Iterable[str]) -> None:
        """Delete files of generations that no row names any more."""
        for file in files:
            (self.index_folder / file).unlink(missing_ok=True)

    # Photos

    def place_of(self, folder: Path) -> RootLocation:
        """Return where a folder stands among the roots, registering it if it is new."""
        with transaction(self.engine) as session:
            return photo_queries.register(session, photo_queries.locate(session, folder))

    def known(self, place: RootLocation, stored: StoredEncoding | None) -> dict[str, KnownPhoto]:
        """Return what is recorded below a folder, by path relative to its root."""
        with reading(self.engine) as session:
            return photo_queries.known(session, place, stored.id if stored else None)

    def stored_contents(self, contents: Iterable[str], stored: StoredEncoding) -> set[str]:
        """Return those contents (hex SHA-256) that already have vectors."""
        with reading(self.engine) as session:
            return photo_queries.stored_contents(session, contents, stored.id)

    def add(self, place: RootLocation, stored: StoredEncoding, batch: Batch) -> None:
        """Commit a batch: the segment first, whole on disk, then one transaction for all its rows.

        Raises:
            StoreError: the disk is full or cannot be written; the library is as it was before.
        """
        new = sorted((p for p in batch.photos if p.row is not None), key=lambda p: p.row or 0)
        written = None
        if batch.vectors is not None and len(batch.vectors):
            contents = [photo.content for photo in new]
            written = self._write(batch.vectors, contents, stored)
        with transaction(self.engine) as session:
            named = [photo.content for photo in batch.photos]
            named += [failed.content for failed in batch.failed if failed.content]
            ids = photo_queries.content_ids(session, named)
            touched = photo_queries.record(session, place, batch.photos, batch.failed, ids)
            if written is not None:
                new_ids = [ids[photo.content] for photo in new]
                encodings.add_segment(session, stored.id, written, new_ids)
                touched.update(new_ids)
            changes.bump(session, touched)

    def _write(
        self, vectors: PhotoVectors, contents: Sequence[str], stored: StoredEncoding
    ) -> Written:
        with self.writing_files():
            return segments.write(
                self.folder, vectors, contents, stored.encoding, prefix=f"{stored.id}-"
            )

    def writing_files(self) -> AbstractContextManager[None]:
        """Turn what a disk refuses into a StoreError."""
        return disk_errors(self.directory)

    def mark_missing(self, photo_ids: Sequence[int]) -> None:
        """Remember that files vanished; their vectors and tags stay until `mkt prune`."""
        with transaction(self.engine) as session:
            photo_queries.mark_missing(session, photo_ids)
            changes.bump(session, photo_queries.contents_of(session, photo_ids))

    def touch(self, files: Sequence[tuple[int, Any]]) -> None:
        """Record new sizes and times, (photo id, PhotoFile), of files whose bytes are the same."""
        with transaction(self.engine) as session:
            for photo_id, file in files:
                photo_queries.touch(session, photo_id, file)
            changes.bump(session, photo_queries.contents_of(session, [photo for photo, _ in files]))

    def forget_segment(self, segment_id: int) -> None:
        """Let go of a damaged segment; its photos count as not encoded, so they will be.

        The candidate index goes with it.
        """
        with transaction(self.engine) as session:
            file = session.scalar(select(SegmentRow.file).where(SegmentRow.id == segment_id))
            held = select(VectorRow.content_id).where(VectorRow.segment_id == segment_id)
            changes.bump(session, session.scalars(held))
            # its photos may be encoded a little otherwise than the sketch has them
            of = select(SegmentRow.encoding_id).where(SegmentRow.id == segment_id)
            sketches = generations.drop(session, list(session.scalars(of)))
            session.execute(delete(VectorRow).where(VectorRow.segment_id == segment_id))
            session.execute(delete(SegmentRow).where(SegmentRow.id == segment_id))
        if file is not None:
            self.remove_files([file])
        self.remove_generations(sketches)

    # Vectors

    def manifest(self, encoding_id: int, *, since: int | None = None) -> Manifest:
        """Return an encoding's segments and live vectors, all read at one moment.

        Args:
            encoding_id: whose.
            since: a revision; only what has changed after it, where the journal reaches back to it.

        Raises:
            LibraryDamaged: the encoding is gone; a rebuild has taken its place.
        """
        with reading(self.engine) as session:
            if session.get(EncodingRow, encoding_id) is None:
                raise LibraryDamaged("These vectors are gone: a rebuild replaced them. Ask again.")
            number = changes.revision(session)
            files = encodings.segment_files(session, encoding_id)
            generation = generations.find(session, encoding_id)
            if since is None or not changes.reaches(session, since):
                live = encodings.live_vectors(session, encoding_id)
                return Manifest(number, files, live, generation)
            changed = np.array(changes.changed(session, since), np.int64)
            live = encodings.live_vectors_of_changed(session, encoding_id, since)
            return Manifest(number, files, live, generation, changed)

    def segment_files(self, encoding_id: int) -> dict[int, str]:
        """Return the file of every segment of an encoding, by segment id."""
        return self.manifest(encoding_id).files

    def live_vectors(self, encoding_id: int) -> NDArray[np.int64]:
        """Return (n, 3): segment id, row and content id of every vector some indexed photo has."""
        return self.manifest(encoding_id).live

    def revision(self) -> int:
        """Return a number that grows with every change of what a search could find."""
        with reading(self.engine) as session:
            return changes.revision(session)

    # Runs

    @contextmanager
    def run(self, kind: str, settings: dict[str, Any]) -> Iterator["Run"]:
        """Record a run around a block: done at its end, else interrupted or failed."""
        process = f"pid {os.getpid()} on {socket.gethostname()}"
        with transaction(self.engine) as session:
            run = Run(runs.start_run(session, kind, settings, process), {})
        outcome = "failed"
        try:
            yield run
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            try:
                with transaction(self.engine) as session:
                    runs.end_run(session, run.id, outcome, run.summary)
            except StoreError:
                log.warning("the outcome of run %d could not be recorded", run.id)
                if outcome == "done":
                    raise


@dataclass
class Run:
    """A run under way: its id, and the summary that is recorded when it ends."""

    id: int
    summary: dict[str, Any]


@contextmanager
def _engine(directory: Path, url: str | None) -> Iterator[Engine]:
    """Open the database, and close it again if the block fails."""
    engine = open_engine(url or _sqlite(directory))
    try:
        yield engine
    except BaseException:
        engine.dispose()
        raise


def _sqlite(directory: Path) -> URL:
    """Return the URL of a library's own database; put together by parts, for a "?" in a name."""
    return URL.create("sqlite", database=str(directory.resolve() / DATABASE))


def _stored(row: EncodingRow) -> StoredEncoding:
    encoding, retired = encodings.encoding_of(row), encodings.retired_form(row.settings)
    record = encodings.model_record_of(row)
    return StoredEncoding(row.id, encoding, row.model, row.state, retired, record)


def _mismatch(active: StoredEncoding, encoding: Encoding, model: str) -> str:
    old, new = asdict(active.encoding), asdict(encoding)
    if old["checkpoint"] != new["checkpoint"]:
        return (
            f"This library was made with checkpoint {old['checkpoint']} ({active.model}), but "
            f"{new['checkpoint']} ({model}) was asked for. Vectors of two checkpoints cannot be "
            "compared: run `mkt index --rebuild` to encode every photo anew, or name the first."
        )
    changed = ", ".join(f"{k} {old[k]} -> {new[k]}" for k in old if old[k] != new[k])
    return (
        f"This library was made with other settings ({changed}). Run `mkt index --rebuild` to "
        "encode every photo anew, or leave the setting as it was."
    )
