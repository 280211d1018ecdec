"""The catalog of stored vectors: encodings, segments, candidate indexes, the journal.

The store alone uses it; search, tagging and indexing use `SqlCatalog`. A method that makes files
unused returns their names: they are deleted after the transaction, so that a crash leaves files
that nothing names and never names without files.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged
from mkt_search.store.manifest import (
    CandidateIndex,
    FileNames,
    Manifest,
    SegmentRecord,
    StoredEncoding,
    StoredFile,
)
from mkt_search.store.records import Batch, PruneReport, RootLocation
from mkt_search.store.sql import (
    candidate_indexes,
    changes,
    contents,
    damage,
    encodings,
    label_vectors,
    miniatures,
    photos,
    vectors,
)
from mkt_search.store.sql.damage import value_problems
from mkt_search.store.sql.database import integrity_problems, reading, transaction
from mkt_search.store.sql.prune import prunable_segments, prune
from mkt_search.types import Encoding, ModelRecord


class VectorCatalog:
    """What the database says of the files of vectors; every method is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Encodings

    def encodings(self) -> list[StoredEncoding]:
        """Return every encoding, oldest first."""
        with reading(self._engine) as session:
            return encodings.listed(session)

    def add_encoding(self, encoding: Encoding, *, model: str, state: str) -> StoredEncoding:
        """Add an encoding without vectors."""
        with transaction(self._engine) as session:
            return encodings.add(session, encoding, model=model, state=state)

    def record_model(
        self,
        encoding_ids: Sequence[int],
        model: str,
        record: ModelRecord | None,
        *,
        wait: bool = True,
    ) -> None:
        """Record the name of the model of encodings, and what is known of the model.

        Raises:
            StoreError: without `wait`, another transaction is writing now.
        """
        with transaction(self._engine, wait=wait) as session:
            for encoding_id in encoding_ids:
                encodings.set_model(session, encoding_id, model, record)

    def activate(self, built: StoredEncoding) -> FileNames | None:
        """Make an encoding the active one and delete all others, or return None.

        None means that nothing changed, because some indexed photos have no vectors under it.
        """
        with transaction(self._engine) as session:
            if vectors.count_unencoded(session, built.id):
                return None
            others = [item for item in encodings.listed(session) if item.id != built.id]
            if any(o.encoding.checkpoint != built.encoding.checkpoint for o in others):
                label_vectors.delete_all(session)  # they are of another model
            unused = _delete_encodings(session, [item.id for item in others])
            encodings.set_state(session, built.id, "active")
            changes.record_change(session, ())
        return unused

    def delete_encoding(self, encoding_id: int) -> FileNames:
        """Delete an encoding with its segments and its candidate index."""
        with transaction(self._engine) as session:
            return _delete_encodings(session, [encoding_id])

    # Commits

    def commit(
        self,
        location: RootLocation,
        encoding_id: int,
        batch: Batch,
        segment: StoredFile | None,
    ) -> None:
        """Record a batch and name its segment, which is whole on disk.

        Args:
            location: the registered root of all paths.
            encoding_id: the encoding of the vectors.
            batch: photos and failures.
            segment: the file with the vectors of the batch's photos that have a `row`; None if
                there are none.
        """
        named = [photo.content for photo in batch.photos]
        named += [failed.content for failed in batch.failed if failed.content]
        with transaction(self._engine) as session:
            ids = contents.add(session, named)
            changed = photos.record(session, location, batch.photos, batch.failed, ids)
            miniatures.add(
                session,
                {ids[p.content]: p.miniature for p in batch.photos if p.miniature is not None},
            )
            if segment is not None:
                encoded = [ids[photo.content] for photo in batch.encoded]
                vectors.add_segment(session, encoding_id, segment, encoded)
                changed.update(encoded)
            changes.record_change(session, changed)

    def replace_segments(
        self,
        encoding_id: int,
        old: Sequence[SegmentRecord],
        new: StoredFile | None,
        content_ids: Sequence[int],
    ) -> FileNames:
        """Name one segment in place of several.

        Args:
            encoding_id: the encoding of all of them.
            old: the segments that go.
            new: the file that has the rows of `content_ids`; None if no row is in use.
            content_ids: the content of each row of `new`.
        """
        with transaction(self._engine) as session:
            vectors.delete_segments(session, [segment.id for segment in old])
            if new is not None:
                vectors.add_segment(session, encoding_id, new, content_ids)
            changes.record_change(session, content_ids)
        kept = new.name if new is not None else None
        return FileNames(tuple(one.file.name for one in old if one.file.name != kept))

    def delete_segment(self, segment_id: int) -> FileNames:
        """Delete a damaged segment, so that its photos count as not encoded.

        The candidate index of its encoding goes with it, because encoding the photos again may give
        slightly different vectors.
        """
        with transaction(self._engine) as session:
            found = vectors.find_segment(session, segment_id)
            if found is None:
                return FileNames()
            encoding_id, file = found
            in_use = vectors.rows_in_use(session, segment_id)[:, 1].tolist()
            changes.record_change(session, in_use)
            index_files = candidate_indexes.drop(session, [encoding_id])
            vectors.delete_segments(session, [segment_id])
        return FileNames((file,), tuple(index_files))

    def prune(
        self, *, tagged: bool = False, dry_run: bool = False
    ) -> tuple[PruneReport, FileNames]:
        """Delete missing photos and what no photo needs; a dry run only reports it.

        Args:
            tagged: also missing photos that a person tagged, and these tags.
            dry_run: change nothing.
        """
        with transaction(self._engine) as session:
            report, unused = prune(session, tagged=tagged)
            if dry_run:
                session.rollback()
                return report, FileNames()
        return report, unused

    def prunable_files(self, *, tagged: bool = False) -> FileNames:
        """Return the files that `prune` makes unused, and those of all candidate indexes."""
        with reading(self._engine) as session:
            index_files = candidate_indexes.files(session)
            return FileNames(tuple(prunable_segments(session, tagged=tagged)), tuple(index_files))

    # Candidate indexes

    def candidate_index(self, encoding_id: int) -> CandidateIndex | None:
        """Return the candidate index of an encoding, None if there is none that can be read."""
        with reading(self._engine) as session:
            return candidate_indexes.find(session, encoding_id)

    def set_candidate_index(self, encoding_id: int, index: CandidateIndex) -> FileNames:
        """Set the candidate index of an encoding, and shorten the journal to what it lacks."""
        with transaction(self._engine) as session:
            unused = candidate_indexes.replace(session, encoding_id, index)
            changes.delete_changes(session, until=index.revision)
            changes.record_change(session, ())
        return FileNames(index=tuple(unused))

    def delete_candidate_index(self, encoding_id: int) -> FileNames:
        """Delete the candidate index of an encoding; searches then read every photo."""
        with transaction(self._engine) as session:
            unused = candidate_indexes.drop(session, [encoding_id])
            changes.record_change(session, ())
        return FileNames(index=tuple(unused))

    # Reading

    def revision(self) -> int:
        """Return a number that grows with every change of what a search could find."""
        with reading(self._engine) as session:
            return changes.revision(session)

    def manifest(self, encoding_id: int, *, since: int | None = None) -> Manifest:
        """Return the segments and live vectors of an encoding at one revision.

        Args:
            encoding_id: the encoding.
            since: a revision; return only what changed after it, if the journal goes back so far.

        Raises:
            LibraryDamaged: the encoding was deleted, because a rebuild has replaced it.
        """
        with reading(self._engine) as session:
            if not encodings.exists(session, encoding_id):
                raise LibraryDamaged("These vectors are gone: a rebuild replaced them. Ask again.")
            revision = changes.revision(session)
            files = vectors.segment_files(session, encoding_id)
            index = candidate_indexes.find(session, encoding_id)
            if since is None or not changes.covers(session, since):
                return Manifest(revision, files, vectors.live(session, encoding_id), index)
            changed = np.array(changes.changed(session, since), np.int64)
            live = vectors.live_changed(session, encoding_id, since)
            return Manifest(revision, files, live, index, changed)

    def content_sha256s(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return the SHA-256 of contents; those that are gone are left out."""
        with reading(self._engine) as session:
            return contents.sha256s(session, content_ids)

    def segments(self, encoding_id: int) -> list[SegmentRecord]:
        """Return the segments of an encoding, oldest first."""
        with reading(self._engine) as session:
            return vectors.segments(session, encoding_id)

    def rows_in_use(self, segments: Sequence[SegmentRecord]) -> list[NDArray[np.int64]]:
        """Return (n, 2) for each segment: row and content id of what contents need of it."""
        with reading(self._engine) as session:
            return [vectors.rows_in_use(session, segment.id) for segment in segments]

    def count_rows_in_use(self, encoding_id: int) -> dict[int, int]:
        """Return how many rows contents need of each segment, by segment id."""
        with reading(self._engine) as session:
            return vectors.count_rows_in_use(session, encoding_id)

    def contents_of_rows(self, segment_id: int) -> list[tuple[int, bytes]]:
        """Return (row, SHA-256 of the content) for the rows in use of a segment."""
        with reading(self._engine) as session:
            return vectors.contents_of_rows(session, segment_id)

    def named_files(self) -> FileNames:
        """Return the names of all files that the database names."""
        with reading(self._engine) as session:
            segments = vectors.segment_files(session).values()
            return FileNames(tuple(segments), tuple(candidate_indexes.files(session)))

    def integrity_problems(self) -> Iterator[tuple[str, str]]:
        """Yield (table or "", what is wrong) of the database itself. Raises LibraryDamaged."""
        with reading(self._engine) as session:
            yield from integrity_problems(session)
            yield from value_problems(session)

    def delete_damaged(self) -> FileNames:
        """Delete damaged rows of which `damage.REPAIRABLE` says that they can be made again."""
        with transaction(self._engine) as session:
            return damage.delete_damaged(session)


def _delete_encodings(session: Session, encoding_ids: Sequence[int]) -> FileNames:
    index_files = candidate_indexes.drop(session, encoding_ids)
    files: list[str] = []
    for encoding_id in encoding_ids:
        segments = vectors.segment_files(session, encoding_id)
        vectors.delete_segments(session, list(segments))
        encodings.delete_encoding(session, encoding_id)
        files += segments.values()
    return FileNames(tuple(files), tuple(index_files))
