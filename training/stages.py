"""Both stages from one set of settings: a student, then its prompt.

    mkt train --out student

OUT.stage1 is the checkpoint of stage 1, OUT that of stage 2. The same command again goes on in the
stage where it was stopped.
"""

from pathlib import Path

from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.checkpoint import Meta
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from training import plans as settings
from training import stage1, stage2
from training.data.task import load_task, settings_of
from training.learning.teacher import teacher_fingerprint
from training.runs.history import Listener
from training.runs.state import beside, require_place


def train(
    data: DataConfig,
    first: Stage1Config,
    second: Stage2Config,
    out: Path,
    *,
    restart: bool = False,
    listeners: tuple[Listener, Listener] | None = None,
) -> Meta:
    """Train a student and tune its prompt; go on where that was stopped.

    Args:
        data: the labelled photos, of both stages.
        first: settings of stage 1; it must have a text tower.
        second: settings of stage 2.
        out: the checkpoint; that of stage 1 stands beside it.
        restart: forget a stopped run of either stage, and replace checkpoints that are there.
        listeners: who hears of the first and of the second stage.

    Returns:
        The meta of the checkpoint, as stage 2 gives it.

    Raises:
        MktError: as the stages do; what would stop the second does so before the first.
    """
    hears_first, hears_second = listeners or (Listener(), Listener())
    student = beside(out, ".stage1")
    check(first, second, out, restart=restart)
    if not restart and is_done(student, data, first):
        hears_first.say(f"stage 1 is done: {student}")
    else:
        hears_first.say(f"stage 1: the student, {student}")
        stage1.train(data, first, student, restart=restart, listener=hears_first)
    hears_second.say(f"stage 2: its prompt, {out}")
    return stage2.train(data, second, student, out, restart=restart, listener=hears_second)


def check(first: Stage1Config, second: Stage2Config, out: Path, *, restart: bool) -> None:
    """Refuse what would stop stage 2. Raises TrainingError."""
    if first.label_table:
        raise TrainingError(
            f"the labels of stage 1 come from the table {first.label_table}, and a table has no"
            " prompt to tune: only `mkt train stage1` is possible. For both stages set text_model"
            " instead of label_table in [stage1] of mkt.toml."
        )
    if not first.text_model:
        raise TrainingError(
            "both stages need a text tower for the labels; set text_model in [stage1] of mkt.toml,"
            " or the environment variable MKT_STAGE1_TEXT_MODEL, to NAME/TAG of open_clip."
        )
    settings.check(first)
    stage2.check(second)
    require_place(out, restart=restart)


def is_done(student: Path, data: DataConfig, config: Stage1Config) -> bool:
    """True when a checkpoint is what stage 1 makes of these settings, to its last epoch.

    The photos, the labels and the weights count by what is in them, as for a run that goes on.
    """
    if not checkpoint.is_checkpoint(student):
        return False
    story = checkpoint.read_meta(student).trained
    if story.get("stage") != "stage1" or not story.get("is_finished"):
        return False
    task = load_task(data, config, lambda sentence: None)  # stage 2 will say it
    teacher = teacher_fingerprint(config.teacher) if settings.uses_teacher(config) else ""
    return bool(story.get("settings") == settings_of(config, task, teacher=teacher))
