"""Index: bring a library up to date with folders of photos."""

import hashlib
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from indexer.commit import Tally
from indexer.encode import Encoder, LazyEncoder, reopened
from indexer.encoding import (
    EncodingPlan,
    is_given,
    model_name,
    newer_patch_vectors,
    recorded,
    resolve_encoding,
    wanted_dtype,
    wanted_patch_vectors,
)
from indexer.exclude import Exclusions
from indexer.pipeline import IndexPipeline, IndexPlan, IndexPolicy, Source
from indexer.scan import FileStatus, ScanResult, distinct_folders, scan_folders
from mkt_search.display import count_noun
from mkt_search.errors import CheckpointMismatch, PhotoError
from mkt_search.models.build import Model, open_model
from mkt_search.models.record import RecordedModel, model_stamp, open_recorded, record_of
from mkt_search.paths import path_to_text
from mkt_search.photos.decode import read
from mkt_search.progress import INDEXING, Progress, ProgressCallback, no_progress
from mkt_search.settings.config import Config
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store
from mkt_search.types import Summary

DEFAULT_POLICY = IndexPolicy()


def index_library(
    store: Store,
    config: Config,
    folders: Sequence[Path] = (),
    *,
    exclude: Sequence[str] = (),
    rebuild: bool = False,
    retry: bool = False,
    check_content: bool = False,
    dry_run: bool = False,
    progress: ProgressCallback = no_progress,
) -> Summary:
    """Index folders with the model and the settings of a configuration.

    The model is opened only if a photo must be encoded.

    Args:
        store: the library.
        config: its settings; those of [index] that were not given are as the library has them.
        folders: folders or photos; none means all folders of the library.
        exclude: patterns as in .gitignore of files and folders to leave out.
        rebuild: encode every photo again, with another model or other settings.
        retry: load photos again that failed before.
        check_content: read photos again whose size and time have not changed.
        dry_run: report what would be done and change nothing.
        progress: as for `index`.

    Raises:
        As `index`.
    """
    distinct_folders(folders)  # a misspelled one is refused before a model is loaded
    Exclusions.of(exclude)  # and so is a pattern
    policy = replace(
        policy_of(config), exclude=tuple(exclude), retry=retry, check_content=check_content
    )
    stored = recorded(store, rebuild=rebuild)
    name = model_name(config, stored)
    stamp = model_stamp(name)
    model, encoder, plan = open_encoder(config, stored, rebuild=rebuild, dry_run=dry_run)
    if plan.notice:
        progress(Progress(INDEXING, message=plan.notice))
    if dry_run:
        return preview(store, folders, plan, policy=policy, progress=progress)
    if store.find_encoding(plan.encoding, model=name, rebuild=rebuild) is None:
        encoder.build()  # a model that cannot be built leaves no trace in the library

    def open_searched(active: StoredEncoding) -> Encoder:
        made_by = active.encoding
        if made_by.decoder != plan.encoding.decoder:
            raise CheckpointMismatch("an earlier version decoded the photos for the old vectors")
        ours = (model.fingerprint, encoder.dtype, plan.encoding.patch_vectors)
        if (made_by.checkpoint, made_by.dtype, made_by.patch_vectors) == ours:
            return encoder
        return reopened(active, active.model, device=config.model.device)

    summary = index(
        store,
        encoder,
        folders,
        plan,
        policy=policy,
        open_searched=open_searched,
        progress=progress,
    )
    notice = newer_patch_vectors(plan.encoding, model) if encoder.is_built and not rebuild else ""
    if notice and not is_given(config, "patch_vectors"):
        progress(Progress(INDEXING, message=notice))
    if stored is not None and isinstance(model, RecordedModel):
        store.record_model(name, model.fingerprint, stored.record)  # also with a new encoding
    elif encoder.is_built:
        store.record_model(name, model.fingerprint, record_of(model, stamp=stamp))
    return summary


