"""Bring the shards that are done into a library. It is idempotent: a second time adds nothing.

No photo is read. What changed since it was encoded is found by the next `mkt index`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from indexer.commit import Committer, Tally
from indexer.load import Failed, Loaded
from indexer.shards.plan import ShardPlan
from indexer.shards.shard import Shard, read_shard
from mkt_search.errors import PlanError
from mkt_search.paths import path_to_text
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import KnownPhoto, RootLocation
from mkt_search.store.store import Store
from mkt_search.types import ImportReport, PhotoVectors

IMPORTING = "importing"
PHOTOS_A_COMMIT = 1_000
MERGE_EVERY_SHARDS = 64
MERGE_FROM_SEGMENTS = 16  # at the end


@dataclass(frozen=True)
class ShardVectors:
    """The vectors of a shard, for a `Committer`."""

    shard: Shard

    def complete(self, item: Loaded) -> Loaded | Failed:
        """Return the photo as it is: a shard has all of it."""
        return item

    def vectors(self, items: Sequence[Loaded]) -> PhotoVectors | None:
        """Return the vectors of photos, None for no photos. Raises LibraryDamaged."""
        rows = [item.shard_row for item in items if item.shard_row is not None]
        return self.shard.vectors(rows) if rows else None


def import_shards(
    store: Store, plan: ShardPlan, *, progress: ProgressCallback = no_progress
) -> ImportReport:
    """Bring the shards of a plan that are done into a library.

    Args:
        store: the library; its write lock is held while this runs.
        plan: the plan; `ShardPlan.at` says under which folder the library has the photos.
        progress: receives the number of photos after every commit; may raise KeyboardInterrupt.

    Raises:
        CheckpointMismatch: the library's vectors were made otherwise.
        PlanError: no shard is done, or all that are done are damaged.
        LibraryLocked, StoreError.
    """
    started = time.monotonic()
    missing = set(plan.missing())
    done = [shard for shard in range(plan.shards) if shard not in missing]
    if not done:
        raise PlanError(f"No shard of {plan.folder} is done; run `mkt encode run {plan.folder}`.")
    report = ImportReport(missing=len(missing))
    settings: dict[str, Any] = {
        "plan": path_to_text(plan.folder),
        "root": path_to_text(plan.root),
        "model": plan.model,
        "encoding": asdict(plan.encoding),
    }
    with store.writing("mkt encode import"), store.run("import", settings) as run:
        try:
            stored = store.begin_encoding(plan.encoding, model=plan.model)
            location = store.catalog.record_scan(store.catalog.locate(plan.root), [], [])
            for number in done:
                _import(store, stored, location, plan, number, report, progress)
                if report.shards % MERGE_EVERY_SHARDS == MERGE_EVERY_SHARDS - 1:
                    compact(store, stored)
            compact(store, stored, CompactionPolicy(MERGE_FROM_SEGMENTS))
            store.finish_encoding(stored)
        finally:
            report.seconds = time.monotonic() - started
            run.summary = asdict(report)
    if not report.shards:
        raise PlanError(report.damaged[0])
    return report


def _import(
    store: Store,
    stored: StoredEncoding,
    location: RootLocation,
    plan: ShardPlan,
    number: int,
    report: ImportReport,
    progress: ProgressCallback,
) -> None:
    try:
        shard = read_shard(plan, number)
    except PlanError as problem:
        report.damaged.append(str(problem))
        progress(Progress(IMPORTING, message=str(problem)))
        return
    tally = Tally()
    committer = Committer(store, stored, ShardVectors(shard), tally)
    items = iter(shard.items)
    while some := list(islice(items, PHOTOS_A_COMMIT)):
        some = [_below(item, location) for item in some]
        paths = [item.file.path for item in some]
        known = store.catalog.known_paths(location, paths, stored.id)
        new = [item for item in some if _is_news(item, known)]
        if new:
            committer.commit(location, known, new)
        report.unchanged += len(some) - len(new)
        done = report.unchanged + report.indexed + tally.indexed + tally.touched + tally.failed
        progress(Progress(IMPORTING, done, plan.photos, report.failed + tally.failed))
    report.shards += 1
    report.indexed += tally.indexed
    report.unchanged += tally.touched
    report.failed += tally.failed


def _is_news(item: Loaded | Failed, known: Mapping[str, KnownPhoto]) -> bool:
    """Return True unless the library has a photo as the shard has it, or saw it later."""
    row = known.get(item.file.path)
    if row is None:
        return True
    if (row.size, row.mtime_ns) != (item.file.size, item.file.mtime_ns):
        return row.mtime_ns < item.file.mtime_ns
    if isinstance(item, Failed):
        return False
    return not (row.has_vectors and row.state == "indexed" and row.content == item.content)


def _below(item: Loaded | Failed, location: RootLocation) -> Loaded | Failed:
    """Return a photo with the path that it has below the library's root."""
    file = replace(item.file, root=location.path, path=location.prefix + item.file.path)
    return replace(item, file=file)
