"""Have photos encoded on other machines: what workers call, and the methods of `Library`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from mkt_search.arguments import refuse_text
from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.settings.config import Config
from mkt_search.settings.override import override
from mkt_search.store.store import Store
from mkt_search.types import EncodeReport, ImportReport

if TYPE_CHECKING:
    from indexer.shards.plan import ShardPlan

PHOTOS_A_SHARD = 2_000
"""A worker that is killed loses at most so many."""


class WorkerOptions(TypedDict):
    """How a worker encodes; see `encode_shards`."""

    model: str | None
    device: str
    batch_size: int
    workers: int


def read_plan(plan: Path | str, *, root: Path | str | None = None) -> "ShardPlan":
    """Return the plan in a folder.

    Args:
        plan: the folder.
        root: the folder of the photos on this machine; by default that of the plan.

    Raises:
        PlanError: there is none, it is damaged, or another version made it.
    """
    from indexer.shards import plan as plans

    found = plans.read_plan(Path(plan).expanduser())
    return found if root is None else found.at(Path(root).expanduser().resolve())


def encode_shards(
    plan: Path | str,
    shards: Sequence[int] | None = None,
    *,
    root: Path | str | None = None,
    model: Path | str | None = None,
    device: str = "auto",
    batch_size: int = 32,
    workers: int = 0,
    ray: str | None = None,
    gpus: float = 0,
    progress: ProgressCallback = no_progress,
) -> EncodeReport:
    """Encode shards of a plan that are not done. Needs the photos and the model, but no library.

    Args:
        plan: the folder of the plan.
        shards: which; by default all.
        root: the folder of the photos on this machine; by default that of the plan.
        model: where the model is on this machine; by default the plan's name of it.
        device: where the student runs.
        batch_size: photos encoded together.
        workers: threads that read photos; 0 is one per processor.
        ray: have a Ray cluster do it, each shard as a task: its address, "auto" for the one that
            this machine is part of, or "local" for a new one on this machine alone.
        gpus: with `ray`, the GPUs of a task.
        progress: receives the number of photos done, with `ray` that of shards; may raise
            KeyboardInterrupt, which loses at most the shards under way.

    Raises:
        CheckpointMismatch: the model is another one, or this version decodes photos differently.
        ModelError: the model cannot be opened, or failed.
        PlanError: there is no plan or no such shard, the photos are not here, or the disk is full.
    """
    from indexer.shards.encode import encode_shards
    from indexer.shards.on_ray import encode_on_ray

    found = read_plan(plan, root=root)
    options: WorkerOptions = {
        "model": None if model is None else str(model),
        "device": device,
        "batch_size": batch_size,
        "workers": workers,
    }
    if ray is None:
        return encode_shards(found, shards, progress=progress, **options)
    return encode_on_ray(found, shards, address=ray, gpus=gpus, progress=progress, **options)


class LibraryShards:
    """Plans to encode photos in shards. `Library` inherits these methods."""

    store: Store
    config: Config

    def plan_shards(
        self,
        folder: Path | str,
        into: Path | str,
        *,
        model: Path | str | None = None,
        listing: Path | str | None = None,
        exclude: Sequence[str] = (),
        photos_a_shard: int = PHOTOS_A_SHARD,
        progress: ProgressCallback = no_progress,
    ) -> "ShardPlan":
        """List the photos of a folder that the library lacks, in shards; the library stays as is.

        Args:
            folder: of the photos.
            into: a new or empty folder, which all workers reach.
            model: as for `index`.
            listing: a file of the photos' paths relative to `folder`, in place of a walk through
                it: a path a line, or a CSV or Parquet file with a column `path`.
            exclude: as for `index`.
            photos_a_shard: photos of each shard but the last.
            progress: receives the number of photos found.

        Raises:
            PlanError: there is nothing to encode, `into` is not empty, the listing cannot be read,
                or a path of it leads out of the folder.
            CheckpointMismatch, ConfigError, ModelError.
        """
        from indexer.shards.listing import read_listing
        from indexer.shards.make import plan_shards

        refuse_text(exclude)
        checkpoint = None if model is None else str(model)
        return plan_shards(
            self.store,
            override(self.config, {"model.checkpoint": checkpoint}),
            Path(folder).expanduser(),
            Path(into).expanduser(),
            listing=None if listing is None else read_listing(Path(listing).expanduser()),
            exclude=exclude,
            photos_a_shard=photos_a_shard,
            progress=progress,
        )

    def import_shards(
        self,
        plan: Path | str,
        *,
        root: Path | str | None = None,
        progress: ProgressCallback = no_progress,
    ) -> ImportReport:
        """Bring the shards of a plan that are done into the library; a second time adds nothing.

        No photo is read. What the library saw later than the worker stays as it is.

        Args:
            plan: the folder of the plan.
            root: the folder of the photos on this machine; by default that of the plan.
            progress: called after every commit; may raise KeyboardInterrupt to stop there.

        Raises:
            PlanError: there is no plan, no shard is done, or all are damaged.
            CheckpointMismatch: the library's vectors were made otherwise.
            LibraryLocked, StoreError.
        """
        from indexer.shards.bring_in import import_shards

        return import_shards(self.store, read_plan(plan, root=root), progress=progress)