def open_encoder(
    config: Config, stored: StoredEncoding | None, *, rebuild: bool = False, dry_run: bool = False
) -> tuple[Model, LazyEncoder, EncodingPlan]:
    """Open the model to encode with, and decide what it stores.

    Args:
        config: settings.
        stored: the encoding to continue with; None for a new library.
        rebuild: encode every photo again.
        dry_run: never build the student; its number format may then be "auto".

    Raises:
        CheckpointMismatch, ConfigError, ModelError.
    """
    name = model_name(config, stored)
    model = open_recorded(name, stored.encoding, stored.record) if stored else open_model(name)
    dtype = wanted_dtype(config, stored, model)
    form = wanted_patch_vectors(config, stored, model, rebuild=rebuild)
    encoder = LazyEncoder(model, device=config.model.device, dtype=dtype, patch_vectors=form)
    plan = resolve_encoding(
        config, stored, model, dtype=dtype if dry_run else encoder.dtype, rebuild=rebuild
    )
    return model, encoder, plan


def policy_of(config: Config) -> IndexPolicy:
    """Return the policy that the settings of [index] describe."""
    chosen = config.index
    return IndexPolicy(
        batch_size=chosen.batch_size,
        workers=chosen.workers,
        max_pixels=chosen.max_pixels,
        hidden=chosen.hidden,
        follow_links=chosen.follow_links,
        optimize_from=chosen.optimize_from,
        optimize_after=chosen.optimize_after,
    )


def index(
    store: Store,
    encoder: Encoder,
    folders: Sequence[Path],
    plan: EncodingPlan,
    *,
    policy: IndexPolicy = DEFAULT_POLICY,
    open_searched: Callable[[StoredEncoding], Encoder] | None = None,
    progress: ProgressCallback = no_progress,
) -> Summary:
    """Bring the library up to date with folders or photos; without any, with all its folders.

    Args:
        store: the library; its write lock is held while this runs.
        encoder: the student.
        folders: what to index; a folder inside another one is walked once.
        plan: the encoding to write under.
        policy: how to work.
        open_searched: returns the student of the searched encoding; called if a rebuild meets a
            photo that a search does not find yet. Without it, that is found when it is finished.
        progress: called after every commit; it may raise KeyboardInterrupt to end the run there.

    Returns:
        What was done.

    Raises:
        ConfigError: a folder does not exist or has no photos.
        CheckpointMismatch: the library's vectors were made otherwise, and this is no rebuild.
        ModelError, LibraryLocked, StoreError.
    """
    started = time.monotonic()
    settings = {
        "model": plan.model,
        "encoding": asdict(plan.encoding),
        **policy.as_settings(),
        "folders": [path_to_text(folder) for folder in folders],
    }
    with store.writing("mkt index"):
        outcomes = [run.outcome for run in store.catalog.runs() if run.kind == "index"]
        resumes = bool(outcomes) and outcomes[-1] != "done"
        with store.run("index", settings) as run:
            results = _scan(store, folders, plan, policy, progress)
            replaced = store.catalog.replaced_photos()
            stored = store.begin_encoding(plan.encoding, model=plan.model, rebuild=plan.rebuild)
            pipeline = IndexPipeline(
                store,
                stored,
                lambda: encoder,
                policy=policy,
                open_searched=open_searched,
                progress=progress,
            )
            try:
                work = _plan(store, results)
                if resumes and work.unchanged and work.to_load:
                    _report_resumed(work, progress)
                pipeline.run(work)
                pipeline.maintain()
                _offer_moves(store, progress)
                pipeline.tally.replaced = len(store.catalog.replaced_photos() - replaced)
            finally:
                seconds = time.monotonic() - started
                summary = _summary(results, pipeline.tally, seconds=seconds)
                run.summary = asdict(summary)
            return summary


def preview(
    store: Store,
    folders: Sequence[Path],
    plan: EncodingPlan,
    *,
    policy: IndexPolicy = DEFAULT_POLICY,
    progress: ProgressCallback = no_progress,
) -> Summary:
    """Return what `index` would do, from names, sizes and times; nothing is decoded or written.

    Only files of which these do not tell enough are read: new ones of the size of a photo that
    vanished, which may be renamed, and known ones of the same size but another time.
    """
    started = time.monotonic()
    results = _scan(store, folders, plan, policy, progress)
    tally = _foreseen(results)
    summary = _summary(results, tally, seconds=time.monotonic() - started)
    return replace(summary, indexed=sum(result.to_load for result in results) - tally.touched)


