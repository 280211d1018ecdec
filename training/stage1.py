"""Stage 1: train the two-stream student on seen labels, beside a teacher if there is one.

    mkt train stage1 --recipe paper --photos DIR --labels labels.json --out student

    L = L_rank + regression x L_reg + distill x L_dist + distill_patches x L_patch

After MKT (He et al., AAAI 2023, section 3.2; https://arxiv.org/abs/2207.01887), which has neither
L_reg nor L_patch.
Label vectors are fixed; the heads learn, and as many blocks of the backbone as are not frozen.
OUT.run keeps the state of the run: a run that was killed continues after its last epoch.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mkt_search.datasets.dataset import Rows
from mkt_search.errors import CalibrationError
from mkt_search.models import checkpoint
from mkt_search.models.anchor_choice import AnchorChoice, Point
from mkt_search.models.checkpoint import Meta, hash_file
from mkt_search.models.encoder import choose_device, choose_dtype
from mkt_search.models.stream_choice import StreamChoice
from mkt_search.models.student import Student
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import DataConfig, Stage1Config
from mkt_search.types import EQUAL_SHARES, Encoding, ImageSpec
from training.data.features import FeatureCache, compute_features
from training.data.label_vectors import open_label_space
from training.data.sources import FeatureSource, PhotoSource, Source, steps_per_epoch
from training.data.task import Task, read_task, remarks, report_unreadable, task_provenance
from training.learning import held_out
from training.learning.anchor import (
    AnchorSpec,
    choose_weight,
    fit_anchor,
    open_classifier,
    weight_table,
    with_weight,
)
from training.learning.build import build_student, image_spec
from training.learning.epoch import NotFinite, train_epoch
from training.learning.evaluate import evaluate
from training.learning.heads import init_heads
from training.learning.learner import Learner
from training.learning.patch_teacher import PatchTeacher
from training.learning.pca import folded_state
from training.learning.teacher import (
    Teacher,
    TeacherVectors,
    compute_teacher_vectors,
    open_teacher,
    require_label_space,
    teacher_fingerprint,
)
from training.learning.teacher_anchor import (
    EPOCHS_OVER,
    TeacherAnchorSpec,
    choose_share,
    fold_tasks,
)
from training.learning.teacher_anchor import weight_table as teacher_table
from training.learning.weight_table import WeightTable
from training.plans import TEACHER, Stage1Plan, plan_stage1, result_settings
from training.runs.files import hold
from training.runs.history import Epoch, EpochCallback, ignore_epoch
from training.runs.processes import ALONE, Processes, join, process_device
from training.runs.state import Run, SavedState, beside, require_writable

STEP = "stage 1"  # the name of this work in progress events
TOO_FEW = (
    "no anchor: there are too few labels or photos to choose its weight on; give --anchor a number"
)


def train(
    data: DataConfig,
    config: Stage1Config,
    out: Path,
    *,
    restart: bool = False,
    progress: ProgressCallback = no_progress,
    on_epoch: EpochCallback = ignore_epoch,
) -> Meta:
    """Train a student and write it to the checkpoint `out`; continue a run that was stopped.

    Args:
        data: the labeled photos; [data] of mkt.toml.
        config: the settings; [stage1] of mkt.toml.
        out: the checkpoint; after each epoch it holds the student of that epoch.
        restart: discard a stopped run, and replace an existing checkpoint.
        progress: receives remarks, how many photos have features, and the steps of each epoch.
        on_epoch: receives each finished epoch.

    Returns:
        The meta of the checkpoint: provenance, and results on the test photos.

    Raises:
        DatasetError: the data cannot be read or split.
        ModelError: a backbone, a teacher or label vectors cannot be loaded.
        TrainingError: the settings contradict each other, or a loss is not a number.
    """
    # processes
    config = replace(config, device=process_device(config.device))
    processes = join(config.device)
    if not processes.is_first:
        progress, on_epoch = no_progress, ignore_epoch

    # settings
    plan = plan_stage1(config, cache=beside(out, ".run") / "features")
    folder = require_writable(out, restart=restart)
    processes.require_parts(plan.optimizer.batch_size)
    say = remarks(progress, STEP)
    if config.teacher and not plan.teacher:
        say(
            f"the teacher {config.teacher} is not used: --distill and --distill-patches are 0, and"
            " neither --head-init nor --backbone-weights is teacher"
        )

    # data and teacher
    task = read_task(data, open_label_space(plan.labels), progress)
    teacher = open_teacher(plan.teacher) if plan.teacher else None
    if teacher is not None and plan.needs_label_space:
        seen, vectors = task.labels.seen, task.vectors[: task.seen]
        require_label_space(teacher, seen, vectors, text_model=plan.labels.text_model)

    with hold(folder) if processes.is_first else nullcontext():
        # student; a stopped run has its weights
        run = Run(out, run_settings(data, config, plan, task))
        saved = run.load() if run.is_started and not restart else None
        processes.require_parts(len(task.trainable))
        prepared = processes.first_then_others(
            partial(
                prepare,
                *(plan, task, teacher, processes),
                is_resumed=saved is not None,
                progress=progress,
            )
        )
        processes.share_weights(prepared.student)
        session = Session(plan, task, prepared, run, out, processes, progress)
        if saved is None:
            if processes.is_first:
                run.delete_state()  # now that nothing can be refused any more
        else:
            session.resume(saved)
            say(f"continuing after epoch {len(saved.history)} of {plan.optimizer.epochs}")
        session.give_anchor(teacher)
        session.hold_out(teacher)
        del teacher  # its vectors are on disk, or it was copied; free its memory

        # epochs
        for number in range(len(session.history) + 1, plan.optimizer.epochs + 1):
            on_epoch(session.train_epoch(number))

        # results
        return session.finish()


@dataclass(frozen=True)
class Prepared:
    """A student before its first step, on its device, and the source of its batches.

    Args:
        student: with its initial heads.
        spec: what it sees.
        features: of every photo, where they were computed.
        source: where its batches come from.
        penalty: of the ridge start.
        teacher_vectors: the teacher's vectors, where the loss distills.
        teacher_info: what `meta.json` records of the teacher.
        unreadable_reported: the photos that cannot be read are reported already.
    """

    student: Student
    spec: ImageSpec
    features: FeatureCache | None
    source: Source
    penalty: float
    teacher_vectors: TeacherVectors | None
    teacher_info: dict[str, Any] | None
    unreadable_reported: bool


def prepare(
    plan: Stage1Plan,
    task: Task,
    teacher: Teacher | None,
    processes: Processes = ALONE,
    *,
    is_resumed: bool,
    progress: ProgressCallback,
) -> Prepared:
    """Build the student, and compute once what does not change: features and teacher vectors.

    Args:
        is_resumed: the heads' weights come from a saved state.
    """
    dim = task.vectors.shape[1]
    student = build_student(
        plan.backbone, plan.heads.kind, dim=dim, seed=plan.run.seed, teacher=teacher
    )
    student.to(choose_device(plan.run.device))
    spec = image_spec(plan.backbone, student, teacher.image if teacher else None)
    features = None
    if plan.needs_features:
        mirrored = plan.augmentation.flip and plan.is_frozen  # else only the start reads features
        features = compute_features(
            task.dataset, student, spec, plan.run, mirrored=mirrored, progress=progress
        )
    penalty = init_heads(
        student,
        plan.heads,
        task,
        features,
        teacher,
        seed=plan.run.seed,
        is_resumed=is_resumed,
    )
    vectors = None
    if teacher is not None and plan.loss.distill:
        vectors = compute_teacher_vectors(task.dataset, teacher, plan.run, progress=progress)
    known = features or vectors
    if known is not None:
        report_unreadable(task, np.flatnonzero(~known.is_readable), progress)
    return Prepared(
        student=student,
        spec=spec,
        features=features,
        source=open_source(plan, task, student, spec, features, teacher, processes),
        penalty=penalty,
        teacher_vectors=vectors,
        teacher_info=teacher.provenance() if teacher else None,
        unreadable_reported=known is not None,
    )


def open_source(
    plan: Stage1Plan,
    task: Task,
    student: Student,
    spec: ImageSpec,
    features: FeatureCache | None,
    teacher: Teacher | None = None,
    processes: Processes = ALONE,
) -> Source:
    """Return the source of batches: cached features, or photos when blocks learn."""
    size, seed = plan.optimizer.batch_size, plan.run.seed
    if plan.is_frozen and features is not None:
        return FeatureSource(student, features, batch_size=size, seed=seed, processes=processes)
    device = choose_device(plan.run.device)
    patch_teacher = None
    if teacher is not None and plan.loss.distill_patches:
        patch_teacher = PatchTeacher(teacher, grid=student.grid, device=device)
    dtype = choose_dtype(plan.run.dtype, device, is_convolutional=student.is_convolutional)
    return PhotoSource(
        student,
        task.dataset,
        spec,
        augmentation=plan.augmentation,
        batch_size=size,
        seed=seed,
        workers=plan.run.workers,
        in_bfloat16=dtype == "bfloat16",
        patch_teacher=patch_teacher,
        processes=processes,
    )


def create_learner(
    plan: Stage1Plan, task: Task, prepared: Prepared, processes: Processes
) -> Learner:
    """Return the prepared student with its loss and its optimizer."""
    labels = torch.from_numpy(task.vectors[: task.seen])
    return Learner(
        prepared.student,
        labels.to(choose_device(plan.run.device)),
        plan.loss,
        plan.optimizer,
        steps_per_epoch=steps_per_epoch(len(task.trainable), plan.optimizer.batch_size),
        penalty=prepared.penalty,
        fixed_norms=plan.backbone.weights is not None,
        keeps_start=isinstance(plan.anchor, TeacherAnchorSpec),
        processes=processes,
    )


def for_folds(plan: Stage1Plan) -> Stage1Plan:
    """Return the plan of the students of folds, which learn in fewer epochs."""
    if not plan.optimizer.epochs:
        return plan
    epochs = -(-plan.optimizer.epochs // EPOCHS_OVER)
    share = epochs / plan.optimizer.epochs
    warmup = share * plan.optimizer.warmup_epochs
    return replace(plan, optimizer=replace(plan.optimizer, epochs=epochs, warmup_epochs=warmup))


class Session:
    """A run between its first and its last epoch.

    Attributes:
        history: the finished epochs.
    """

    def __init__(
        self,
        plan: Stage1Plan,
        task: Task,
        prepared: Prepared,
        run: Run,
        out: Path,
        processes: Processes,
        progress: ProgressCallback,
    ) -> None:
        self._processes = processes
        self.history: list[Epoch] = []
        self._plan = plan
        self._task = task
        self._prepared = prepared
        self._run = run
        self._out = out
        self._progress = progress
        self._say = remarks(progress, STEP)
        self._anchor: dict[str, Any] | None = None
        self._streams: dict[str, Any] | None = None
        self._folds: list[tuple[Task, Learner, Source]] = []  # students of folds, if trained
        self._unreadable_reported = prepared.unreadable_reported
        self._steps = steps_per_epoch(len(task.trainable), plan.optimizer.batch_size)
        self._learner = create_learner(plan, task, prepared, processes)

    def resume(self, saved: SavedState) -> None:
        """Continue from the last epoch of a stopped run."""
        self.history = saved.history
        self._anchor = json.loads(saved.tensors["anchor"])
        self._streams = json.loads(saved.tensors["streams"])
        self._learner.load_state(saved.tensors)

    def give_anchor(self, teacher: Teacher | None) -> None:
        """Give the student the anchor and the weights of streams of the plan, and report them.

        Args:
            teacher: that the student starts as, if it does.

        Raises:
            ModelError: the classifier does not fit the backbone, or no class name is known.
            TrainingError: an anchor of a given weight cannot be had.
        """
        share = self._plan.local_share
        if share is not None and share != EQUAL_SHARES:
            self._record_streams(StreamChoice(share))
        spec = self._plan.anchor
        if isinstance(spec, TeacherAnchorSpec):
            self._keep_teacher(spec, teacher)
        elif spec is not None and self._prepared.features is not None:
            self._add_classifier(spec, self._prepared.features)

    def _keep_teacher(self, spec: TeacherAnchorSpec, teacher: Teacher | None) -> None:
        """Give the teacher its share of the weights, as a stopped run chose it or chosen now."""
        if not self._plan.optimizer.epochs:
            return  # the student is its teacher
        found = AnchorChoice.of({"anchor": self._anchor})
        if found is None and spec.weight is not None:
            found = AnchorChoice(spec.weight)
        if found is None:
            self._say("choosing the teacher's share of the weights on labels held out")
            try:
                table = teacher_table(
                    fold_tasks(self._task, seed=self._plan.run.seed),
                    lambda part: self._train_student(part, teacher),
                    k=self._plan.loss.k,
                    processes=self._processes,
                )
            except NotFinite as error:
                raise self._run.failure(error, epoch=1) from error
            curve = table.by_weight()
            if not curve:
                self._say(TOO_FEW)
                return
            found = AnchorChoice(choose_share(curve), curve=curve)
            self._choose_streams(table, found.weight)
        self._record(found)
        self._learner.start_share = found.weight

    def _train_student(self, part: Task, teacher: Teacher | None) -> tuple[Learner, Source]:
        """Return a student that learned from a part, and the source of its vectors."""
        plan = for_folds(self._plan)
        own = self._processes
        prepared = own.first_then_others(
            partial(prepare, *(plan, part, teacher, own), is_resumed=False, progress=no_progress)
        )
        own.share_weights(prepared.student)
        learner = create_learner(plan, part, prepared, own)
        steps = steps_per_epoch(len(part.trainable), plan.optimizer.batch_size)
        for number in range(1, plan.optimizer.epochs + 1):
            name = f"students of folds, epoch {number} of {plan.optimizer.epochs}"
            train_epoch(
                learner,
                prepared.source,
                part,
                number,
                steps_per_epoch=steps,
                seed=plan.run.seed,
                teacher=prepared.teacher_vectors,
                processes=own,
                on_step=self._report_steps(name, steps),
            )
        learner.optimizer.state.clear()  # its memory is that of two students
        self._folds.append((part, learner, prepared.source))
        return learner, prepared.source

    def hold_out(self, teacher: Teacher | None) -> None:
        """Keep what students of folds see of labels that they did not learn, for the calibrator.

        Those that chose an anchor serve, else they are trained now; a run that was stopped has
        their vectors already.

        Args:
            teacher: that a student starts as, or learns from.
        """
        own, path = self._processes, self._run.folder / held_out.FILE
        if own.from_first(lambda: bool(held_out.read(path, self._key))):
            return
        folds = list(fold_tasks(self._task, seed=self._plan.run.seed))
        try:
            held_out.check_folds(folds)
            if not self._folds:
                self._say("training on parts of the labels, to calibrate scores on the others")
                for part in folds:
                    self._train_student(part, teacher)
            own.from_first(lambda: held_out.write(path, self._key, list(self._held_out())))
        except (CalibrationError, NotFinite) as error:
            self._say(f"{held_out.NONE}: {error}")
        self._folds.clear()

    def _held_out(self) -> Iterator[held_out.HeldOut]:
        """Yield what each student of a fold sees, with the anchor and the streams chosen."""
        for part, learner, source in self._folds:
            learner.start_share = self._learner.start_share
            learner.student.anchor = self._prepared.student.anchor
            with learner.evaluation_weights():
                share = self._local_share
                yield held_out.held_out(part, source, self._encoding, local_share=share)

    @property
    def _key(self) -> str:
        """What the students of folds depend on."""
        chosen = {"anchor": self._anchor, "streams": self._streams}
        return held_out.key_of({"settings": dict(self._run.settings), **chosen})

    @property
    def _encoding(self) -> Encoding:
        """How a library pools the student's patches if nothing is set."""
        student = self._prepared.student
        return held_out.encoding_of(student.dim, student.grid, self._plan.loss.k)

    def _record(self, found: AnchorChoice) -> None:
        """Record and report how the anchor was chosen."""
        self._anchor = found.provenance()
        for sentence in found.sentences():
            self._say(sentence)

    def _choose_streams(self, table: WeightTable, weight: float) -> None:
        """Choose the share of the local stream at a weight of the anchor, unless it is given."""
        if self._plan.local_share is None and self._streams is None:
            self._record_streams(StreamChoice.best(table.by_share(weight)))

    def _record_streams(self, found: StreamChoice) -> None:
        """Record and report the weights of the streams."""
        self._streams = found.provenance()
        for sentence in found.sentences():
            self._say(sentence)

    @property
    def _local_share(self) -> float:
        """The weight of the local stream in the score."""
        found = StreamChoice.of({"streams": self._streams})
        return EQUAL_SHARES if found is None else found.local_share

    def _add_classifier(self, spec: AnchorSpec, features: FeatureCache) -> None:
        """Give the student the part of its backbone's classifier."""
        say = self._say
        student = self._prepared.student
        classifier = open_classifier(spec, student, self._plan.backbone.image_size, say)
        if classifier is None:
            return
        seed = self._plan.run.seed
        anchor = fit_anchor(classifier, self._task, features, seed=seed)
        curve: tuple[Point, ...] = ()
        if spec.weight is None:
            say("choosing the weight of the anchor on labels held out")
            k = self._plan.loss.k
            table = weight_table(anchor, student, self._task, features, k=k, seed=seed)
            curve = table.by_weight()
            if not curve:
                say(TOO_FEW)
                return
            self._choose_streams(table, choose_weight(curve))
        weight = choose_weight(curve) if spec.weight is None else spec.weight
        self._record(AnchorChoice(weight, len(classifier.names), len(anchor.weight), curve))
        weighted = with_weight(anchor, weight)
        if weighted is not None:
            student.anchor = weighted.to(choose_device(self._plan.run.device))

    def train_epoch(self, number: int) -> Epoch:
        """Train an epoch (from 1), validate, and write its state and its checkpoint.

        Raises:
            TrainingError: a loss or a weight is not a number; the epoch before is kept.
        """
        began = time.monotonic()
        name = f"epoch {number} of {self._plan.optimizer.epochs}"
        try:
            result = train_epoch(
                self._learner,
                self._prepared.source,
                self._task,
                number,
                steps_per_epoch=self._steps,
                seed=self._plan.run.seed,
                teacher=self._prepared.teacher_vectors,
                processes=self._processes,
                on_step=self._report_steps(name, self._steps),
            )
        except NotFinite as error:
            raise self._run.failure(error, epoch=number) from error
        self._report(result.unreadable)
        with self._learner.evaluation_weights():
            found, _ = self._processes.from_first(
                lambda: self._evaluate(self._task.photos.validation)
            )
            epoch = Epoch(
                number=number,
                total=self._plan.optimizer.epochs,
                losses=result.losses,
                rate=result.rate,
                seconds=time.monotonic() - began,
                validation=found,
            )
        self.history.append(epoch)
        if self._processes.is_first:
            chosen = {"anchor": json.dumps(self._anchor), "streams": json.dumps(self._streams)}
            self._run.save(self.history, {**self._learner.state(), **chosen})
            with self._learner.evaluation_weights():
                self._write({})
        return epoch

    def finish(self) -> Meta:
        """Write the checkpoint with the results on the test photos, and return its meta."""
        return self._processes.from_first(self._finish)

    def _finish(self) -> Meta:
        with self._learner.evaluation_weights():
            found, unreadable = self._evaluate(self._task.photos.test)
            if not self._prepared.unreadable_reported:  # these took part in no epoch
                report_unreadable(self._task, unreadable, self._progress)
            meta = self._write({"test": found})
            self._calibrate()
            return meta

    def _calibrate(self) -> None:
        """Write the calibrator into the finished checkpoint, if folds held enough out."""
        parts = held_out.read(self._run.folder / held_out.FILE, self._key)
        if parts:
            task, source, share = self._task, self._prepared.source, self._local_share
            held_out.calibrate(
                self._out,
                parts,
                lambda: held_out.own_photos(task, source, self._encoding, local_share=share),
                task.space.encoder.encode,
                self._say,
            )

    def _evaluate(self, rows: Rows) -> tuple[dict[str, Any], Rows]:
        task, source = self._task, self._prepared.source
        k, share = self._plan.loss.k, self._local_share
        return evaluate(task, source, rows, task.vectors, k=k, local_share=share)

    def _report_steps(self, name: str, total: int) -> Callable[[int], None]:
        return lambda done: self._progress(Progress(name, done, total))

    def _report(self, unreadable: Rows) -> None:
        if not self._unreadable_reported:
            report_unreadable(self._task, unreadable, self._progress)
            self._unreadable_reported = True

    def _write(self, results: dict[str, Any]) -> Meta:
        """Write the checkpoint of the epochs so far; with results it is finished."""
        plan, task, student = self._plan, self._task, self._prepared.student
        meta = Meta(
            backbone=plan.backbone.name,
            image=self._prepared.spec,
            grid=student.grid,
            dim=student.dim,
            top_k=min(plan.loss.k, student.grid[0] * student.grid[1]),
            options=plan.backbone.options,
            heads=plan.heads.kind,
            prompt=task.space.prompt,
            trained={
                "stage": "stage1",
                "is_finished": bool(results),
                **task_provenance(task, self._run),
                "teacher": self._prepared.teacher_info,
                "anchor": self._anchor,
                "streams": self._streams,
                "epochs": [asdict(epoch) for epoch in self.history],
            },
            results=results,
            local_share=self._local_share,
        )
        return checkpoint.write(
            self._out,
            meta,
            folded_state(student),
            labels=task.space.table,
            anchor=student.anchor.state_dict() if student.anchor is not None else None,
        )


def run_settings(
    data: DataConfig, config: Stage1Config, plan: Stage1Plan, task: Task
) -> dict[str, Any]:
    """Return everything that decides the result of a run, as plain values.

    A stopped run continues only under the same ones. Photos, labels and weights count by their
    content.
    """
    teacher = teacher_fingerprint(plan.teacher) if plan.teacher else ""
    weights, anchor = plan.backbone.weights, plan.anchor
    backbone = teacher if weights == TEACHER else ""
    if isinstance(weights, Path) and weights.is_file():
        backbone = hash_file(weights)[:12]
    return {
        **result_settings(data, config),
        "data": task.fingerprint,
        "label vectors": task.space.encoder.fingerprint,
        "teacher weights": teacher,
        "backbone weights": backbone,
        **(_anchor_settings(anchor) if isinstance(anchor, AnchorSpec) else {}),
    }


def _anchor_settings(spec: AnchorSpec) -> dict[str, str]:
    """Return what decides an anchor, by content."""
    files = {"classifier": spec.classifier, "class names": spec.class_names}
    return {name: hash_file(p)[:12] if p and p.is_file() else "" for name, p in files.items()}
