"""Measure how much longer a training step takes than the student's forward and backward pass.

    export GOMP_SPINCOUNT=20000  # as `mkt train` sets it
    python benchmarks/training_step.py            # ViT-B/16 as the paper trains it; needs a GPU
    python benchmarks/training_step.py --batch-size 16 --steps 3    # the same on two cores
    python benchmarks/training_step.py --small    # a small ViT, a minute on two cores

The step is that of stage 1: worker processes decode and augment photos from disk (crop, flip,
RandAugment), the last blocks of the ViT are trained with the ranking loss and with distillation
from cached teacher vectors, then AdamW and weight averaging. The bare step is the forward and
backward pass of the same student on a batch of the same size that is already on the device.
Rounds alternate the two, so that other work on the machine slows both. Photos are synthetic and
weights random, which does not change the speed.

A step is timed from the second batch of an epoch to the end of the last; starting and stopping the
workers is left out, because a real epoch has thousands of steps. Memory is the peak of a round:
what torch allocated on a GPU, otherwise the resident set of the process without its workers.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image, ImageFilter
from results import Results, add_json_option, met

from mkt_search.models.clip import write_clip_folder
from mkt_search.models.label_table import LabelTable
from mkt_search.process import keep_freed_memory
from mkt_search.progress import no_progress
from mkt_search.settings.config import DataConfig, Stage1Config
from training.data.label_vectors import open_label_space
from training.data.sources import Batch, PhotoSource, steps_per_epoch
from training.data.task import Task, read_task
from training.learning.epoch import LossLog, teacher_batch, train_epoch
from training.learning.learner import Learner
from training.learning.teacher import open_teacher
from training.plans import plan_stage1
from training.stage1 import Prepared, prepare

AIM = 1.15
SMALL = ("patch_size=16", "embed_dim=192", "depth=6", "num_heads=3")
TEACHER: dict[str, Any] = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1, "head_width": 32},
    "text_cfg": {"context_length": 8, "width": 32, "heads": 1, "layers": 1},
}
PREPROCESS = {
    **{"mean": [0.5] * 3, "std": [0.5] * 3},
    **{"interpolation": "bicubic", "resize_mode": "shortest"},
}


class Timed:
    """A source that records when the first and the last step of an epoch ended."""

    def __init__(self, source: Any, steps: int) -> None:
        self._source = source
        self._steps = steps
        self.started = self.ended = 0.0

    def training_batches(self, rows: Any, epoch: int) -> Iterator[Batch]:
        """Yield the batches of the source."""
        for number, batch in enumerate(self._source.training_batches(rows, epoch), start=1):
            yield batch
            if number in (1, self._steps):
                synchronize()
                self.ended = time.perf_counter()
                self.started = self.ended if number == 1 else self.started

    def ordered_batches(self, rows: Any) -> Iterator[Batch]:
        """Yield the batches of the source."""
        yield from self._source.ordered_batches(rows)


@dataclass(frozen=True)
class Bench:
    """What both kinds of step need."""

    batch_size: int
    task: Task
    prepared: Prepared
    learner: Learner

    @property
    def source(self) -> PhotoSource:
        """Photos through the whole student."""
        assert isinstance(self.prepared.source, PhotoSource)
        return self.prepared.source

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(len(self.task.trainable), self.batch_size)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def paint_world(folder: Path, photos: int, labels: int) -> DataConfig:
    """Write JPEG photos of 320 x 240 with up to three labels each, and a table of label vectors.

    One photo is the test split, all others are the train split.
    """
    rng = np.random.default_rng(0)
    names = [f"label {number}" for number in range(labels)]
    (folder / "photos").mkdir()
    shown = {}
    for number in range(photos):
        coarse = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC)
        image.filter(ImageFilter.SHARPEN).save(folder / f"photos/{number:06}.jpg", quality=90)
        own = {number % labels, *rng.integers(0, labels, 2).tolist()}
        shown[f"{number:06}.jpg"] = [names[column] for column in sorted(own)]
    (folder / "labels.json").write_text(json.dumps(shown))
    split = {name: "train" if number else "test" for number, name in enumerate(shown)}
    (folder / "splits.json").write_text(json.dumps(split))
    vectors = rng.normal(size=(labels, TEACHER["embed_dim"])).astype(np.float32)
    LabelTable(tuple(names), vectors).save(folder / "table.npz")
    return DataConfig(
        photos=str(folder / "photos"),
        labels=str(folder / "labels.json"),
        splits=str(folder / "splits.json"),
        min_photos=1,
        validation="none",
        unseen_fraction=0.0,
    )


def write_teacher(folder: Path) -> str:
    """Write a small random teacher; its vectors are cached, so its size does not matter."""
    write_clip_folder(
        folder, open_clip.CLIP(**TEACHER), model_cfg=TEACHER, preprocess_cfg=PREPROCESS
    )
    return str(folder)


def settings_for(arguments: argparse.Namespace, folder: Path) -> Stage1Config:
    """Return the paper's recipe with random weights in place of pretrained ones."""
    return Stage1Config(
        label_table=str(folder / "table.npz"),
        label_transform="none",
        backbone="vit_base_patch16_clip_quickgelu_224",
        backbone_args=SMALL if arguments.small else (),
        frozen=str(arguments.frozen),
        heads="shared",
        image_height=arguments.size,
        image_width=arguments.size,
        resize="crop",
        top_k=16,
        pca_dim=0,
        head_init="random",
        regression=0.0,
        teacher=write_teacher(folder / "clip"),
        distill=1.0,
        score="vocabulary",
        score_scale=1.0,
        epochs=arguments.rounds + 1,
        batch_size=arguments.batch_size,
        lr=1e-3,
        min_lr=1e-6,
        weight_decay=0.05,
        ema=0.999,
        flip=True,
        crop_scale=0.08,
        randaugment="rand-m9-mstd0.5-inc1",
        device=arguments.device,
        dtype=arguments.dtype,
        workers=arguments.workers,
    )


