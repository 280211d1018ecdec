"""Encode the shards of a plan on a Ray cluster, each as a task.

Ray decides where a task runs and repeats it when its worker or machine dies; that a shard is done
is decided by its record, as everywhere. Tasks, and not Ray Data: a shard is a file that exists or
not, so there is nothing to stream and no checkpoint to keep.
"""

from collections.abc import Sequence
from typing import Any

from indexer.shards.encode import encode_shards
from indexer.shards.plan import ShardPlan
from mkt_search.errors import MktError, PlanError
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.types import EncodeReport

RETRIES = 20  # of a shard whose worker dies
NEEDS_RAY = "Ray is not installed: install `ray` beside MKT search, in an environment of its own."
SHARDS = "encoding shards"


def encode_on_ray(
    plan: ShardPlan,
    shards: Sequence[int] | None = None,
    *,
    address: str,
    gpus: float = 0,
    progress: ProgressCallback = no_progress,
    **options: Any,
) -> EncodeReport:
    """Encode shards that are not done on a Ray cluster.

    Args:
        plan: the plan; every machine of the cluster has its folder, the photos and the model.
        shards: which; by default all that are not done.
        address: of the cluster, as `ray.init` takes it.
        gpus: GPUs of a task; may be a part of one.
        progress: receives the number of shards done; may raise KeyboardInterrupt.
        options: as for `encode_shards`.

    Returns:
        What the tasks did together.

    Raises:
        PlanError: Ray is not installed or cannot be reached, or a shard lost its worker too often.
        ModelError, CheckpointMismatch: as for `encode_shards`.
    """
    try:
        import ray
    except ImportError:
        raise PlanError(NEEDS_RAY) from None
    wanted = plan.missing() if shards is None else [one for one in shards if not plan.is_done(one)]
    report = EncodeReport(skipped=(plan.shards if shards is None else len(shards)) - len(wanted))
    if not ray.is_initialized():
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                include_dashboard=False,
                logging_level="WARNING",
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise PlanError(f"The Ray cluster cannot be reached ({error}).") from error
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_encode)
    waiting = {task.remote(plan, shard, options): shard for shard in wanted}
    try:
        while waiting:
            (ready,), _ = ray.wait(list(waiting))
            shard = waiting.pop(ready)
            try:
                _add(report, ray.get(ready))
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, MktError):
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                raise PlanError(
                    f"Shard {shard} of {plan.folder} lost its worker {RETRIES + 1} times ({error})."
                ) from error
            progress(Progress(SHARDS, len(wanted) - len(waiting), len(wanted), report.failed))
    finally:
        for left in waiting:
            ray.cancel(left)
    return report


def _encode(plan: ShardPlan, shard: int, options: dict[str, Any]) -> EncodeReport:
    return encode_shards(plan, [shard], **options)


def _add(report: EncodeReport, part: EncodeReport) -> None:
    report.shards += part.shards
    report.photos += part.photos
    report.failed += part.failed
    report.gone += part.gone
    report.skipped += part.skipped
    report.busy += part.busy
    for reason, count in part.reasons.items():
        report.reasons[reason] = report.reasons.get(reason, 0) + count
