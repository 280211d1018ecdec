"""Stage 2: tune the prompt of a trained student.

    mkt train stage2 --checkpoint student --photos DIR --labels labels.json --out tuned

    L = L_rank over the seen labels    (after MKT, section 3.3, https://arxiv.org/abs/2207.01887)

The embeddings of the template's own tokens learn; the label's tokens, the text tower and the
student do not. So the checkpoint is that of stage 1 with `prompt.safetensors` beside it: photos
need no new index. Unless photos are augmented, the student's vectors of them are computed once.
"""

import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mkt_search.datasets.dataset import Rows
from mkt_search.display import count_noun, first_few
from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from mkt_search.models.build import CheckpointModel, open_model
from mkt_search.models.checkpoint import Meta
from mkt_search.models.encoder import choose_device, choose_dtype
from mkt_search.models.text import PromptedTextEncoder
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import DataConfig, Stage2Config
from mkt_search.types import Vector
from training.data.augment import NO_CHANGE
from training.data.features import compute_vectors
from training.data.label_vectors import LabelSpace
from training.data.sources import LABEL_STREAM, PhotoSource, VectorSource, steps_per_epoch
from training.data.task import Task, read_task, remarks, report_unreadable, task_provenance
from training.learning import held_out
from training.learning.epoch import NotFinite
from training.learning.evaluate import evaluate
from training.learning.prompt import PromptLearner, labels_of_step
from training.plans import Stage2Plan, plan_stage2, result_settings
from training.runs.files import hold
from training.runs.history import Epoch, EpochCallback, ignore_epoch
from training.runs.processes import ALONE, Processes, join, process_device
from training.runs.state import Run, SavedState, beside, require_writable

STEP = "stage 2"  # the name of this work in progress events


def train(
    data: DataConfig,
    config: Stage2Config,
    source: Path,
    out: Path,
    *,
    restart: bool = False,
    progress: ProgressCallback = no_progress,
    on_epoch: EpochCallback = ignore_epoch,
) -> Meta:
    """Tune the prompt of a checkpoint and write another one; continue a run that was stopped.

    Args:
        data: the labeled photos, split as for stage 1; [data] of mkt.toml.
        config: the settings; [stage2] of mkt.toml.
        source: the checkpoint whose prompt is tuned; it is not changed.
        out: the checkpoint; after each epoch it holds the prompt of that epoch.
        restart: discard a stopped run, and replace an existing checkpoint.
        progress: receives remarks, how many photos have vectors, and the steps of each epoch.
        on_epoch: receives each finished epoch.

    Returns:
        The meta of the checkpoint: provenance of both stages, and the results on the test photos
        with the prompt before and after.

    Raises:
        DatasetError: the data cannot be read or split.
        ModelError: the checkpoint cannot be opened, or its text tower cannot read a label.
        TrainingError: the settings contradict each other, or a loss is not a number.
    """
    # processes
    config = replace(config, device=process_device(config.device))
    processes = join(config.device)
    if not processes.is_first:
        progress, on_epoch = no_progress, ignore_epoch

    # settings
    plan = plan_stage2(config, cache=beside(out, ".run") / "features")
    if source.resolve() == out.resolve():
        raise TrainingError(f"--out would replace the checkpoint {source}. Give another --out.")
    folder = require_writable(out, restart=restart)
    processes.require_parts(plan.optimizer.batch_size)
    say = remarks(progress, STEP)

    # checkpoint and data
    model = open_checkpoint(source)
    encoder = text_encoder(model).to(choose_device(plan.run.device))
    task = read_task(data, LabelSpace(encoder, prompt=model.meta.prompt), progress)
    compare_provenance(model.meta, task, progress)

    with hold(folder) if processes.is_first else nullcontext():
        # prompt, and the student's vectors of the photos, which are computed once
        run = Run(out, run_settings(data, config, task, model))
        saved = run.load() if run.is_started and not restart else None
        processes.require_parts(len(task.trainable))
        learner = create_learner(plan, task, encoder, processes, k=model.top_k)
        photos = processes.first_then_others(
            lambda: open_source(plan, task, model, processes, progress)
        )
        session = Session(plan, task, model, learner, photos, run, out, processes, progress)
        if saved is None:
            if processes.is_first:
                run.delete_state()  # now that nothing can be refused any more
        else:
            session.resume(saved)
            say(f"continuing after epoch {len(saved.history)} of {plan.optimizer.epochs}")

        # epochs
        for number in range(len(session.history) + 1, plan.optimizer.epochs + 1):
            on_epoch(session.train_epoch(number))

        # results, with the prompt before and after
        return session.finish()


