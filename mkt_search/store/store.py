"""The library on disk: a catalog in a database, and segment files of vectors beside it.

The catalog is the truth. A batch is one commit: its segment is written, synced and renamed, its
folder synced, and then one transaction names it together with the photos. A crash before the
transaction leaves a file that nothing names, which the next writer deletes; the database never
names a segment that is not whole.
"""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mkt_search.errors import (
    CheckpointMismatch,
    LibraryDamaged,
    LibraryNotFound,
    SchemaOutdated,
    StoreError,
)
from mkt_search.locks import LockHeld
from mkt_search.portable import remove
from mkt_search.store import identity, lock
from mkt_search.store.disk import disk_errors
from mkt_search.store.local_vectors import LocalVectorStore
from mkt_search.store.lock import being_written, write_lock
from mkt_search.store.manifest import (
    CandidateIndex,
    FileNames,
    Manifest,
    StoredEncoding,
)
from mkt_search.store.records import Batch, RootLocation
from mkt_search.store.sql.catalog import SqlCatalog
from mkt_search.store.sql.vector_catalog import VectorCatalog
from mkt_search.types import Encoding, ModelRecord

log = logging.getLogger(__name__)

DATABASE = "mkt.db"
SEGMENTS = "segments"
INDEX = "index"
VERSIONS = frozenset({"decoder"})
"""Fields of an encoding that no setting changes."""
MAX_FILES_OF_A_FIRST_COMMIT = 2
"""Files that a library may hold which was interrupted before its first commit."""


