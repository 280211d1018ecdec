"""The way in for photos, shared by `index` and `repair`: load, encode, pool, commit, maintain.

Every batch is one commit. Whatever ends a run (Ctrl-C, a kill, a full disk), the committed batches
stay, and the next run continues after them. A photo that cannot be read becomes a row with its
reason; a failure of the model or the store ends the run.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from indexer.commit import Committer, StudentVectors, Tally
from indexer.encode import Encoder
from indexer.load import Loader
from indexer.still_searched import StillSearched
from indexer.walk import WalkRules
from mkt_search.paths import path_to_text
from mkt_search.photos.decode import MAX_PIXELS
from mkt_search.progress import INDEXING, Progress, ProgressCallback, no_progress
from mkt_search.store.candidates.policy import DEFAULT as DEFAULT_BUILD
from mkt_search.store.candidates.policy import BuildPolicy
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.optimize import optimize
from mkt_search.store.records import FailedPhoto, KnownPhoto, RootLocation
from mkt_search.store.store import Store
from mkt_search.types import PhotoFile


@dataclass(frozen=True)
class IndexPolicy:
    """How a run works; nothing here changes a stored vector.

    batch_size: photos encoded and committed together.
    workers: threads that read and decode photos; 0 is one per processor.
    max_pixels: photos with more pixels fail.
    hidden, follow_links, exclude: which files and folders are taken, see `WalkRules`.
    retry: load photos again that failed before.
    check_content: load every photo, as its bytes may differ at the same size and time.
    optimize_from: photos from which a library gets a candidate index; 0 is never.
    optimize_after: fraction of photos newer than the candidate index that has it rebuilt.
    merge_every_batches: small segments are merged after so many batches.
    merge_from_segments: small segments that are merged at the end of a run.
    candidates: how a candidate index is built.
    """

    batch_size: int = 32
    workers: int = 0
    max_pixels: int = MAX_PIXELS
    hidden: bool = False
    follow_links: bool = False
    exclude: tuple[str, ...] = ()
    retry: bool = False
    check_content: bool = False
    optimize_from: int = 0
    optimize_after: float = 0.2
    merge_every_batches: int = 64
    merge_from_segments: int = 16
    candidates: BuildPolicy = DEFAULT_BUILD

    @property
    def rules(self) -> WalkRules:
        """Which files and folders are taken."""
        return WalkRules(self.hidden, self.follow_links, self.exclude)

    def as_settings(self) -> dict[str, Any]:
        """Return what is recorded with a run."""
        return {name: value for name, value in vars(self).items() if name != "candidates"}


@dataclass(frozen=True)
class Source:
    """Files of one registered root that must be loaded, and the rows of its photos by path."""

    location: RootLocation
    known: Mapping[str, KnownPhoto]
    files: Iterable[PhotoFile]


@dataclass(frozen=True)
class IndexPlan:
    """What a run loads: `to_load` files of all sources together.

    `unchanged` photos beside them need no loading; progress counts them as done. Files whose bytes
    are among `encoded` (hex SHA-256) are hashed but not decoded.
    """

    sources: Sequence[Source]
    to_load: int
    unchanged: int = 0
    encoded: Collection[str] = frozenset()


class IndexPipeline:
    """Brings photos into a library under one encoding; only the writer may use it.

    `tally` counts what was committed so far, also after an error.

    Args:
        store: the library.
        stored: the encoding to write under.
        open_encoder: returns the student; called when there is something to load.
        policy: how to work.
        open_searched: returns the student of the searched encoding, which new photos get too while
            a rebuild fills another one; called when there is such a photo.
        progress: called after every commit; it may raise KeyboardInterrupt to end the run there.
        name_failures: report every photo that cannot be read.
    """

    def __init__(
        self,
        store: Store,
        stored: StoredEncoding,
        open_encoder: Callable[[], Encoder],
        *,
        policy: IndexPolicy,
        open_searched: Callable[[StoredEncoding], Encoder] | None = None,
        progress: ProgressCallback = no_progress,
        name_failures: bool = False,
    ) -> None:
        self.store = store
        self.stored = stored
        self.policy = policy
        self.tally = Tally()
        self._open_encoder = open_encoder
        self._open_searched = open_searched
        self._progress = progress
        self._name_failures = name_failures

    @cached_property
    def encoder(self) -> Encoder:
        """The student."""
        return self._open_encoder()

    def run(self, plan: IndexPlan) -> None:
        """Load, encode and commit the files of a plan, batch by batch.

        Raises:
            ModelError: the student failed.
            StoreError: the library cannot be written.
        """
        if not plan.to_load:
            return
        self._count(plan, 0)
        loader = self._loader(plan)
        student = StudentVectors(self.encoder, loader, self.stored.encoding)
        committer = Committer(self.store, self.stored, student, self.tally)
        searched = self._searched(loader)
        done = batches = 0
        for source in plan.sources:
            items = loader.load(source.files)
            while some := list(islice(items, self.policy.batch_size)):
                if searched is not None:
                    searched.commit(source.location, source.known, some)
                batch = committer.commit(source.location, source.known, some)
                done, batches = done + len(some), batches + 1
                if batches % self.policy.merge_every_batches == 0:
                    compact(self.store, self.stored)
                if self._name_failures:
                    self._name(batch.failed)
                self._count(plan, done)

    def maintain(self, *, rebuild_candidates: bool = False) -> None:
        """Merge small segments, finish a rebuild, and build the candidate index if it is due.

        Args:
            rebuild_candidates: build the candidate index even if it is not due; without enough
                photos for one, a damaged index is removed.
        """
        compact(self.store, self.stored, CompactionPolicy(self.policy.merge_from_segments))
        if not self.store.finish_encoding(self.stored):
            lacking = self.store.catalog.count_unencoded(self.stored.id)
            self._progress(
                Progress(
                    INDEXING,
                    message=f"the rebuild is not finished: {lacking:,} photos of other folders have"
                    " no new vectors yet, and searches still use the old ones. Run `mkt index` "
                    "without a folder to finish it.",
                )
            )
            return
        photos = self.store.catalog.count_live(self.stored.id)
        if not (rebuild_candidates or self._is_due(photos)):
            return
        message = f"building the candidate index of {photos:,} photos"
        self._progress(Progress(INDEXING, message=message))
        built = optimize(
            self.store, self.stored, policy=self.policy.candidates, progress=self._progress
        )
        if built is None and rebuild_candidates:
            self.store.delete_candidate_index(self.stored)

    def _searched(self, loader: Loader) -> StillSearched | None:
        active = self.store.active
        if self._open_searched is None or active is None or active.id == self.stored.id:
            return None
        if active.retired:
            return None  # nothing is found now
        return StillSearched(self.store, active, self._open_searched, loader, self._progress)

    def _loader(self, plan: IndexPlan) -> Loader:
        return Loader(
            self.encoder.spec,
            workers=self.policy.workers or os.cpu_count() or 1,
            ahead=2 * self.policy.batch_size,
            is_stored=plan.encoded.__contains__,
            max_pixels=self.policy.max_pixels,
        )

    def _name(self, failed: Iterable[FailedPhoto]) -> None:
        for failure in failed:
            message = f"{path_to_text(failure.file.absolute)}: {failure.reason}"
            self._progress(Progress(INDEXING, message=message))

    def _count(self, plan: IndexPlan, done: int) -> None:
        total = plan.unchanged + plan.to_load
        self._progress(Progress(INDEXING, plan.unchanged + done, total, self.tally.failed))

    def _is_due(self, photos: int) -> bool:
        """Return True if a library is large and too many photos are newer than its index."""
        if not self.policy.optimize_from or photos < self.policy.optimize_from:
            return False
        index = self.store.candidate_index(self.stored)
        return index is None or photos - index.photos > self.policy.optimize_after * photos