def set_up(arguments: argparse.Namespace, folder: Path) -> Bench:
    """Write photos, build the student, and encode every photo with the teacher."""
    photos = arguments.batch_size * arguments.steps + 1
    data = paint_world(folder, photos, min(arguments.labels, photos))
    plan = plan_stage1(settings_for(arguments, folder), cache=folder / "cache")
    task = read_task(data, open_label_space(plan.labels), no_progress)
    teacher = open_teacher(plan.teacher)
    prepared = prepare(plan, task, teacher, is_resumed=False, progress=no_progress)
    device = next(prepared.student.parameters()).device
    size = plan.optimizer.batch_size
    learner = Learner(
        prepared.student,
        torch.from_numpy(task.vectors[: task.seen]).to(device),
        plan.loss,
        plan.optimizer,
        steps_per_epoch=steps_per_epoch(len(task.trainable), size),
    )
    return Bench(size, task, prepared, learner)


def real_step(bench: Bench, epoch: int) -> float:
    """Return the seconds of a step of stage 1, the mean over an epoch."""
    timed = Timed(bench.source, bench.steps)
    train_epoch(
        bench.learner,
        timed,
        bench.task,
        epoch,
        steps_per_epoch=bench.steps,
        seed=0,
        teacher=bench.prepared.teacher_vectors,
    )
    return (timed.ended - timed.started) / (bench.steps - 1)


def bare_step(bench: Bench, steps: int) -> float:
    """Return the seconds of a forward and backward pass of the student alone."""
    pixels = some_pixels(bench)
    student = bench.prepared.student.train()
    synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        cls, patches = bench.source.encode(pixels)
        (cls.square().mean() + patches.square().mean()).backward()  # type: ignore[no-untyped-call]
        student.zero_grad()
    synchronize()
    return (time.perf_counter() - started) / steps


def some_pixels(bench: Bench) -> torch.Tensor:
    """Return a random batch (B, H, W, 3) uint8 as the workers yield it, on the device."""
    size = (bench.batch_size, bench.prepared.spec.height, bench.prepared.spec.width, 3)
    return torch.randint(0, 256, size, dtype=torch.uint8).to(bench.source.device)