def _scan(
    store: Store,
    folders: Sequence[Path],
    plan: EncodingPlan,
    policy: IndexPolicy,
    progress: ProgressCallback,
) -> list[ScanResult]:
    stored = store.find_encoding(plan.encoding, model=plan.model, rebuild=plan.rebuild)
    return scan_folders(
        store,
        folders,
        stored,
        rules=policy.rules,
        retry=policy.retry,
        check_content=policy.check_content,
        progress=progress,
    )


def _plan(store: Store, results: Sequence[ScanResult]) -> IndexPlan:
    """Record which photos vanished and which are back, and return what is to be loaded.

    They are recorded before anything is loaded, so that a run that is killed and resumed still
    has the photos that may have been renamed.
    """
    sources = []
    for result in results:
        target = result.target
        location = store.catalog.record_scan(
            target.location, [known.id for known in result.vanished.values()], result.returned
        )
        if result.to_load:
            sources.append(Source(location, target.known, target.to_load()))
    encoded = {
        known.content
        for result in results
        for known in result.target.known.values()
        if known.has_vectors and known.content is not None
    }
    to_load = sum(result.to_load for result in results)
    unchanged = sum(result.photos for result in results) - to_load
    return IndexPlan(sources, to_load, unchanged, encoded)


def _offer_moves(store: Store, progress: ProgressCallback) -> None:
    """Name the new place of every folder that is gone and whose photos are in another one."""
    for root in store.catalog.root_folders():
        found = None if root.is_dir() else store.catalog.moved_to(root)
        if found is not None:
            folder, photos = found
            old, new = (shlex.quote(path_to_text(path)) for path in (root, folder))
            message = (
                f"{old} does not exist now, and {new} has {count_noun(photos, 'photo')} of it: "
                f"if it has moved there, run `mkt root {old} {new}`"
            )
            progress(Progress(INDEXING, message=message))


def _report_resumed(plan: IndexPlan, progress: ProgressCallback) -> None:
    message = f"resuming: {plan.unchanged:,} of {plan.unchanged + plan.to_load:,} done"
    progress(Progress(INDEXING, message=message))


def _summary(results: Sequence[ScanResult], tally: Tally, *, seconds: float) -> Summary:
    statuses = sum((result.statuses for result in results), Counter[FileStatus]())
    skipped = sum((result.skipped for result in results), Counter[str]())
    if statuses[FileStatus.FAILED]:
        skipped[FileStatus.FAILED.value] = statuses[FileStatus.FAILED]
    return Summary(
        indexed=tally.indexed,
        unchanged=statuses[FileStatus.UNCHANGED] + statuses[FileStatus.RETURNED] + tally.touched,
        renamed=tally.renamed,
        duplicates=tally.copies,
        failed=tally.failed,
        missing=max(0, sum(len(result.vanished) for result in results) - tally.renamed),
        replaced=tally.replaced,
        skipped=dict(skipped),
        reasons=dict(tally.reasons),
        seconds=seconds,
    )


def _foreseen(results: Sequence[ScanResult]) -> Tally:
    """Count the photos to load that are renamed or merely touched, by reading some of them."""
    vanished: Counter[str] = Counter()
    sizes: set[int] = set()
    for result in results:
        for known in result.vanished.values():
            if known.content is not None:
                vanished[known.content] += 1
                sizes.add(known.size)
    tally = Tally()
    for result in results:
        for file in result.target.to_load():
            row = result.target.known.get(file.path)
            if row is None and file.size in sizes:
                content = _content(file.absolute)
                tally.renamed += vanished[content] > 0
                vanished[content] -= 1
            elif row is not None and row.has_vectors and row.size == file.size:
                tally.touched += _content(file.absolute) == row.content
    return tally


def _content(path: Path) -> str:
    """Return the SHA-256 of a file in hex; "" for one that cannot be read."""
    try:
        return hashlib.sha256(read(path)).hexdigest()
    except PhotoError:
        return ""
