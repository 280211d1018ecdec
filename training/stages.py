"""Both stages from one set of settings: a student, then its prompt.

    mkt train --out student

With a text tower, OUT.stage1 is the checkpoint of stage 1 and OUT that of stage 2. A label table
has no prompt to tune: OUT is then the checkpoint of stage 1. The same command continues in the
stage where it was stopped.
"""

from pathlib import Path

from mkt_search.models import checkpoint
from mkt_search.models.checkpoint import Meta
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from training import stage1, stage2
from training.data.label_vectors import open_label_space
from training.data.task import read_task
from training.plans import plan_stage1, plan_stage2
from training.runs.history import EpochCallback, ignore_epoch
from training.runs.processes import join, process_device
from training.runs.state import beside, require_writable


def train(
    data: DataConfig,
    first: Stage1Config,
    second: Stage2Config,
    out: Path,
    *,
    restart: bool = False,
    progress: ProgressCallback = no_progress,
    on_epoch: EpochCallback = ignore_epoch,
) -> Meta:
    """Train a student and, with a text tower, tune its prompt; continue where that was stopped.

    Args:
        data: the labeled photos, of both stages.
        first: settings of stage 1.
        second: settings of stage 2.
        out: the checkpoint; with a text tower, that of stage 1 is `out` with ".stage1".
        restart: discard a stopped run of either stage, and replace existing checkpoints.
        progress: receives remarks and counts of both stages.
        on_epoch: receives the finished epochs of both stages.

    Returns:
        The meta of the checkpoint `out`.

    Raises:
        MktError: as the stages do; what would stop stage 2 is refused before stage 1.
    """
    if not join(process_device(first.device)).is_first:
        progress, on_epoch = no_progress, ignore_epoch
    plan = plan_stage1(first, cache=Path())
    if plan.labels.table is not None:
        progress(Progress(stage1.STEP, message="a label table has no prompt to tune: stage 1 only"))
        return stage1.train(data, first, out, restart=restart, progress=progress, on_epoch=on_epoch)
    plan_stage2(second, cache=Path())
    require_writable(out, restart=restart)
    student = beside(out, ".stage1")
    if not restart and is_finished(student, data, first):
        progress(Progress(stage1.STEP, message=f"stage 1 is done: {student}"))
    else:
        progress(Progress(stage1.STEP, message=f"stage 1, the student: {student}"))
        stage1.train(data, first, student, restart=restart, progress=progress, on_epoch=on_epoch)
    progress(Progress(stage2.STEP, message=f"stage 2, its prompt: {out}"))
    return stage2.train(
        data, second, student, out, restart=restart, progress=progress, on_epoch=on_epoch
    )


def is_finished(student: Path, data: DataConfig, config: Stage1Config) -> bool:
    """Return True when a checkpoint is the result of stage 1 under these settings.

    Photos, labels and weights count by their content.
    """
    if not checkpoint.is_checkpoint(student):
        return False
    trained = checkpoint.read_meta(student).trained
    if trained.get("stage") != "stage1" or not trained.get("is_finished"):
        return False
    plan = plan_stage1(config, cache=Path())
    task = read_task(data, open_label_space(plan.labels), no_progress)  # stage 2 reports it
    return bool(trained.get("settings") == stage1.run_settings(data, config, plan, task))