class Store:
    """A library's folder and its catalog. Writing belongs inside `writing`.

    `catalog` answers search, tagging, evaluation and indexing; `vectors` is what the database says
    of the files in `folder` and `index_folder`.
    """

    def __init__(self, directory: Path, catalog: SqlCatalog) -> None:
        self.directory = directory
        self.folder = directory / SEGMENTS
        self.index_folder = directory / INDEX
        self.catalog = catalog
        self.vectors = VectorCatalog(catalog.engine)

    # Opening and closing

    @classmethod
    def create(cls, directory: Path, *, url: str | None = None) -> "Store":
        """Make a library, or finish one that was left half made; a whole one stays as it is.

        Args:
            directory: its folder.
            url: of its database; None is SQLite in the folder.

        Raises:
            LibraryLocked: another process is writing.
            StoreError: the database cannot be used, or belongs to another library.
            OSError: the folder cannot be made.
        """
        _refuse_links(directory)
        with _connected(directory, url) as store:  # a wrong URL is refused before a folder is made
            store.folder.mkdir(parents=True, exist_ok=True)
            with store._locked("mkt init"):
                store._refuse_lost_database()
                store.catalog.upgrade()
                store._take_database()
        return store

    @classmethod
    def open(cls, directory: Path, *, url: str | None = None, check: bool = True) -> "Store":
        """Open a library; `check` refuses a database of another schema.

        Raises:
            LibraryNotFound, LibraryDamaged, SchemaOutdated, StoreError.
        """
        _refuse_links(directory)
        with _connected(directory, url) as store:
            store._refuse_missing_database()
            if check:
                try:
                    store.catalog.check_schema()
                except SchemaOutdated:
                    store._refuse_lost_database()
                    raise
                store._refuse_database_of_another()
        return store

    def migrate(self) -> None:
        """Bring the database to the schema of this version."""
        with self._locked("mkt migrate"):
            self._refuse_lost_database()
            self.catalog.upgrade()
            self._take_database()

    def close(self) -> None:
        """Close the database; every later call that needs it raises StoreError."""
        self.catalog.close()

    # The database of this library

    def _refuse_missing_database(self) -> None:
        file = self.catalog.file
        is_there = file is None or file.is_file()
        if self.directory.is_dir() and not is_there and not self._has_own_database:
            raise LibraryNotFound(
                f"There is no database {file}. Correct the URL under [library] in mkt.toml, or run "
                "`mkt init` to make the database."
            )
        if not (self.directory.is_dir() and is_there):
            self._refuse_lost_database()
            raise LibraryNotFound(
                f"There is no library in {self.directory}. Make one with `mkt init`, or name one "
                "with --library DIR."
            )

    def _refuse_lost_database(self) -> None:
        """Raise LibraryDamaged if there are segments, but nothing in the database."""
        file, segments = self.catalog.file, len(self._segment_files())
        if segments <= MAX_FILES_OF_A_FIRST_COMMIT:
            return
        if (file is None or file.is_file()) and not self.catalog.is_empty():
            return
        if self._has_own_database:
            raise LibraryDamaged(
                f"{file} is missing or empty, but {self.folder} has {segments} files: restore the "
                f"database from a backup. Without one, move {self.directory} away, run `mkt init` "
                "and index again; tags are lost."
            )
        raise LibraryDamaged(
            f"The database is missing or empty, but {self.folder} has {segments} files: restore it "
            "from a backup, or correct the URL under [library] in mkt.toml."
        )

    @property
    def _has_own_database(self) -> bool:
        """Whether the database lies in the library's folder, and so belongs to it."""
        return self.catalog.file == (self.directory / DATABASE).resolve()

    def _refuse_database_of_another(self) -> None:
        """Raise StoreError if a database elsewhere belongs to another library."""
        if self._has_own_database:
            return
        known, own = self.catalog.library_id(), identity.read(self.directory)
        if known is not None and known == own:
            return
        if known is None or own is None:  # new, made by an earlier version, or restored
            named = self.vectors.named_files().segments
            if any((self.folder / file).exists() for file in named) or not (named or known):
                return
        raise StoreError(
            f"The database belongs to another library than {self.directory}. Name the library's "
            "own database, or an empty one, under [library] in mkt.toml."
        )

    def _take_database(self) -> None:
        """Record that the database belongs to this library. Only the writer may.

        Raises:
            StoreError: it belongs to another one, or the folder cannot be written.
        """
        self._refuse_database_of_another()
        known, own = self.catalog.library_id(), identity.read(self.directory)
        library = known or own or identity.new()
        if library != own and not self._has_own_database:
            with disk_errors(self.directory):
                identity.write(self.directory, library)
        if known is None:
            self.catalog.set_library_id(library)
            self._refuse_database_of_another()  # which was faster

    # Writing

    @contextmanager
    def writing(self, command: str) -> Iterator[None]:
        """Hold the write lock, and first clean up after a crash.

        Raises:
            LibraryLocked: another process is writing.
            StoreError: the library cannot be written, or its segments belong to another database.
        """
        with self._locked(command):
            self._take_database()
            with disk_errors(self.directory):
                self.folder.mkdir(exist_ok=True)
            self.catalog.write_back()
            self.delete_orphans()
            with suppress(StoreError):  # on a full disk, where `mkt prune` makes room
                self.catalog.end_abandoned_runs()
            yield

    @contextmanager
    def _locked(self, command: str) -> Iterator[None]:
        """Keep out other writers: to the folder, and to a database on a server."""
        with write_lock(self.directory, command), ExitStack() as stack:
            try:
                stack.enter_context(self.catalog.writing(command))
            except LockHeld as holder:
                raise being_written("The database", holder) from None
            yield

    def writer(self) -> str | None:
        """Return who writes to the library now, None when nobody does."""
        return lock.writer(self.directory) or self.catalog.writer()

    @contextmanager
    def run(self, kind: str, settings: dict[str, Any]) -> Iterator["Run"]:
        """Record a run around a block: done, interrupted (KeyboardInterrupt) or failed."""
        process = f"pid {os.getpid()} on {socket.gethostname()}"
        run = Run(self.catalog.start_run(kind, settings, process), {})
        outcome = "failed"
        try:
            yield run
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            try:
                self.catalog.end_run(run.id, outcome, run.summary)
            except StoreError:
                log.warning("the outcome of run %d could not be recorded", run.id)
                if outcome == "done":
                    raise

    def add(self, location: RootLocation, stored: StoredEncoding, batch: Batch) -> None:
        """Commit a batch: first its segment, whole on disk, then all its rows in one transaction.

        Args:
            location: the registered root of all paths.
            stored: the encoding of the vectors.
            batch: what to add.

        Raises:
            StoreError: the disk is full or cannot be written; the library is as it was before.
        """
        segment = None
        if batch.vectors is not None and len(batch.vectors):
            contents = [photo.content for photo in batch.encoded]
            segment = self.vector_store(stored).add(batch.vectors, contents)
        self.vectors.commit(location, stored.id, batch, segment)

    def vector_store(self, stored: StoredEncoding) -> LocalVectorStore:
        """Return where the vectors of an encoding are kept."""
        return LocalVectorStore(self, stored)

    # Files

    def delete_files(self, unused: FileNames) -> None:
        """Delete files that the catalog no longer names.

        One that is read on Windows is left to `delete_orphans`.
        """
        with disk_errors(self.directory):
            for file in unused.segments:
                remove(self.folder / file)
            for file in unused.index:
                remove(self.index_folder / file)

    def delete_orphans(self) -> None:
        """Delete files that a crash left behind, which nothing names. Only the writer may.

        Raises:
            StoreError: nothing names any of many files, so they belong to another database.
        """
        named = self.vectors.named_files()
        orphans = [name for name in self._segment_files() if name not in named.segments]
        if not named.segments and len(orphans) > MAX_FILES_OF_A_FIRST_COMMIT:
            raise StoreError(
                f"{self.folder} holds {len(orphans)} files, but the database knows none: is "
                "it this library's? Name the right one under [library] in mkt.toml, or put mkt.db "
                "back; files that belong to no library can be deleted."
            )
        index = self.index_folder.iterdir() if self.index_folder.is_dir() else ()
        unused = [path.name for path in index if path.name not in named.index and not path.is_dir()]
        for name in (*orphans, *unused):
            log.info("removing %s, left by an interrupted run", name)
        self.delete_files(FileNames(tuple(orphans), tuple(unused)))

    def _segment_files(self) -> list[str]:
        """Return the names of the files where segments are."""
        if not self.folder.is_dir():
            return []
        return [path.name for path in self.folder.iterdir() if not path.is_dir()]

    # Encodings

    @property
    def active(self) -> StoredEncoding | None:
        """The encoding that is searched, None while nothing was ever indexed."""
        return next((item for item in self.encodings() if item.state == "active"), None)

    @property
    def building(self) -> StoredEncoding | None:
        """The encoding that a rebuild is filling, None if there is none."""
        return next((item for item in self.encodings() if item.state == "building"), None)

    def encodings(self) -> list[StoredEncoding]:
        """Return the encodings, oldest first: the active one, and one that is being built."""
        return self.vectors.encodings()

    def find_encoding(
        self, encoding: Encoding, *, model: str, rebuild: bool = False
    ) -> StoredEncoding | None:
        """Return the encoding that `begin_encoding` would continue, None for a new one.

        Raises:
            CheckpointMismatch: the library's vectors were made otherwise, and this is no rebuild.
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
        self, encoding: Encoding, *, model: str, rebuild: bool = False
    ) -> StoredEncoding:
        """Return the encoding to write under, a new one if the library has none or is rebuilt.

        A model of another name with the same student gives the same vectors: a checkpoint that was
        moved, or one with another prompt. Searches use it from now on.

        Raises:
            CheckpointMismatch: the library's vectors were made otherwise, and this is no rebuild.
        """
        found = self.find_encoding(encoding, model=model, rebuild=rebuild)
        if found is not None:
            return found if found.model == model else self._rename_model(found, model)
        active, building = self.active, self.building
        if building is not None:
            self.delete_files(self.vectors.delete_encoding(building.id))
        state = "active" if active is None else "building"
        return self.vectors.add_encoding(encoding, model=model, state=state)

    def finish_encoding(self, stored: StoredEncoding) -> bool:
        """Make a rebuilt encoding the active one and delete the old one.

        Returns False, and changes nothing, while some photos have no vectors under it.
        """
        if stored.state == "active":
            return True
        unused = self.vectors.activate(stored)
        if unused is None:
            return False
        self.delete_files(unused)
        return True

    def record_model(
        self, model: str, checkpoint: str, record: ModelRecord | None, *, wait: bool = True
    ) -> None:
        """Record what is known of a model with every encoding that it made.

        Args:
            model: its name, as it is opened.
            checkpoint: its fingerprint.
            record: what a search needs of it; None if that is unknown.
            wait: wait for other transactions that write; False is for readers.

        Raises:
            StoreError: the database cannot be written, or without `wait` not now.
        """
        made = [one.id for one in self.encodings() if one.encoding.checkpoint == checkpoint]
        self.vectors.record_model(made, model, record, wait=wait)

    def _rename_model(self, stored: StoredEncoding, model: str) -> StoredEncoding:
        self.vectors.record_model([stored.id], model, None)
        return replace(stored, model=model, record=None)

    # Vectors

    def revision(self) -> int:
        """Return a number that grows with every change of what a search could find."""
        return self.vectors.revision()

    def manifest(self, encoding_id: int, *, since: int | None = None) -> Manifest:
        """Return the segments and live vectors of an encoding; see `VectorCatalog.manifest`."""
        return self.vectors.manifest(encoding_id, since=since)

    def content_sha256s(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return the SHA-256 of contents; those that are gone are left out."""
        return self.vectors.content_sha256s(content_ids)

    def delete_segment(self, segment_id: int) -> None:
        """Delete a damaged segment; its photos then have no vectors, and are encoded again."""
        self.delete_files(self.vectors.delete_segment(segment_id))

    def candidate_index(self, stored: StoredEncoding) -> CandidateIndex | None:
        """Return the candidate index of an encoding, None if there is none that can be read."""
        return self.vectors.candidate_index(stored.id)

    def delete_candidate_index(self, stored: StoredEncoding) -> None:
        """Delete the candidate index of an encoding; searches then read every photo."""
        self.delete_files(self.vectors.delete_candidate_index(stored.id))


