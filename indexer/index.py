"""Photos in: walk -> compare -> load -> encode -> pool -> store, one commit for every batch.

Whatever ends a run (Ctrl-C, a kill, a full disk), the batches that were committed stay, and the
next run goes on behind the last of them. One bad photo becomes a row with its reason; trouble with
the model or the store stops the run.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

from indexer.commit import Committer, Tally
from indexer.load import Loader
from indexer.progress import Progress, steps_of
from indexer.survey import Scope, Survey, Verdict, survey_folders
from mkt_search.errors import CheckpointMismatch
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.paths import path_to_text, text_to_path
from mkt_search.photos.decode import MAX_PIXELS
from mkt_search.store.compact import compact
from mkt_search.store.optimize import optimize
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import Encoding, Summary

MARKED_AT_ONCE = 1000
FEW = 16  # small segments that are merged at the end of a run


@dataclass(frozen=True)
class Options:
    """How a run goes about its work; none of it changes what a stored vector is.

    `workers` 0 is one per processor. `hidden` walks into hidden folders; `retry` tries photos again
    that failed before. A library of at least `optimize_from` photos (0: never) gets a candidate
    index, anew when a share of more than `optimize_after` of its photos is newer.
    """

    batch_size: int = 32
    workers: int = 0
    hidden: bool = False
    max_pixels: int = MAX_PIXELS
    retry: bool = False
    optimize_from: int = 0
    optimize_after: float = 0.2


def never() -> bool:
    """Say that nobody asked to stop."""
    return False


def index(
    store: Store,
    encoder: PhotoEncoder,
    folders: Sequence[Path],
    *,
    encoding: Encoding,
    model: str,
    rebuild: bool = False,
    options: Options | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = never,
) -> Summary:
    """Bring the library up to date with folders or photos; with all its own if none is named.

    Args:
        store: the library; this takes the right to write for as long as it runs.
        encoder: the student.
        folders: what to index; folders that lie in one another are walked once.
        encoding: what stored vectors are to be.
        model: what the checkpoint is called, for the record.
        rebuild: encode every photo anew under `encoding`, beside the vectors there are.
        should_stop: asked after every batch, and all along the building of the candidate index.

    Raises:
        KeyboardInterrupt: `should_stop` said so. As after any error, what was committed stays.
        ConfigError: no such folder, or no photo in it.
        CheckpointMismatch, ModelError, LibraryLocked, StoreError.
    """
    options, progress = options or Options(), progress or Progress()
    started = time.monotonic()
    with store.writing("mkt index"):
        resumes = _was_interrupted(store)
        described = {"model": model, "encoding": asdict(encoding), **asdict(options)}
        described["folders"] = [path_to_text(folder) for folder in folders]
        with store.run("index", described) as run:
            known = store.find_encoding(encoding, model=model, rebuild=rebuild)
            surveys = survey_folders(
                store, folders, known, hidden=options.hidden, retry=options.retry, say=progress.say
            )
            stored = store.begin_encoding(encoding, model=model, rebuild=rebuild)
            committer = Committer(store, stored, encoder, _loader(encoder, surveys, options))
            try:
                for _, found in surveys:
                    _reconcile(store, found)
                _begin(progress, surveys, resumes=resumes)
                for scope, _ in surveys:
                    _bring_in(committer, scope, options.batch_size, progress, should_stop)
                if _finish(store, stored, progress):
                    _optimize(store, stored, options, progress, should_stop)
            finally:
                seconds = time.monotonic() - started
                summary = _summary(surveys, committer.tally, seconds=seconds)
                run.summary = asdict(summary)
            return summary


def preview(
    store: Store,
    folders: Sequence[Path],
    *,
    encoding: Encoding,
    rebuild: bool = False,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Say what `index` would do, from names, sizes and times; nothing is decoded or written.

    Photos that vanished are compared, by their bytes, with new ones of the same size, so renamed
    photos are known.
    """
    options, progress = options or Options(), progress or Progress()
    started = time.monotonic()
    stored = _like(store.encodings(), encoding, rebuild=rebuild)
    surveys = survey_folders(
        store, folders, stored, hidden=options.hidden, retry=options.retry, say=progress.say
    )
    renamed = _renamed(surveys)
    summary = _summary(surveys, Tally(), seconds=time.monotonic() - started)
    return replace(
        summary,
        indexed=sum(found.to_load for _, found in surveys),
        renamed=renamed,
        missing=summary.missing - renamed,
    )


def _like(
    encodings: Sequence[StoredEncoding], encoding: Encoding, *, rebuild: bool
) -> StoredEncoding | None:
    """Return the stored encoding that `index` would go on with. Raises CheckpointMismatch."""
    stored = {one.state: one for one in encodings}
    building, active = stored.get("building"), stored.get("active")
    if building is not None and building.is_of(encoding):
        return building
    if active is None or rebuild:
        return None
    active.check_in_use()
    if active.is_of(encoding):
        return active
    raise CheckpointMismatch(
        "this library was made with another model or other settings; add --rebuild to encode every "
        "photo anew"
    )