def peak_memory(step: Callable[[], float]) -> tuple[float, float]:
    """Return the result of a round and its peak memory in GiB, NaN where the system has none."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return step(), torch.cuda.max_memory_allocated() / 1024**3
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
        found = step()
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return step(), math.nan
    mark = next(line for line in lines if line.startswith("VmHWM"))
    return found, int(mark.split()[1]) / 1024**2


def parts(bench: Bench) -> dict[str, float]:
    """Return the seconds of the other parts of a step, each timed alone."""
    rows = bench.task.trainable[: bench.batch_size]
    pixels = some_pixels(bench)
    with torch.no_grad():
        vectors = bench.source.encode(pixels)
    batch = Batch(rows, np.ones(len(rows), bool), vectors)
    truth = torch.from_numpy(bench.task.seen_targets[rows])
    log = LossLog(bench.task.files, 1)

    def losses() -> None:
        moving = type(vectors)(*(part.detach().requires_grad_() for part in vectors))
        found = bench.learner.losses(
            moving, truth, teacher_batch(batch, bench.prepared.teacher_vectors)
        )
        found["loss"].backward()  # type: ignore[no-untyped-call]
        log.add(batch, found)

    weights = [p for p in bench.prepared.student.parameters() if p.requires_grad]

    def step() -> None:
        loss = torch.stack([p.square().sum() for p in weights]).sum()
        bench.learner.step(loss, 0)

    data = bench.source.pixels(rows, 0)

    def decode() -> None:
        for index in range(len(rows)):
            data[index]

    return {
        "losses, forward and backward": fastest(losses),
        "AdamW and averaged weights": fastest(step),
        "a batch decoded, by one worker": fastest(decode, tries=2),
    }


def fastest(step: Callable[[], None], tries: int = 5) -> float:
    """Return the seconds of the fastest of some tries."""
    taken = []
    for _ in range(tries):
        synchronize()
        started = time.perf_counter()
        step()
        synchronize()
        taken.append(time.perf_counter() - started)
    return min(taken)


def measure(bench: Bench, arguments: argparse.Namespace, results: Results) -> None:
    """Run the rounds and print the tables."""
    bare_step(bench, 1)  # both warm up
    real_step(bench, 1)
    ratios, bare, real = [], [], []
    for number in range(arguments.rounds):
        epoch = number + 2
        bare.append(peak_memory(lambda: bare_step(bench, arguments.steps - 1)))
        real.append(peak_memory(lambda epoch=epoch: real_step(bench, epoch)))  # type: ignore[misc]
        ratios.append(real[-1][0] / bare[-1][0])
    columns = {"step": "", "ms": ".1f", "photos/s": ".1f", "peak GiB": ".2f"}
    table = results.table("steps", columns)
    for name, rounds in {"forward and backward pass": bare, "step of stage 1": real}.items():
        seconds = statistics.median(taken for taken, _ in rounds)
        memory = max(memory for _, memory in rounds)
        table.row(name, 1e3 * seconds, arguments.batch_size / seconds, memory)
    columns = {
        "median": ".3f",
        "least": ".3f",
        "most": ".3f",
        "rounds": "",
        "aim": ".2f",
        "result": "",
    }
    ratio = statistics.median(ratios)
    results.table("ratio", columns).row(
        ratio, min(ratios), max(ratios), len(ratios), AIM, met(ratio <= AIM)
    )
    table = results.table("parts", {"part, timed alone": "", "ms": ".1f"})
    for name, seconds in parts(bench).items():
        table.row(name, 1e3 * seconds)


def main() -> None:
    """Read the options, measure, and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="a small ViT: a quick run")
    parser.add_argument("--batch-size", type=int, help="photos a step; 64, or 16 when small")
    parser.add_argument("--size", type=int, help="pixels a side; 224, or 128 when small")
    parser.add_argument(
        "--frozen", type=int, help="first blocks that are frozen; 10, or 0 when small"
    )
    parser.add_argument("--labels", type=int, help="seen labels; 925, or 100 when small")
    parser.add_argument("--steps", type=int, help="steps of a round; 40, or 8 when small")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    add_json_option(parser)
    arguments = parser.parse_args()
    defaults = {"batch_size": (64, 16), "size": (224, 128), "frozen": (10, 0)}
    for name, values in {**defaults, "labels": (925, 100), "steps": (40, 8)}.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, values[arguments.small])
    keep_freed_memory()  # as `mkt train` does; it speeds up both
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as place:
        bench = set_up(arguments, Path(place))
        device = bench.source.device
        results = Results(arguments.json)
        blocks = len(bench.prepared.student.parameter_groups()) - 1
        results.fact(
            "device",
            torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        )
        results.fact("threads", torch.get_num_threads())
        results.fact("workers", arguments.workers)
        results.fact("batch size", arguments.batch_size)
        results.fact("pixels a side", arguments.size)
        results.fact("seen labels", bench.task.seen)
        results.fact("dtype", "bfloat16" if bench.source.in_bfloat16 else "float32")
        results.fact("frozen blocks", f"{arguments.frozen} of {blocks}")
        measure(bench, arguments, results)
    results.save()


if __name__ == "__main__":
    main()