@dataclass
class Run:
    """A run under way: its id, and the summary that is recorded when it ends."""

    id: int
    summary: dict[str, Any]


def _refuse_links(directory: Path) -> None:
    """Raise StoreError for a link in a library's folder, through which mkt would write elsewhere.

    The folder itself may be a link. Links in `segments` and `index` are refused when they are read.
    """
    entries = directory.iterdir() if directory.is_dir() else ()
    links = sorted(path.name for path in entries if path.is_symlink())
    if links:
        raise StoreError(
            f"{directory / links[0]} is a link, which a library must not have: it could lead to "
            "other files of yours. Put the file or folder itself there; to keep a library on "
            f"another disk, move all of {directory.name}."
        )


@contextmanager
def _connected(directory: Path, url: str | None) -> Iterator[Store]:
    """Connect to a library's database, and disconnect if the block fails."""
    store = Store(directory, SqlCatalog.open(directory / DATABASE, url))
    try:
        yield store
    except BaseException:
        store.close()
        raise


def _mismatch(active: StoredEncoding, encoding: Encoding, model: str) -> str:
    old, new = asdict(active.encoding), asdict(encoding)
    if old["checkpoint"] != new["checkpoint"]:
        return (
            f"This library was made with checkpoint {old['checkpoint']} ({active.model}), but "
            f"{new['checkpoint']} ({model}) was given. Vectors of two checkpoints cannot be "
            "compared: run `mkt index --rebuild` to encode every photo again, or name the first."
        )
    keys = [key for key in old if old[key] != new[key]]
    changed = ", ".join(f"{key} {old[key]} -> {new[key]}" for key in keys)
    if VERSIONS.issuperset(keys):
        return (
            f"This library was made by an earlier version ({changed}): run `mkt index --rebuild` "
            "to encode every photo again. Until then it can be searched as it is; all tags stay."
        )
    return (
        f"This library was made with other settings ({changed}). Run `mkt index --rebuild` to "
        "encode every photo again, or leave the setting as it was."
    )