def _was_interrupted(store: Store) -> bool:
    """True when the last run that brought photos in did not get to its end."""
    outcomes = [run.outcome for run in store.catalog.runs() if run.kind == "index"]
    return bool(outcomes) and outcomes[-1] != "done"


def _loader(
    encoder: PhotoEncoder, surveys: Sequence[tuple[Scope, Survey]], options: Options
) -> Loader:
    """Return a loader that does not decode what has vectors already."""
    encoded = {
        known.content for scope, _ in surveys for known in scope.known.values() if known.has_vectors
    }
    return Loader(
        encoder.spec,
        workers=options.workers or os.cpu_count() or 1,
        ahead=2 * options.batch_size,
        is_stored=encoded.__contains__,
        max_pixels=options.max_pixels,
    )


def _reconcile(store: Store, found: Survey) -> None:
    """Record photos that vanished and photos that are there again, before anything is read.

    So a run that is killed later still knows, when it goes on, which photos may have been renamed.
    """
    if found.vanished:
        store.mark_missing([known.id for known in found.vanished.values()])
    for first in range(0, len(found.returned), MARKED_AT_ONCE):
        store.touch(found.returned[first : first + MARKED_AT_ONCE])


def _begin(progress: Progress, surveys: Sequence[tuple[Scope, Survey]], *, resumes: bool) -> None:
    total = sum(found.to_load for _, found in surveys)
    before = sum(found.photos for _, found in surveys) - total
    if resumes and before and total:
        progress.say(f"resuming: {before:,} of {before + total:,} done")
    progress.begin(total, before=before)


def _bring_in(
    committer: Committer,
    scope: Scope,
    batch_size: int,
    progress: Progress,
    should_stop: Callable[[], bool],
) -> None:
    """Load, encode and commit the photos of a scope that need it, batch by batch."""
    place = committer.store.place_of(scope.place.path / text_to_path(scope.place.prefix))
    items = committer.loader.load(scope.to_load())
    while batch := list(islice(items, batch_size)):
        done = committer.commit(place, scope.known, batch)
        progress.advance(len(batch), failed=len(done.failed))
        if should_stop():
            raise KeyboardInterrupt


def _finish(store: Store, stored: StoredEncoding, progress: Progress) -> bool:
    """Merge small segments; switch a finished rebuild on, or say what it lacks and return False."""
    compact(store, stored, fewest=FEW)
    if store.finish_encoding(stored):
        return True
    lacking = store.catalog.count_unencoded(stored.id)
    progress.say(
        f"the rebuild is not finished: {lacking:,} photos of other folders have no new vectors "
        "yet, and searches still use the old ones. Run `mkt index` without a folder to finish it."
    )
    return False


def _optimize(
    store: Store,
    stored: StoredEncoding,
    options: Options,
    progress: Progress,
    should_stop: Callable[[], bool],
) -> None:
    """Build the candidate index of a large library if too many photos are newer than it."""
    photos = store.catalog.count_live(stored.id)
    known = store.catalog.candidate_index_photos(stored.id)
    is_due = known is None or photos - known > options.optimize_after * photos
    if options.optimize_from and photos >= options.optimize_from and is_due:
        progress.say(f"building the candidate index of {photos:,} photos")
        optimize(store, stored, progress=steps_of(progress, should_stop))


def _summary(surveys: Sequence[tuple[Scope, Survey]], tally: Tally, *, seconds: float) -> Summary:
    verdicts = sum((found.verdicts for _, found in surveys), Counter[Verdict]())
    skipped = sum((found.skipped for _, found in surveys), Counter[str]())
    if verdicts[Verdict.UNREADABLE]:
        skipped[Verdict.UNREADABLE.value] = verdicts[Verdict.UNREADABLE]
    return Summary(
        indexed=tally.indexed,
        unchanged=verdicts[Verdict.UNCHANGED] + verdicts[Verdict.RETURNED] + tally.touched,
        renamed=tally.renamed,
        duplicates=tally.copies,
        failed=tally.failed,
        missing=max(0, sum(len(found.vanished) for _, found in surveys) - tally.renamed),
        skipped=dict(skipped),
        reasons=dict(tally.reasons),
        seconds=seconds,
    )


def _renamed(surveys: Sequence[tuple[Scope, Survey]]) -> int:
    """Count new photos that have the bytes of one that vanished."""
    vanished: Counter[str] = Counter()
    sizes: set[int] = set()
    for _, found in surveys:
        for known in found.vanished.values():
            if known.content is not None:
                vanished[known.content] += 1
                sizes.add(known.size)
    count = 0
    for scope, _ in surveys if vanished else ():
        for file in scope.to_load():
            if file.size in sizes and file.path not in scope.known:
                content = _content(file.absolute)
                count += vanished[content] > 0
                vanished[content] -= 1
    return count


def _content(path: Path) -> str:
    """Return the SHA-256 of a file in hex; "" for one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
