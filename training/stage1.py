"""Stage 1: train the two-stream student on seen labels, beside a teacher if there is one.

    mkt train stage1 --photos DIR --labels labels.json --text-model ViT-B-16-quickgelu/FILE \\
        --teacher ViT-B-16-quickgelu/FILE --distill 1 --backbone-weights teacher --start teacher \\
        --backbone vit_base_patch16_clip_quickgelu_224 --frozen 10 --feature-dim 0 --out student

    L = L_rank + regression x L_reg + distill x L_dist

After MKT (He et al., AAAI 2023, section 3.2; https://arxiv.org/abs/2207.01887), which has no L_reg.
Label vectors stand still; the heads, and as many blocks of the backbone as are not frozen, learn.
The work of a run lies in OUT.run until the next one: a killed run goes on after its last epoch.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mkt_search.datasets.dataset import Rows
from mkt_search.display import count_noun, first_few
from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.checkpoint import Meta
from mkt_search.settings.config import DataConfig, Stage1Config
from training.data.sources import Batch, Source
from training.data.task import Task, load_task, settings_of
from training.learning.build import Prepared, find_teacher, prepare, say_unreadable
from training.learning.epoch import learn
from training.learning.evaluate import results, score_photos
from training.learning.learner import Learner
from training.learning.pca import plain_state
from training.plans import backbone_options, check
from training.runs.files import hold
from training.runs.history import Epoch, Listener
from training.runs.state import Run, open_run, require_place


def train(
    data: DataConfig,
    config: Stage1Config,
    out: Path,
    *,
    restart: bool = False,
    listener: Listener | None = None,
) -> Meta:
    """Train a student and write it to the checkpoint `out`; go on with a run that was stopped.

    Args:
        data: the labelled photos; see `[data]` of mkt.toml.
        config: the settings; see `[stage1]` of mkt.toml.
        out: the checkpoint; after each epoch it holds the student of that epoch.
        restart: forget a stopped run, and replace a checkpoint that is there.
        listener: hears what goes on.

    Returns:
        The meta of the checkpoint: the story of the run and its results on the test photos.

    Raises:
        DatasetError: the data cannot be read or split; the text says where.
        ModelError: a backbone, a teacher or label vectors cannot be had.
        TrainingError: the settings or the numbers do not allow it; the text says why.
    """
    check(config)
    folder = require_place(out, restart=restart)
    listener = listener or Listener()
    task = load_task(data, config, listener.say)
    check_labels(task, listener)
    teacher = find_teacher(config, task, listener)
    settings = settings_of(config, task, teacher=teacher.fingerprint if teacher else "")
    with hold(folder):
        run = open_run(out, settings, restart=restart)
        stopped = run.load() if run.is_started and not restart else None
        prepared = prepare(
            config,
            task,
            teacher,
            folder=run.folder,
            is_resumed=stopped is not None,
            listener=listener,
        )
        del teacher  # what it had to say is on disk; its memory is the student's
        if stopped is None:
            run.forget()  # now that nothing can be refused any more
        return _train(config, task, prepared, run, stopped, out, listener=listener)


def check_labels(task: Task, listener: Listener) -> None:
    """Name the seen labels that no training photo shows. Raises TrainingError when that is all."""
    if not len(task.learnable):
        raise TrainingError(
            "no training photo shows a seen label; there is nothing to learn from. Give other"
            " --labels or --splits, or name fewer labels in --unseen."
        )
    shown = np.any(task.seen_targets[task.learnable] > 0, axis=0)
    names = [task.labels.seen[column] for column in np.flatnonzero(~shown)]
    if names:
        listener.say(
            f"no photo to learn from shows {count_noun(len(names), 'label')}: "
            f"{first_few(names)}. Without a positive a"
            " label is only learned to be absent"
        )


def _train(
    config: Stage1Config,
    task: Task,
    prepared: Prepared,
    run: Run,
    stopped: tuple[list[dict[str, Any]], dict[str, Any]] | None,
    out: Path,
    *,
    listener: Listener,
) -> Meta:
    student, source = prepared.student, prepared.source
    device = next(student.parameters()).device
    labels = torch.from_numpy(task.vectors[: task.seen]).to(device)
    learner = Learner(student, labels, config, penalty=prepared.penalty)

    # the last epoch of a stopped run
    history: list[dict[str, Any]] = []
    if stopped:
        history, state = stopped
        learner.load_state(state)
        listener.say(f"going on after epoch {len(history)} of {config.epochs}")

    # epochs
    is_told = prepared.is_told
    for number in range(len(history) + 1, config.epochs + 1):
        began = time.monotonic()
        learned = learn(config, task, learner, source, number, run=run, teacher=prepared.taught)
        if not is_told:
            say_unreadable(task, learned.unreadable, listener)
            is_told = True
        with learner.settled():
            found = measure(config, task, source, task.photos.validation)
        seconds = time.monotonic() - began
        epoch = Epoch(number, learned.losses, learned.rate, seconds, found)
        history.append(asdict(epoch))
        run.save(history, learner.state())
        with learner.settled():
            write(out, config, task, prepared, run, history)
        listener.on_epoch(epoch)

    # results
    with learner.settled():
        unreadable: list[Rows] = []
        found = measure(config, task, source, task.photos.test, unreadable=unreadable)
        if not prepared.is_told:
            say_unreadable(task, np.concatenate(unreadable), listener)
        return write(out, config, task, prepared, run, history, results={"test": found})


def measure(
    config: Stage1Config,
    task: Task,
    source: Source,
    rows: Rows,
    *,
    unreadable: list[Rows] | None = None,
) -> dict[str, Any]:
    """Return the results on some photos; empty without photos. `unreadable` takes rows left out."""
    if not len(rows):
        return {}
    targets, vectors = task.dataset.targets, task.vectors
    batches = source.look(rows)
    if unreadable is not None:
        batches = noted(batches, unreadable)
    scored = score_photos(batches, targets, vectors, k=config.top_k)
    return results(scored, seen=task.seen)


def noted(batches: Iterator[Batch], unreadable: list[Rows]) -> Iterator[Batch]:
    """Pass batches on, and note the rows of photos that could not be read."""
    for batch in batches:
        unreadable.append(batch.rows[~batch.is_readable])
        yield batch


def write(
    out: Path,
    config: Stage1Config,
    task: Task,
    prepared: Prepared,
    run: Run,
    history: list[dict[str, Any]],
    results: dict[str, Any] | None = None,
) -> Meta:
    """Write the checkpoint with the story so far."""
    student = prepared.student
    meta = Meta(
        backbone=config.backbone,
        image=prepared.spec,
        grid=student.grid,
        dim=student.dim,
        top_k=min(config.top_k, student.grid[0] * student.grid[1]),
        options=backbone_options(config),
        heads=config.heads,
        prompt=task.space.prompt,
        trained=story(task, prepared, run, history, is_finished=results is not None),
        results=results or {},
    )
    return checkpoint.write(out, meta, plain_state(student), labels=task.space.table)


def story(
    task: Task,
    prepared: Prepared,
    run: Run,
    history: list[dict[str, Any]],
    *,
    is_finished: bool,
) -> dict[str, Any]:
    """Return what made the checkpoint: settings, data, labels, teacher and every epoch."""
    return {
        "stage": "stage1",
        "is_finished": is_finished,
        "settings": dict(run.settings),
        "photos": {part: len(rows) for part, rows in vars(task.photos).items()},
        "seen": list(task.labels.seen),
        "unseen": list(task.labels.unseen),
        "teacher": prepared.told,
        "epochs": history,
    }
