"""Stage 2: tune the prompt of a trained student.

    mkt train stage2 --checkpoint student --photos DIR --labels labels.json --out tuned

    L = L_rank over the seen labels    (after MKT, section 3.3, https://arxiv.org/abs/2207.01887)

The embeddings of the template's own tokens learn; the label's tokens, the text tower and the
student stand still. So the student's vectors of the photos are computed once and kept, and the
checkpoint is that of stage 1 with `prompt.safetensors` beside it: photos need no new index.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mkt_search.datasets.dataset import Rows
from mkt_search.display import count_noun, first_few
from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import CheckpointModel, open_model
from mkt_search.models.checkpoint import Meta
from mkt_search.models.encoder import choose_device, choose_dtype
from mkt_search.models.text import PromptedTextEncoder
from mkt_search.settings.config import DataConfig, Stage2Config
from mkt_search.types import Vector
from training.data.features import FeatureCache, compute_vectors
from training.data.label_vectors import LabelSpace
from training.data.sources import LABELS, VectorSource
from training.data.task import Task, plain_settings, read_task
from training.learning.build import say_unreadable
from training.learning.evaluate import results, score_photos
from training.learning.prompt import PromptLearner, columns_of_step
from training.learning.schedule import learning_rate
from training.plans import require_positive
from training.runs.files import hold
from training.runs.history import Epoch, Listener
from training.runs.state import Run, diverged, open_run, require_place, spoiled
from training.stage1 import check_labels


def train(
    data: DataConfig,
    config: Stage2Config,
    source: Path,
    out: Path,
    *,
    restart: bool = False,
    listener: Listener | None = None,
) -> Meta:
    """Tune the prompt of a checkpoint and write another one; go on with a run that was stopped.

    Args:
        data: the labelled photos, split as for stage 1; see `[data]` of mkt.toml.
        config: the settings; see `[stage2]` of mkt.toml.
        source: the checkpoint whose prompt is tuned; it is left as it is.
        out: the checkpoint; after each epoch it holds the prompt of that epoch.
        restart: forget a stopped run, and replace a checkpoint that is there.
        listener: hears what goes on.

    Returns:
        The meta of the checkpoint: the story of both stages, and the results on the test photos
        before and after.

    Raises:
        DatasetError: the data cannot be read or split; the text says where.
        ModelError: the checkpoint cannot be opened, or a label not be read by its text tower.
        TrainingError: the settings or the numbers do not allow it; the text says why.
    """
    check(config)
    if source.resolve() == out.resolve():
        raise TrainingError(
            f"{source} would be replaced by what is made of it. Give another --out."
        )
    folder = require_place(out, restart=restart)
    listener = listener or Listener()
    model = open_checkpoint(source)
    encoder = text_encoder(model).to(choose_device(config.device))
    task = read_task(data, LabelSpace(encoder, prompt=model.meta.prompt), listener.say)
    check_labels(task, listener)
    compare_stories(model.meta, task, listener)
    with hold(folder):
        run = open_run(out, settings_of(config, task, model), restart=restart)
        stopped = run.load() if run.is_started and not restart else None
        return _train(config, task, model, encoder, run, stopped, out, listener=listener)


def _train(
    config: Stage2Config,
    task: Task,
    model: CheckpointModel,
    encoder: PromptedTextEncoder,
    run: Run,
    stopped: tuple[list[dict[str, Any]], dict[str, Any]] | None,
    out: Path,
    *,
    listener: Listener,
) -> Meta:
    # prompt
    device = choose_device(config.device)
    in_bfloat16 = choose_dtype(config.dtype, device, is_convolutional=False) == "bfloat16"
    learner = PromptLearner(
        encoder, task.labels.seen, config, top_k=model.top_k, in_bfloat16=in_bfloat16
    )

    # the last epoch of a stopped run
    history: list[dict[str, Any]] = []
    if stopped:
        history, state = stopped
        learner.load_state(state)
        listener.say(f"going on after epoch {len(history)} of {config.epochs}")

    # the student's vectors, once
    cache = vectors_of_photos(config, task, model, folder=run.folder, listener=listener)
    source = VectorSource(cache, device=device, batch_size=config.batch_size, seed=config.seed)
    if stopped is None:
        run.forget()  # now that nothing can be refused any more

    # epochs
    for number in range(len(history) + 1, config.epochs + 1):
        began = time.monotonic()
        loss, rate = learn(config, task, learner, source, number, run=run)
        vectors = learner.settle().encode(task.dataset.labels)
        found = measure(task, model, source, task.photos.validation, vectors)
        epoch = Epoch(number, {"rank": loss}, rate, time.monotonic() - began, found)
        history.append(asdict(epoch))
        run.save(history, learner.state())
        write(out, run, task, model, learner, history)
        listener.on_epoch(epoch)

    # results, with the prompt as it was and as it is
    before = measure(task, model, source, task.photos.test, task.vectors)
    vectors = learner.settle().encode(task.dataset.labels)
    after = measure(task, model, source, task.photos.test, vectors)
    found = {"test": after, "before": before}
    return write(out, run, task, model, learner, history, results=found)


def check(config: Stage2Config) -> None:
    """Refuse settings that cannot be followed. Raises TrainingError naming the flag."""
    require_positive(config, "lr", "score_scale")


def open_checkpoint(source: Path) -> CheckpointModel:
    """Open the checkpoint of stage 1, or the built-in one. Raises MktError where it is none."""
    model = open_model(source)
    if not isinstance(model, CheckpointModel):
        raise TrainingError(
            f"{source} is a model of open_clip and no checkpoint. Make one of it by `mkt train"
            f" stage1`, with --text-model {source}."
        )
    return model


def text_encoder(model: CheckpointModel) -> PromptedTextEncoder:
    """Return the label encoder of a checkpoint. Raises TrainingError where it has no prompt."""
    encoder = model.label_encoder()
    if not isinstance(encoder, PromptedTextEncoder):
        raise TrainingError(
            f"{model.name} looks its labels up in a table, and a table has no prompt to tune. Train"
            " stage 1 with --text-model instead of --label-table, or leave out stage 2."
        )
    if not len(encoder.template_context()):
        raise TrainingError(
            f'the template "{encoder.template}" of {model.name} has no words of its own to tune.'
        )
    return encoder


def compare_stories(meta: Meta, task: Task, listener: Listener) -> None:
    """Compare what stage 1 learned from with what stage 2 will.

    Raises:
        TrainingError: labels that stage 1 trained on would count as unseen.
    """
    told = meta.trained
    trained_on = sorted(set(told.get("seen", ())) & set(task.labels.unseen))
    if trained_on:
        raise TrainingError(
            f"stage 1 trained on {count_noun(len(trained_on), 'label')} that would count as "
            "unseen here"
            f" ({first_few(trained_on)}). Give the --unseen, --unseen-fraction and --split-seed of"
            " stage 1."
        )
    if not told.get("is_finished", True):
        listener.say("stage 1 of this checkpoint was stopped before its last epoch")
    if told.get("settings", {}).get("data", task.fingerprint) != task.fingerprint:
        listener.say(
            "stage 1 had other photos, labels or splits: it may have learned from photos that are"
            " scored here"
        )


def settings_of(config: Stage2Config, task: Task, model: CheckpointModel) -> dict[str, Any]:
    """Return all that decides the result of a run, as plain values."""
    return {
        **plain_settings(task.data, config),
        "data": task.fingerprint,
        "student": model.fingerprint,
        "prompt": task.space.encoder.fingerprint,
    }


def vectors_of_photos(
    config: Stage2Config, task: Task, model: CheckpointModel, *, folder: Path, listener: Listener
) -> FeatureCache:
    """Return what the student says of every photo, and tell which could not be read."""
    cache = compute_vectors(
        task.dataset,
        model.photo_encoder(device=config.device, dtype=config.dtype),
        fingerprint=model.fingerprint,
        folder=Path(config.cache) if config.cache else folder / "features",
        workers=config.workers,
        progress=listener.on_photos,
    )
    say_unreadable(task, np.flatnonzero(~cache.is_readable), listener)
    return cache


def learn(
    config: Stage2Config,
    task: Task,
    learner: PromptLearner,
    source: VectorSource,
    number: int,
    *,
    run: Run,
) -> tuple[float, float]:
    """Pass once over the training photos; epochs count from 1. Return the mean loss and last rate.

    Raises:
        TrainingError: a number is not finite; the context of the epoch before is kept.
    """
    rates = _rates(config, len(task.learnable), number)
    rng = np.random.default_rng([config.seed, LABELS, number])
    losses: list[float] = []
    for step, batch in enumerate(source.train(task.learnable, number), start=1):
        targets = task.seen_targets[batch.rows] * batch.is_readable[:, None]  # (B, L)
        columns = columns_of_step(targets, config.labels_per_step, rng)
        truth = torch.from_numpy(targets).to(batch.vectors.global_.device)
        loss = learner.gradient(batch.vectors, truth, torch.from_numpy(columns))
        if not (torch.isfinite(loss) and learner.is_finite):
            raise diverged(run, task.files(batch.rows), epoch=number, step=step)
        rate = next(rates)
        learner.step(rate=rate)
        losses.append(float(loss))
    if not learner.context.isfinite().all():
        raise spoiled(run, epoch=number)
    return float(np.mean(losses)), rate


def measure(
    task: Task, model: CheckpointModel, source: VectorSource, rows: Rows, vectors: Vector
) -> dict[str, Any]:
    """Return the results on some photos with label vectors (L, D); empty without photos."""
    if not len(rows):
        return {}
    scored = score_photos(source.look(rows), task.dataset.targets, vectors, k=model.top_k)
    return results(scored, seen=task.seen)


def write(
    out: Path,
    run: Run,
    task: Task,
    model: CheckpointModel,
    learner: PromptLearner,
    history: list[dict[str, Any]],
    results: dict[str, Any] | None = None,
) -> Meta:
    """Write the checkpoint with the story so far, that of stage 1 in it."""
    story = {
        "stage": "stage2",
        "is_finished": results is not None,
        "settings": run.settings,
        "photos": {part: len(rows) for part, rows in vars(task.photos).items()},
        "seen": list(task.labels.seen),
        "unseen": list(task.labels.unseen),
        "epochs": history,
        "stage1": {"trained": model.meta.trained, "results": model.meta.results},
    }
    meta = replace(model.meta, trained=story, results=results or {})
    return checkpoint.write_tuned(out, meta, model.directory, context=learner.context)


def _rates(config: Stage2Config, photos: int, number: int) -> Iterator[float]:
    """The learning rates of an epoch's steps: their part of half a cosine over all epochs."""
    steps = max(photos // config.batch_size, 1)
    for step in range((number - 1) * steps, number * steps):
        yield learning_rate(
            step, steps=config.epochs * steps, warmup=0, peak=config.lr, lowest=config.min_lr
        )
