"""Stage 1: train the two-stream student on seen labels.

    mkt train stage1 --photos DIR --labels labels.json --label-table glove.npz \\
        --backbone mobilenetv2_100 --backbone-weights FILE --out student

    L = L_rank + regression x L_reg    (after MKT, section 3.2, https://arxiv.org/abs/2207.01887)

Label vectors stand still; the heads, and as many blocks of the backbone as are not frozen, learn.
The work of a run lies in OUT.run until the next one: a killed run goes on after its last epoch.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mkt_search.config import Stage1Config
from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import create_student
from mkt_search.models.checkpoint import Meta
from mkt_search.models.encoder import choose_device, choose_dtype
from mkt_search.models.student import Student
from mkt_search.types import ImageSpec
from training.axes import plain_state
from training.features import FeatureCache, compute_features
from training.files import hold
from training.learner import Learner
from training.measure import results, score_photos
from training.photos import Augmentation
from training.run import Run
from training.schedule import learning_rate
from training.settings import backbone_options, check, frozen_depth, image_spec
from training.sources import FrozenSource, MovingSource, Source
from training.split import Rows, counted, some
from training.start import start_heads
from training.task import Task, load_task, settings_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """What an epoch did: mean losses by name, the last learning rate, validation results."""

    number: int
    losses: dict[str, float]
    rate: float
    seconds: float
    validation: dict[str, Any]


@dataclass(frozen=True)
class Learned:
    """What one pass over the training photos gave; `unreadable` are rows that took no part."""

    losses: dict[str, float]
    rate: float
    unreadable: Rows


@dataclass(frozen=True)
class Listener:
    """Who wants to hear of a run: sentences, photos whose features are done, finished epochs."""

    say: Callable[[str], None] = log.info
    on_photos: Callable[[int, int], None] = lambda done, total: None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None


def train(
    config: Stage1Config, out: Path, *, restart: bool = False, listener: Listener | None = None
) -> Meta:
    """Train a student and write it to the checkpoint `out`; go on with a run that was stopped.

    Args:
        config: the settings; see `[stage1]` of mkt.toml.
        out: the checkpoint; after each epoch it holds the student of that epoch.
        restart: forget a stopped run, and replace a checkpoint that is there.
        listener: hears what goes on.

    Returns:
        The meta of the checkpoint: the story of the run and its results on the test photos.

    Raises:
        TrainingError: the settings, the data or the numbers do not allow it; the text says why.
    """
    check(config)
    listener = listener or Listener()
    task = load_task(config, listener.say)
    with hold(out.with_name(out.name + ".run") / "lock"):
        run = open_run(out, settings_of(config, task), restart=restart)
        return _train(config, task, run, out, listener=listener)


def _train(config: Stage1Config, task: Task, run: Run, out: Path, *, listener: Listener) -> Meta:
    # student
    student = build_student(config, dim=task.vectors.shape[1]).to(choose_device(config.device))
    spec = image_spec(config, student.backbone)
    labels = torch.from_numpy(task.vectors[: task.seen]).to(_device(student))

    # features, once, where the backbone is frozen or the heads start from them
    cache = None
    if config.frozen == "all" or config.feature_dim or config.start == "ridge":
        cache = features(config, task, student, spec, folder=run.folder, listener=listener)
    source = open_source(config, task, student, spec, cache)

    # start: the last epoch of a stopped run, or a ridge regression, or random heads
    stopped = run.load() if run.is_started else None
    penalty = start_heads(config, task, student, cache, is_resumed=stopped is not None)
    learner = Learner(student, labels, config, penalty=penalty)
    history: list[dict[str, Any]] = []
    if stopped:
        history, state = stopped
        learner.load_state(state)
        listener.say(f"going on after epoch {len(history)} of {config.epochs}")

    # epochs
    epoch: Epoch | None = None
    for number in range(len(history) + 1, config.epochs + 1):
        began = time.monotonic()
        learned = learn(config, task, learner, source, number, run=run)
        if cache is None and epoch is None:
            say_unreadable(task, learned.unreadable, listener)
        with learner.settled():
            found = measure(config, task, source, task.photos.validation)
        seconds = time.monotonic() - began
        epoch = Epoch(number, learned.losses, learned.rate, seconds, found)
        history.append(asdict(epoch))
        run.save(history, learner.state())
        with learner.settled():
            write(out, config, task, student, spec, history)
        listener.on_epoch(epoch)

    # results
    with learner.settled():
        found = measure(config, task, source, task.photos.test)
        return write(out, config, task, student, spec, history, results={"test": found})


def open_run(out: Path, settings: dict[str, Any], *, restart: bool) -> Run:
    """Return the run that makes `out`. Raises TrainingError where that would destroy something."""
    run = Run(out, settings)
    if out.exists() and not checkpoint.is_checkpoint(out):
        raise TrainingError(f"{out} exists and is no checkpoint. Give another --out.")
    if restart:
        run.forget()
    elif out.exists() and not run.is_started:
        raise TrainingError(
            f"{out} exists already. Give another --out, or replace it by --restart."
        )
    return run


def build_student(config: Stage1Config, *, dim: int) -> Student:
    """Return the backbone with fresh heads, the same for the same seed, frozen as far as asked."""
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        student = create_student(
            config.backbone,
            image_size=(config.image_height, config.image_width),
            dim=dim,
            heads=config.heads,
            weights=Path(config.backbone_weights) if config.backbone_weights else None,
            **backbone_options(config),
        )
    student.freeze(frozen_depth(config))
    return student


def features(
    config: Stage1Config,
    task: Task,
    student: Student,
    spec: ImageSpec,
    *,
    folder: Path,
    listener: Listener,
) -> FeatureCache:
    """Return what the backbone says of every photo, and tell which photos could not be read."""
    cache = compute_features(
        task.dataset,
        student,
        spec,
        folder=Path(config.cache) if config.cache else folder / "features",
        mirrored=config.flip,
        device=config.device,
        dtype=config.dtype,
        workers=config.workers,
        progress=listener.on_photos,
    )
    say_unreadable(task, np.flatnonzero(~cache.is_readable), listener)
    return cache


def say_unreadable(task: Task, rows: Rows, listener: Listener) -> None:
    """Tell which photos take no part, if any."""
    names = [task.dataset.files[row] for row in rows]
    if names:
        listener.say(f"left out {counted(names, 'photo')} that cannot be read: {some(names)}")


def open_source(
    config: Stage1Config,
    task: Task,
    student: Student,
    spec: ImageSpec,
    cache: FeatureCache | None,
) -> Source:
    """Return where batches come from: cached features, or the photos when blocks learn."""
    if config.frozen == "all" and cache is not None:
        return FrozenSource(student, cache, batch_size=config.batch_size, seed=config.seed)
    dtype = choose_dtype(config.dtype, _device(student), is_convolutional=student.is_convolutional)
    return MovingSource(
        student,
        task.dataset,
        spec,
        augmentation=Augmentation(flip=config.flip, crop_scale=config.crop_scale),
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        in_bfloat16=dtype == "bfloat16",
    )


def learn(
    config: Stage1Config, task: Task, learner: Learner, source: Source, number: int, *, run: Run
) -> Learned:
    """Pass once over the training photos; epochs count from 1.

    Raises:
        TrainingError: the loss is not a number; the weights of the epoch before are kept.
    """
    learner.student.train()
    targets = torch.from_numpy(task.seen_targets)
    steps = max(len(task.learnable) // config.batch_size, 1)
    seen: list[dict[str, float]] = []
    unreadable: list[Rows] = []
    with torch.random.fork_rng():
        torch.manual_seed(config.seed * 100_003 + number)  # for dropout inside a backbone
        for step, batch in enumerate(source.train(task.learnable, number)):
            readable = torch.from_numpy(batch.is_readable)[:, None]
            truth = targets[torch.from_numpy(batch.rows)] * readable  # (B, L)
            losses = learner.losses(batch.vectors, truth.to(_device(learner.student)))
            if not torch.isfinite(losses["loss"]):
                raise TrainingError(_diverged(task, batch.rows, number, step + 1, run))
            rate = _rate(config, (number - 1) * steps + step, steps)
            learner.step(losses["loss"], rate=rate)
            seen.append({name: float(value.detach()) for name, value in losses.items()})
            unreadable.append(batch.rows[~batch.is_readable])
    means = {name: sum(part[name] for part in seen) / len(seen) for name in seen[0]}
    return Learned(means, rate, np.sort(np.concatenate(unreadable)))


def measure(config: Stage1Config, task: Task, source: Source, rows: Rows) -> dict[str, Any]:
    """Return the results on some photos; empty without photos."""
    if not len(rows):
        return {}
    targets, vectors = task.dataset.targets, task.vectors
    scored = score_photos(source.look(rows), targets, vectors, k=config.top_k)
    return results(scored, seen=task.seen)


def write(
    out: Path,
    config: Stage1Config,
    task: Task,
    student: Student,
    spec: ImageSpec,
    history: list[dict[str, Any]],
    results: dict[str, Any] | None = None,
) -> Meta:
    """Write the checkpoint with the story so far."""
    meta = Meta(
        backbone=config.backbone,
        image=spec,
        grid=student.grid,
        dim=student.dim,
        top_k=min(config.top_k, student.grid[0] * student.grid[1]),
        options=backbone_options(config),
        heads=config.heads,
        prompt=task.space.prompt,
        trained=story(config, task, history, is_finished=results is not None),
        results=results or {},
    )
    return checkpoint.write(out, meta, plain_state(student), labels=task.space.table)


def story(
    config: Stage1Config, task: Task, history: list[dict[str, Any]], *, is_finished: bool
) -> dict[str, Any]:
    """Return what made the checkpoint: settings, data, labels and every epoch."""
    return {
        "stage": "stage1",
        "is_finished": is_finished,
        "settings": settings_of(config, task),
        "photos": {part: len(rows) for part, rows in vars(task.photos).items()},
        "seen": list(task.labels.seen),
        "unseen": list(task.labels.unseen),
        "epochs": history,
    }


def _device(student: Student) -> torch.device:
    return next(student.parameters()).device


def _rate(config: Stage1Config, step: int, steps_per_epoch: int) -> float:
    return learning_rate(
        step,
        steps=config.epochs * steps_per_epoch,
        warmup=round(config.warmup_epochs * steps_per_epoch),
        peak=config.lr,
        lowest=config.min_lr,
    )


def _diverged(task: Task, rows: Rows, epoch: int, step: int, run: Run) -> str:
    kept = f"epoch {epoch - 1} is kept in {run.folder}" if epoch > 1 else "nothing was written"
    return (
        f"the loss is not a finite number in epoch {epoch}, batch {step} (photos"
        f" {some([task.dataset.files[row] for row in rows])}); {kept}. Lower --lr, or set"
        " --clip-grad."
    )
