"""Encode shards of a plan: a worker needs the plan, the photos and the model, but no library.

Several workers may share a plan. On one machine, or on file systems with locks, each shard is
encoded by one of them. Elsewhere two workers may encode the same shard: the second record replaces
the first, and both are right.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from indexer.encode import Encoder, encode_batch, reopened
from indexer.encoding import check_decoder
from indexer.load import Failed, Loaded, Loader
from indexer.shards.plan import ShardPlan
from indexer.shards.shard import write_shard
from mkt_search.errors import PlanError
from mkt_search.locks import LockHeld, hold
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.types import EncodeReport, PhotoVectors

ENCODING = "encoding"


def encode_shards(
    plan: ShardPlan,
    shards: Sequence[int] | None = None,
    *,
    model: str | None = None,
    device: str = "auto",
    batch_size: int = 32,
    workers: int = 0,
    progress: ProgressCallback = no_progress,
) -> EncodeReport:
    """Encode shards that are not done.

    Args:
        plan: the plan; `ShardPlan.at` says where the photos are on this machine.
        shards: which; by default all.
        model: where the model is on this machine; by default the plan's name.
        device: where the student runs.
        batch_size: photos encoded together.
        workers: threads that read photos; 0 is one per processor.
        progress: receives the number of photos done; may raise KeyboardInterrupt, which loses at
            most one shard.

    Raises:
        CheckpointMismatch: the model is another one, or this version decodes photos differently.
        ModelError: the model cannot be opened, or failed.
        PlanError: the plan has no such shard, its photos are not here, or the disk is full.
    """
    _check_root(plan)
    check_decoder(plan.stored)
    wanted = list(range(plan.shards)) if shards is None else list(shards)
    report = EncodeReport()
    todo = [shard for shard in wanted if not _is_done(plan, shard)]
    report.skipped = len(wanted) - len(todo)
    if not todo:
        return report
    encoder = reopened(plan.stored, model or plan.model, device=device)
    loader = Loader(
        encoder.spec,
        workers=workers or os.cpu_count() or 1,
        ahead=2 * batch_size,
        max_pixels=plan.max_pixels,
    )
    total = sum(len(plan.paths(shard)) for shard in todo)
    for shard in todo:
        try:
            with hold(plan.lock(shard), "mkt encode run"):
                if plan.is_done(shard):
                    report.skipped += 1
                    continue
                _encode(plan, shard, encoder, loader, batch_size, report, total, progress)
        except LockHeld:
            report.busy += 1
        except OSError as error:
            raise PlanError(f"{plan.folder}: cannot be written ({error.strerror}).") from error
    return report


def _encode(
    plan: ShardPlan,
    shard: int,
    encoder: Encoder,
    loader: Loader,
    batch_size: int,
    report: EncodeReport,
    total: int,
    progress: ProgressCallback,
) -> None:
    items: list[Loaded | Failed] = []
    parts: list[PhotoVectors] = []
    rows: dict[str, int] = {}  # of contents
    loading = loader.load(plan.files(shard))
    while some := list(islice(loading, batch_size)):
        new = []
        for item in some:
            if isinstance(item, Failed):
                items.append(item)
                report.reasons[item.reason] = report.reasons.get(item.reason, 0) + 1
                report.failed += 1
                continue
            if item.content not in rows:
                rows[item.content] = len(rows)
                new.append(item)
            items.append(replace(item, views=None, shard_row=rows[item.content]))
        views = [item.views for item in new if item.views is not None]
        files = [item.file.absolute for item in new]
        vectors = encode_batch(encoder, views, plan.encoding, files=files)
        parts += [] if vectors is None else [vectors]
        report.photos += len(some)
        progress(Progress(ENCODING, report.photos, total, report.failed))
    write_shard(plan, shard, items, _joined(parts))
    report.gone += len(plan.paths(shard)) - len(items)
    report.shards += 1


def _joined(parts: Sequence[PhotoVectors]) -> PhotoVectors | None:
    """Concatenate vectors of several batches; those with panoramas have patches of more views."""
    if not parts:
        return None
    width = max(part.members.shape[2] for part in parts)
    members = [
        np.pad(part.members, ((0, 0), (0, 0), (0, width - part.members.shape[2]))) for part in parts
    ]
    return PhotoVectors(
        np.concatenate([part.global_vectors for part in parts]),
        np.concatenate([part.local_vectors for part in parts]),
        np.concatenate(members),
    )


def _is_done(plan: ShardPlan, shard: int) -> bool:
    if not 0 <= shard < plan.shards:
        plan.paths(shard)  # raises, in its own words
    return plan.is_done(shard)


def _check_root(plan: ShardPlan) -> None:
    """Raise PlanError if the folder of the photos is not on this machine, or is empty."""
    if not plan.root.is_dir() or not os.listdir(plan.root):
        raise PlanError(
            f"{plan.root} is not on this machine, or is empty: mount it, or say where the photos "
            "are with --root."
        )
