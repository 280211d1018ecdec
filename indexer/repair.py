"""Encode again the photos whose vectors were lost: a segment that is missing or damaged."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice

from indexer.commit import Committer
from indexer.index import Options, never
from indexer.load import Loader
from indexer.progress import Progress, steps_of
from indexer.survey import is_gone
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.paths import path_to_text
from mkt_search.store import checks
from mkt_search.store.optimize import optimize
from mkt_search.store.records import PhotoRecord
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import PhotoFile


@dataclass(frozen=True)
class Repaired:
    """What a repair did: segments let go, photos encoded again, and those that could not be.

    `failed` can no longer be read, `missing` are gone, `away` lie in a folder that is not there.
    `index` says that the candidate index was damaged and made anew.
    """

    index: bool = False
    segments: int = 0
    encoded: int = 0
    failed: int = 0
    missing: int = 0
    away: int = 0
    seconds: float = 0.0


def repair(
    store: Store,
    open_encoder: Callable[[StoredEncoding], PhotoEncoder],
    *,
    options: Options | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = never,
) -> Repaired:
    """Let go of damaged segments, then encode every photo that has no vectors.

    Args:
        store: the library; this takes the right to write.
        open_encoder: gives the student of the library's encoding; asked only if there is damage.

    Raises:
        KeyboardInterrupt: `should_stop` said so; what was committed stays.
        CheckpointMismatch, ModelError, LibraryLocked, StoreError.
    """
    options, progress = options or Options(), progress or Progress()
    started = time.monotonic()
    with store.writing("mkt repair"), store.run("repair", asdict(options)) as run:
        active = store.active
        if active is not None:
            active.check_in_use()
        problems = checks.verify(store)
        damaged = [one.segment for one in problems if one.segment is not None]
        lost_index = any(one.generation for one in problems)
        # first of all: without the student the old vectors are better than none
        encoder = open_encoder(active) if damaged and active is not None else None
        for segment in damaged:
            store.forget_segment(segment)
        lost = _Lost.find(store)
        store.mark_missing(lost.missing)
        encoded, failed = 0, 0
        if lost.photos and active is not None:
            committer = _committer(store, active, encoder or open_encoder(active), options)
            progress.begin(len(lost.photos), before=0)
            _bring_back(committer, lost.photos, options.batch_size, progress, should_stop)
            encoded, failed = committer.tally.indexed, committer.tally.failed
        if lost_index and active is not None:
            progress.say("building the candidate index anew")
            if optimize(store, active, progress=steps_of(progress, should_stop)) is None:
                store.drop_generation(active)
        done = Repaired(
            index=lost_index,
            segments=len(damaged),
            encoded=encoded,
            failed=failed,
            missing=len(lost.missing),
            away=lost.away,
            seconds=time.monotonic() - started,
        )
        run.summary = asdict(done)
        return done


@dataclass
class _Lost:
    """Photos without vectors: to be read again, gone from disk, and on a disk that is not there."""

    photos: list[PhotoRecord]
    missing: list[int]
    away: int = 0

    @classmethod
    def find(cls, store: Store) -> "_Lost":
        found = cls([], [])
        active = store.active
        for photo in store.catalog.unencoded_photos(active.id) if active is not None else ():
            if not photo.root.is_dir():
                found.away += 1
            elif is_gone(photo.path):
                found.missing.append(photo.id)
            else:
                found.photos.append(photo)
        return found


def _committer(
    store: Store,
    stored: StoredEncoding,
    encoder: PhotoEncoder,
    options: Options,
) -> Committer:
    workers = options.workers or os.cpu_count() or 1
    loader = Loader(encoder.spec, workers, 2 * options.batch_size, max_pixels=options.max_pixels)
    return Committer(store, stored, encoder, loader)


def _bring_back(
    committer: Committer,
    photos: list[PhotoRecord],
    batch_size: int,
    progress: Progress,
    should_stop: Callable[[], bool],
) -> None:
    """Load and commit photos, batch by batch, one root after the other."""
    for root in dict.fromkeys(photo.root for photo in photos):
        place = committer.store.place_of(root)
        known = committer.store.known(place, committer.stored)
        files = (_file(photo) for photo in photos if photo.root == root)
        items = committer.loader.load(files)
        while batch := list(islice(items, batch_size)):
            done = committer.commit(place, known, batch)
            for failure in done.failed:
                progress.say(f"{path_to_text(failure.file.absolute)}: {failure.reason}")
            progress.advance(len(batch), failed=len(done.failed))
            if should_stop():
                raise KeyboardInterrupt


def _file(photo: PhotoRecord) -> PhotoFile:
    return PhotoFile(photo.root, photo.relative, photo.path, photo.size, 0)
