"""The catalog in a SQL database: each method is one session over the queries beside it."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine

from mkt_search.progress import ProgressCallback
from mkt_search.store.records import (
    Copies,
    Evaluation,
    KnownPhoto,
    PhotoRecord,
    RootLocation,
    RunInfo,
    TagReport,
)
from mkt_search.store.spill import SpillFile
from mkt_search.store.sql import candidate_index as candidate_indexes
from mkt_search.store.sql import (
    changes,
    copies,
    encodings,
    evaluations,
    photos,
    runs,
    tag_runs,
    tags,
)
from mkt_search.store.sql.database import reading, transaction
from mkt_search.types import Filters, PhotoFile, Tag

PHOTOS_PER_LOOKUP = 500


class SqlCatalog:
    """The catalog of a library; see `store.catalog` for what its methods promise."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # Catalog

    def photos(
        self, *, state: str | None = None, filters: Filters | None = None
    ) -> Iterator[PhotoRecord]:
        """Yield photos in the order of their paths: all, or those indexed, failed or missing."""
        with reading(self.engine) as session:
            yield from photos.photos(session, state=state, filters=filters)

    def photo_at(self, path: Path) -> PhotoRecord | None:
        """Return the photo at an absolute path, None if there is none."""
        with reading(self.engine) as session:
            return photos.find_photo(session, path)

    def count_indexed(self) -> int:
        """Count the photos that can be found."""
        with reading(self.engine) as session:
            return photos.count_indexed(session)

    def photos_of_contents(
        self, content_ids: Sequence[int], filters: Filters
    ) -> dict[int, list[PhotoRecord]]:
        """Return the indexed photos of contents by content id, the oldest row first."""
        with reading(self.engine) as session:
            return photos.photos_of_contents(session, content_ids, filters)

    def matching_content_ids(self, filters: Filters) -> list[int]:
        """Return the contents of indexed photos that meet the filters."""
        with reading(self.engine) as session:
            return photos.matching_contents(session, filters)

    def content_ids_of(self, contents: Collection[str]) -> dict[str, int]:
        """Return the ids of those contents (SHA-256 in hex) that the library has."""
        with reading(self.engine) as session:
            return photos.known_content_ids(session, sorted(contents))

    def label_vectors(self, encoder: str, labels: Sequence[str]) -> dict[str, bytes]:
        """Return remembered vectors of labels under a label encoder, little-endian float32."""
        with reading(self.engine) as session:
            return runs.label_vectors(session, encoder, labels)

    def remember_label_vectors(self, encoder: str, vectors: dict[str, bytes]) -> None:
        """Remember vectors of labels; a label that is remembered keeps its vector."""
        with transaction(self.engine) as session:
            runs.remember_labels(session, encoder, vectors)

    # TagCatalog

    def tags(
        self,
        *,
        label: str | None = None,
        source: str | None = None,
        run: int | None = None,
        filters: Filters | None = None,
    ) -> Iterator[Tag]:
        """Yield the current tags by photo, best score first."""
        with reading(self.engine) as session:
            yield from tags.current(session, label=label, source=source, run=run, filters=filters)

    def add_tag(self, photo_ids: Sequence[int], label: str) -> int:
        """Tag photos by hand; return how many did not have the tag by hand yet."""
        with transaction(self.engine) as session:
            return tags.add_by_hand(session, photo_ids, label)

    def remove_tag(self, photo_ids: Sequence[int], label: str) -> int:
        """Remove a label from photos, whoever set it; return how many had it."""
        with transaction(self.engine) as session:
            return tags.remove_by_hand(session, photo_ids, label)

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
        with reading(self.engine) as session:
            return tag_runs.preview(session, assignments, labels)

    def revert_run(self, run: int) -> TagReport:
        """Delete a run's tags and restore those it replaced. Raises QueryError."""
        with transaction(self.engine) as session:
            return tag_runs.revert(session, run)

    def runs(self) -> list[RunInfo]:
        """Return every run, the oldest first."""
        with reading(self.engine) as session:
            return runs.listed(session)

    # IndexCatalog

    def root_folders(self) -> list[Path]:
        """Return the registered folders in the order of their paths."""
        with reading(self.engine) as session:
            return [folder for _, folder, _ in photos.roots(session)]

    def locate(self, folder: Path) -> RootLocation:
        """Return where a folder lies among the roots; nothing is registered."""
        with reading(self.engine) as session:
            return photos.locate(session, folder)

    def known(self, location: RootLocation, encoding_id: int | None) -> dict[str, KnownPhoto]:
        """Return the photos below a location, by path relative to its root."""
        with reading(self.engine) as session:
            return photos.known(session, location, encoding_id)

    def record_scan(
        self,
        location: RootLocation,
        missing: Sequence[int],
        returned: Sequence[tuple[int, PhotoFile]],
    ) -> RootLocation:
        """Register a folder, and record which of its photos vanished and which are back."""
        changed = [*missing, *(photo_id for photo_id, _ in returned)]
        with transaction(self.engine) as session:
            location = photos.register(session, location)
            photos.mark_missing(session, missing)
            for photo_id, file in returned:
                photos.touch(session, photo_id, file)
            if changed:
                changes.bump(session, photos.contents_of(session, changed))
        return location

    def copies(self, contents: Collection[str], encoding_id: int) -> Copies:
        """Return what is stored of contents (SHA-256 in hex) under an encoding."""
        with reading(self.engine) as session:
            return copies.find_copies(session, contents, encoding_id)

    def unencoded_photos(self, encoding_id: int) -> Iterator[PhotoRecord]:
        """Yield the indexed photos without vectors, in the order of their paths."""
        with reading(self.engine) as session:
            indexed = photos.photos(session, state="indexed")
            while some := list(islice(indexed, PHOTOS_PER_LOOKUP)):
                contents = {photo.content for photo in some if photo.content is not None}
                encoded = photos.stored_contents(session, contents, encoding_id)
                yield from (photo for photo in some if photo.content not in encoded)

    # EvaluationCatalog

    def add_evaluations(self, found: Sequence[Evaluation], *, started_at: datetime) -> int:
        """Record one finished evaluation of several models; return the id of its run."""
        with transaction(self.engine) as session:
            return evaluations.add(session, found, started_at=started_at)

    def evaluations(self) -> list[Evaluation]:
        """Return every evaluation: the newest run first, its models in the order given."""
        with reading(self.engine) as session:
            return evaluations.listed(session)

    # Upkeep

    def move_root(self, old: Path, new: Path) -> int:
        """Give a root another folder; return how many photos are below it. Raises QueryError."""
        with transaction(self.engine) as session:
            return photos.move_root(session, old, new)

    def count_unencoded(self, encoding_id: int) -> int:
        """Count the indexed photos without vectors under an encoding."""
        with reading(self.engine) as session:
            return encodings.unencoded(session, encoding_id)

    def count_live(self, encoding_id: int) -> int:
        """Count the contents with vectors and an indexed photo; copies share one."""
        with reading(self.engine) as session:
            return encodings.count_live(session, encoding_id)

    def candidate_index_photos(self, encoding_id: int) -> int | None:
        """Return how many contents the candidate index has, None if there is no index."""
        with reading(self.engine) as session:
            found = candidate_indexes.find(session, encoding_id)
        return None if found is None else found.photos
