"""The seam of the database: the facts that search, tagging, evaluation and indexing need.

Small protocols, all of which one catalog implements. A method is one transaction: it happens
whole or not at all, and what it returns was true at one time. Photos are rows with a path, contents
are the bytes behind them; vectors belong to contents and are known by content id.

`sql.catalog.SqlCatalog` implements them, for SQLite and PostgreSQL.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from mkt_search.progress import ProgressCallback
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
from mkt_search.store.timeline import Timeline
from mkt_search.types import Filters, Judgement, PhotoFile, Refusal, Tag


class Catalog(Protocol):
    """Photos, their contents, and remembered label vectors."""

    def at_one_time(self) -> AbstractContextManager["Catalog"]:
        """Give a catalog for reading, whose answers were all true at the same time: about now."""

    def revision(self) -> int:
        """Return a number that grows with every change of what a search could find."""

    def photos(
        self, *, state: str | None = None, filters: Filters | None = None
    ) -> Iterator[PhotoRecord]:
        """Yield photos in the order of their paths: all, or those indexed, failed or missing."""

    def photo_at(self, path: Path) -> PhotoRecord | None:
        """Return the photo at an absolute path, None if there is none."""

    def photos_of_ids(self, ids: Sequence[int]) -> dict[int, PhotoRecord]:
        """Return photos by id; those that the library does not have are left out."""

    def photos_after(
        self, photo_id: int, *, state: str | None = None, count: int
    ) -> list[PhotoRecord]:
        """Return the first photos with a larger id, in the order of their ids.

        Args:
            photo_id: 0 for the first of all.
            state: only those indexed, failed or missing.
            count: the most to return.
        """

    def count_indexed(self) -> int:
        """Count the photos that can be found."""

    def timeline(self, filters: Filters) -> Timeline:
        """Return the indexed photos that meet the filters, the newest first."""

    def photos_of_contents(
        self, content_ids: Sequence[int], filters: Filters
    ) -> dict[int, list[PhotoRecord]]:
        """Return the indexed photos of contents by content id, the oldest row first.

        Args:
            content_ids: contents; one without photos is left out.
            filters: conditions on the photos.
        """

    def matching_content_ids(self, filters: Filters) -> list[int]:
        """Return the contents of indexed photos that meet the filters."""

    def shown_contents(self) -> ShownContents:
        """Return every content that a search can find, with its oldest indexed photo."""

    def content_ids_of(self, sha256s: Collection[str]) -> dict[str, int]:
        """Return the ids of those contents (SHA-256 in hex) that the library has."""

    def label_vectors(self, encoder: str, labels: Sequence[str]) -> dict[str, bytes]:
        """Return remembered vectors, little-endian float32.

        Args:
            encoder: the fingerprint of the label encoder.
            labels: labels; those never remembered are left out.
        """

    def remembered_labels(self, encoder: str) -> Iterator[tuple[str, bytes]]:
        """Yield every label remembered under a label encoder, with its little-endian vector."""

    def remembered_like(self, prefix: str, *, count: int) -> list[str]:
        """Return labels that are remembered and begin so, whatever encoder made their vectors."""

    def remember_label_vectors(self, encoder: str, vectors: dict[str, bytes]) -> None:
        """Remember vectors of labels; a label that is remembered keeps its vector.

        Raises:
            StoreError: another transaction is writing now, for which a reader does not wait.
        """

    def judged(self, labels: Sequence[str]) -> dict[str, dict[int, bool]]:
        """Return what people judged: for a label, whether contents show it, by content id.

        Labels that nobody judged are left out.
        """


class TagCatalog(Protocol):
    """Tags, the runs that set them, and what people judged of the hits of a label."""

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

    def tag_labels_like(self, prefix: str, *, count: int) -> list[str]:
        """Return labels of tags and refusals that begin so, by name."""

    def count_tags(self) -> list[LabelCount]:
        """Return how many photos have each label, by name."""

    def add_tag(self, photo_ids: Sequence[int], label: str) -> int:
        """Tag the pictures of photos by hand; return how many photos did not have the tag yet.

        Every photo of the same bytes has the tag, now and later.

        Raises:
            QueryError: a photo could never be read.
        """

    def remove_tag(self, photo_ids: Sequence[int], label: str) -> int:
        """Remove a label from the pictures of photos, whoever set it; return how many had it.

        No run sets it on them, or on photos of the same bytes, until a person adds it again.
        """

    def refusals(
        self, *, label: str | None = None, photo: int | None = None, filters: Filters
    ) -> Iterator[Refusal]:
        """Yield the labels that a person removed, by photo and label."""

    def allow_label(self, photo_ids: Sequence[int], label: str) -> int:
        """Let runs set a label on photos again; return how many had it refused."""

    def add_judgements(
        self, label: str, photos: Mapping[int, bool], *, person: str, model: str
    ) -> None:
        """Remember whether photos show a label, by photo id, in place of earlier judgements.

        Args:
            label: the label.
            photos: True for yes; a judgement is of the picture, so that copies share it.
            person: who judged.
            model: the fingerprint of the checkpoint by whose scores.
        """

    def remove_judgements(self, label: str, photo_ids: Sequence[int] | None = None) -> int:
        """Delete judgements for a label, of some photos or all; return of how many pictures."""

    def judgements(self, label: str | None = None) -> Iterator[Judgement]:
        """Yield judgements by label and photo, of one label or of all."""

    def words(self) -> Iterator[tuple[int, str, bool]]:
        """Yield what a person said of pictures: the content id, the label, and True if it was set.

        False is for a label that was removed. Imported tags are among those that were set.
        """

    def apply_tag_run(
        self,
        run: int,
        labels: Sequence[str],
        assignments: SpillFile,
        *,
        step: str,
        progress: ProgressCallback,
    ) -> TagReport:
        """Replace the automatic tags of labels by a run's assignments, and end the run.

        Args:
            run: the run under way.
            labels: the labels it covers, each once.
            assignments: content ids, numbers of labels, and scores.
            step: what the step is called in progress events.
            progress: called as work advances.
        """

    def preview_tag_run(self, labels: Sequence[str], assignments: SpillFile) -> TagReport:
        """Return what `apply_tag_run` would, and change nothing."""

    def check_tag_run(self, run: int) -> None:
        """Raise QueryError if there is no such tag run."""

    def revert_run(self, run: int) -> TagReport:
        """Delete a run's tags and restore those it replaced; tags set by hand stay.

        Raises:
            QueryError: there is no such tag run, or it was reverted before.
        """

    def runs(self) -> list[RunInfo]:
        """Return every run, the oldest first."""


class ReviewCatalog(Protocol):
    """Proposed tags, and what a person decides of them."""

    def review_queues(self) -> list[ReviewQueue]:
        """Return what there is to review, by label and run."""

    def proposals(
        self,
        label: str,
        *,
        run: int | None = None,
        after: tuple[float, int] | None = None,
        count: int,
    ) -> list[Proposal]:
        """Return undecided photos of a label, best first; one of photos with the same bytes.

        Args:
            label: the label.
            run: only what this run proposes.
            after: score and photo of the last proposal of the page before.
            count: how many at most.
        """

    def decide(self, label: str, given: Sequence[Decision]) -> tuple[int | None, int]:
        """Record decisions; return the number of their batch, and how many pictures changed."""

    def undo_decisions(self, batch: int) -> int:
        """Put back what a batch of decisions replaced; return how many pictures changed.

        Raises:
            QueryError: there is no such batch.
        """

    def last_decisions(self) -> DecisionBatch | None:
        """Return the last batch of decisions that was not undone, None if there is none."""


class IndexCatalog(Protocol):
    """What indexing needs to know of files, and records about them."""

    def root_folders(self) -> list[Path]:
        """Return the registered folders in the order of their paths."""

    def moved_to(self, root: Path) -> tuple[Path, int] | None:
        """Return the folder that holds most photos of a root under their paths, and how many.

        None unless some folder of the library holds at least half of them.
        """

    def locate(self, folder: Path) -> RootLocation:
        """Return where a folder lies among the roots; nothing is registered."""

    def known(self, location: RootLocation, encoding_id: int | None) -> dict[str, KnownPhoto]:
        """Return the photos below a location, by path relative to its root."""

    def known_paths(
        self, location: RootLocation, paths: Sequence[str], encoding_id: int | None
    ) -> dict[str, KnownPhoto]:
        """Return the photos at some paths of a registered root, by path relative to it."""

    def record_scan(
        self,
        location: RootLocation,
        missing: Sequence[int],
        returned: Sequence[tuple[int, PhotoFile]],
    ) -> RootLocation:
        """Register a folder, and record which of its photos vanished and which are back.

        Args:
            location: from `locate`.
            missing: ids of photos whose files are gone; their vectors and tags stay.
            returned: ids and files of photos whose bytes are as before.

        Returns:
            The location with the id of its root. Roots below it have become part of it.
        """

    def mark_missing(self, photo_ids: Sequence[int]) -> None:
        """Record that files are gone; their vectors and tags stay until they are pruned."""

    def copies(self, sha256s: Collection[str], encoding_id: int) -> Copies:
        """Return what is stored of contents (SHA-256 in hex) under an encoding."""

    def spoken_of(self, sha256s: Collection[str]) -> set[str]:
        """Return those of the contents (SHA-256 in hex) of which a person said something."""

    def miniatures(self, sha256s: Collection[str]) -> dict[str, bytes]:
        """Return the miniatures of contents (SHA-256 in hex) that have one."""

    def places(self, sha256s: Collection[str]) -> dict[str, list[Place]]:
        """Return where the library has, or had, the photos of contents (SHA-256 in hex)."""

    def replaced_photos(self) -> set[int]:
        """Return the ids of missing photos whose paths other pictures have taken."""

    def unencoded_photos(self, encoding_ids: Sequence[int]) -> Iterator[PhotoRecord]:
        """Yield the indexed photos without vectors under any of some encodings, by path."""


class EvaluationCatalog(Protocol):
    """Evaluations, each kept with its run, and the labels to evaluate a candidate index with."""

    def add_evaluations(self, found: Sequence[Evaluation], *, started_at: datetime) -> int:
        """Record one finished evaluation of several models; return the id of its run."""

    def evaluations(self) -> list[Evaluation]:
        """Return every evaluation: the newest run first, its models in the order given."""

    def all_label_vectors(self) -> list[bytes]:
        """Return every remembered vector, little-endian float32, whatever encoder made it."""