def create_learner(
    plan: Stage2Plan,
    task: Task,
    encoder: PromptedTextEncoder,
    processes: Processes = ALONE,
    *,
    k: int,
) -> PromptLearner:
    """Return the prompt that learns. Raises ModelError for a label that the tower cannot read."""
    dtype = choose_dtype(plan.run.dtype, choose_device(plan.run.device), is_convolutional=False)
    return PromptLearner(
        encoder,
        task.labels.seen,
        plan.loss,
        plan.optimizer,
        k=k,
        steps_per_epoch=steps_per_epoch(len(task.trainable), plan.optimizer.batch_size),
        labels_at_once=plan.labels_at_once,
        in_bfloat16=dtype == "bfloat16",
        processes=processes,
    )


def open_source(
    plan: Stage2Plan,
    task: Task,
    model: CheckpointModel,
    processes: Processes,
    progress: ProgressCallback,
) -> VectorSource | PhotoSource:
    """Return the source of batches: vectors that are computed once, or augmented photos.

    Without augmentation the student's vectors of every photo are computed here, and the photos that
    cannot be read are reported.
    """
    device, size = choose_device(plan.run.device), plan.optimizer.batch_size
    if plan.augmentation != NO_CHANGE:
        student = model.student()
        dtype = choose_dtype(plan.run.dtype, device, is_convolutional=student.is_convolutional)
        assert isinstance(student, nn.Module)
        student.requires_grad_(False).to(device)
        return PhotoSource(
            student,
            task.dataset,
            model.image,
            augmentation=plan.augmentation,
            batch_size=size,
            seed=plan.run.seed,
            workers=plan.run.workers,
            in_bfloat16=dtype == "bfloat16",
            processes=processes,
        )
    cache = compute_vectors(
        task.dataset,
        model.photo_encoder(device=plan.run.device, dtype=plan.run.dtype),
        plan.run,
        fingerprint=model.fingerprint,
        progress=progress,
    )
    report_unreadable(task, np.flatnonzero(~cache.is_readable), progress)
    return VectorSource(
        cache, device=device, batch_size=size, seed=plan.run.seed, processes=processes
    )


class Session:
    """A run between its first and its last epoch.

    Attributes:
        history: the finished epochs.
    """

    def __init__(
        self,
        plan: Stage2Plan,
        task: Task,
        model: CheckpointModel,
        learner: PromptLearner,
        source: VectorSource | PhotoSource,
        run: Run,
        out: Path,
        processes: Processes,
        progress: ProgressCallback,
    ) -> None:
        self._processes = processes
        self.history: list[Epoch] = []
        self._plan = plan
        self._task = task
        self._model = model
        self._learner = learner
        self._source = source
        self._run = run
        self._out = out
        self._progress = progress
        self._steps = steps_per_epoch(len(task.trainable), plan.optimizer.batch_size)
        self._unreadable_reported = isinstance(source, VectorSource)

    def resume(self, saved: SavedState) -> None:
        """Continue from the last epoch of a stopped run."""
        self.history = saved.history
        self._learner.load_state(saved.tensors)

    def train_epoch(self, number: int) -> Epoch:
        """Train an epoch (from 1), validate, and write its state and its checkpoint.

        Raises:
            TrainingError: a loss or the context is not a number; the epoch before is kept.
        """
        began = time.monotonic()
        try:
            loss, rate = self._pass(number)
        except NotFinite as error:
            raise self._run.failure(error, epoch=number) from error
        found = self._processes.from_first(
            lambda: self._evaluate(self._task.photos.validation, self._tuned_vectors())
        )
        epoch = Epoch(
            number=number,
            total=self._plan.optimizer.epochs,
            losses={"rank": loss},
            rate=rate,
            seconds=time.monotonic() - began,
            validation=found,
        )
        self.history.append(epoch)
        if self._processes.is_first:
            self._run.save(self.history, self._learner.state())
            self._write({})
        return epoch

    def finish(self) -> Meta:
        """Write the checkpoint with the results on the test photos, and return its meta."""
        return self._processes.from_first(self._finish)

    def _finish(self) -> Meta:
        rows = self._task.photos.test
        before = self._evaluate(rows, self._task.vectors)
        after = self._evaluate(rows, self._tuned_vectors())
        meta = self._write({"test": after, "before": before})
        self._calibrate()
        return meta

    def _calibrate(self) -> None:
        """Write a calibrator, on what stage 1 held out, with labels by the tuned prompt."""
        say, model, task = remarks(self._progress, STEP), self._model, self._task
        folder = beside(model.directory, ".run")
        parts = held_out.read(folder / held_out.FILE, held_out.key_of(model.meta.trained))
        if not parts:
            say(
                f"{held_out.NONE}: stage 1 held nothing out, or {folder} is not there any more;"
                " `mkt calibrate` makes one from labeled photos"
            )
            return
        encoding = held_out.encoding_of(model.dim, model.grid, model.top_k)
        source, share = self._source, model.local_share
        held_out.calibrate(
            self._out,
            parts,
            lambda: held_out.own_photos(task, source, encoding, local_share=share),
            self._learner.frozen_prompt().encode,
            say,
        )

    def _pass(self, number: int) -> tuple[float, float]:
        """Pass once over the training photos; return the mean loss and the last rate.

        Raises:
            NotFinite: a loss, a gradient or the context is not a finite number.
        """
        task, learner, rate = self._task, self._learner, 0.0
        name = f"epoch {number} of {self._plan.optimizer.epochs}"
        rng = np.random.default_rng([self._plan.run.seed, LABEL_STREAM, number])
        losses: list[float] = []
        unreadable: list[Rows] = []
        for step, batch in enumerate(self._source.training_batches(task.trainable, number)):
            targets = task.seen_targets[batch.rows] * batch.is_readable[:, None]  # (B, L)
            truth = torch.from_numpy(targets).to(learner.context.device)
            is_shown = self._processes.any((truth > 0).any(dim=0)).cpu().numpy()  # (L,)
            columns = labels_of_step(is_shown, self._plan.labels_per_step, rng)
            loss = self._processes.sum(
                learner.gradient(batch.vectors, truth, torch.from_numpy(columns))
            )
            if not (torch.isfinite(loss) and learner.is_finite()):
                raise NotFinite(
                    f"the loss is not a finite number in epoch {number}, batch {step + 1} (photos"
                    f" {first_few(task.files(batch.rows))})"
                )
            rate = learner.step((number - 1) * self._steps + step)
            losses.append(float(loss))
            unreadable.append(batch.rows[~batch.is_readable])
            self._progress(Progress(name, step + 1, self._steps))
        if not learner.context.isfinite().all():
            raise NotFinite(f"the weights are not finite numbers after epoch {number}")
        if not self._unreadable_reported:
            rows = self._processes.all_rows(np.concatenate(unreadable))
            report_unreadable(task, rows, self._progress)
            self._unreadable_reported = True
        return float(np.mean(losses)), rate

    def _tuned_vectors(self) -> Vector:
        return self._learner.frozen_prompt().encode(self._task.dataset.labels)

    def _evaluate(self, rows: Rows, vectors: Vector) -> dict[str, Any]:
        k, share = self._model.top_k, self._model.local_share
        return evaluate(self._task, self._source, rows, vectors, k=k, local_share=share)[0]

    def _write(self, results: dict[str, Any]) -> Meta:
        """Write the checkpoint of the epochs so far; with results it is finished."""
        first = self._model.meta
        provenance = {
            "stage": "stage2",
            "is_finished": bool(results),
            **task_provenance(self._task, self._run),
            "epochs": [asdict(epoch) for epoch in self.history],
            "stage1": {"trained": first.trained, "results": first.results},
        }
        meta = replace(first, trained=provenance, results=results)
        context = self._learner.context
        return checkpoint.write_tuned(self._out, meta, self._model.directory, context=context)


