"""Repair: encode the photos again whose vectors were in a segment that is missing or damaged."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from indexer.encode import Encoder, reopened
from indexer.encoding import check_decoder, model_name
from indexer.index import DEFAULT_POLICY, policy_of
from indexer.pipeline import IndexPipeline, IndexPlan, IndexPolicy, Source
from indexer.scan import is_gone
from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.settings.config import Config
from mkt_search.store import checks
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import PhotoRecord
from mkt_search.store.store import Store
from mkt_search.types import PhotoFile, RepairSummary


def repair_library(
    store: Store, config: Config, *, progress: ProgressCallback = no_progress
) -> RepairSummary:
    """Repair a library with the model that made it, or the same one where a configuration says.

    The model is opened only if there is damage. Raises as `repair`, and ConfigError.
    """

    def open_encoder(stored: StoredEncoding) -> Encoder:
        check_decoder(stored)
        return reopened(stored, model_name(config, stored), device=config.model.device)

    return repair(store, open_encoder, policy=policy_of(config), progress=progress)


def repair(
    store: Store,
    open_encoder: Callable[[StoredEncoding], Encoder],
    *,
    policy: IndexPolicy = DEFAULT_POLICY,
    progress: ProgressCallback = no_progress,
) -> RepairSummary:
    """Remove damaged segments and rows, then encode every photo that has no vectors.

    Args:
        store: the library; its write lock is held while this runs.
        open_encoder: returns the student of an encoding; called only if there is damage.
        policy: how to work.
        progress: called after every commit; it may raise KeyboardInterrupt to end the run there.

    Raises:
        CheckpointMismatch: the student is not the one that made the library.
        ModelError, LibraryLocked, StoreError.
    """
    started = time.monotonic()
    with store.writing("mkt repair"), store.run("repair", policy.as_settings()) as run:
        active = store.active
        if active is None:
            return RepairSummary(seconds=time.monotonic() - started)
        active.check_in_use()
        pipeline = IndexPipeline(
            store,
            active,
            lambda: open_encoder(active),
            policy=policy,
            progress=progress,
            name_failures=True,
        )
        problems = checks.verify(store)
        damaged = [problem.segment for problem in problems if problem.segment is not None]
        rows = any(problem.rows for problem in problems)
        lost_index = rows or any(problem.candidate_index for problem in problems)
        if damaged:
            _ = pipeline.encoder  # without a student the damaged vectors are better than none
        if rows:
            store.delete_files(store.vectors.delete_damaged())
        for segment in damaged:
            store.delete_segment(segment)
        # those that only a rebuild has so far are found when it ends; but damage is repaired
        known = [active] if damaged or rows else store.encodings()
        lost = _find_lost(store, known)
        store.catalog.mark_missing(lost.missing)
        pipeline.run(_plan(store, active, lost.photos))
        if damaged or lost.photos or lost_index:
            pipeline.maintain(rebuild_candidates=lost_index)
        done = RepairSummary(
            candidate_index=lost_index and not rows,
            segments=len(damaged),
            encoded=pipeline.tally.indexed,
            failed=pipeline.tally.failed,
            missing=len(lost.missing),
            away=lost.away,
            seconds=time.monotonic() - started,
            rows=rows,
            unsolved=sum(not problem.is_repairable for problem in problems),
        )
        run.summary = asdict(done)
        return done


@dataclass
class _Lost:
    """Photos without vectors: to load again, ids of those whose file is gone, and how many are in a
    folder that does not exist now."""

    photos: list[PhotoRecord] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    away: int = 0


def _find_lost(store: Store, encodings: Sequence[StoredEncoding]) -> _Lost:
    """Find the indexed photos without vectors under any of the encodings."""
    lost = _Lost()
    for photo in store.catalog.unencoded_photos([stored.id for stored in encodings]):
        if not photo.root.is_dir():
            lost.away += 1
        elif is_gone(photo.path):
            lost.missing.append(photo.id)
        else:
            lost.photos.append(photo)
    return lost


def _plan(store: Store, stored: StoredEncoding, photos: Sequence[PhotoRecord]) -> IndexPlan:
    """Return a plan that loads photos, one root after the other."""
    sources = []
    for root in dict.fromkeys(photo.root for photo in photos):
        location = store.catalog.locate(root)
        files = [
            PhotoFile(root, photo.relative, photo.path, photo.size, 0)
            for photo in photos
            if photo.root == root
        ]
        sources.append(Source(location, store.catalog.known(location, stored.id), files))
    return IndexPlan(sources, len(photos))