def open_checkpoint(source: Path) -> CheckpointModel:
    """Open the checkpoint of stage 1, or the built-in one. Raises MktError where it is none."""
    model = open_model(source)
    if not isinstance(model, CheckpointModel):
        raise TrainingError(
            f"{source} is an open_clip model, not a checkpoint. Make a checkpoint of it with `mkt"
            f" train stage1 --text-model {source}`."
        )
    return model


def text_encoder(model: CheckpointModel) -> PromptedTextEncoder:
    """Return the label encoder of a checkpoint. Raises TrainingError where it has no prompt."""
    encoder = model.label_encoder()
    if not isinstance(encoder, PromptedTextEncoder):
        raise TrainingError(
            f"{model.name} looks its labels up in a table, which has no prompt to tune. Train stage"
            " 1 with --text-model instead of --label-table, or leave out stage 2."
        )
    if not len(encoder.template_context()):
        raise TrainingError(
            f'the template "{encoder.template}" of {model.name} has no words of its own to tune.'
        )
    return encoder


def compare_provenance(meta: Meta, task: Task, progress: ProgressCallback) -> None:
    """Compare what stage 1 learned from with what stage 2 will learn from.

    Raises:
        TrainingError: a label that stage 1 trained on would count as unseen.
    """
    first, say = meta.trained, remarks(progress, STEP)
    trained_on = sorted(set(first.get("seen", ())) & set(task.labels.unseen))
    if trained_on:
        raise TrainingError(
            f"stage 1 trained on {count_noun(len(trained_on), 'label')} that would count as "
            "unseen here"
            f" ({first_few(trained_on)}). Give the --unseen, --unseen-fraction and --split-seed of"
            " stage 1."
        )
    if not first.get("is_finished", True):
        say("stage 1 of this checkpoint was stopped before its last epoch")
    if first.get("settings", {}).get("data", task.fingerprint) != task.fingerprint:
        say(
            "stage 1 had other photos, labels or splits, so it may have learned from photos that"
            " are scored here"
        )


def run_settings(
    data: DataConfig, config: Stage2Config, task: Task, model: CheckpointModel
) -> dict[str, Any]:
    """Return everything that decides the result of a run, as plain values."""
    return {
        **result_settings(data, config),
        "data": task.fingerprint,
        "student": model.fingerprint,
        "prompt": task.space.encoder.fingerprint,
    }
