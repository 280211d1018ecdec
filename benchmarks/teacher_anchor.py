"""Compare two anchors of a student that starts as its teacher, on the demo world.

    OMP_NUM_THREADS=1 python benchmarks/teacher_anchor.py --work runs/teacher_anchor

Weights interpolated between student and teacher (`--anchor`), against vectors summed: the unit
vectors of both, added in the same shares, global vector and patches. The student is stage 1 of the
demo's recipe, without anchor; `mkt train stage1 --anchor auto` chooses the share on labels held
out, and that of the local stream in the score. Printed are the mean AP over the unseen labels on
the test photos, by the paper's protocol and by the cosine scale, with equal streams and with that
share of the local one; the curves of the choices; and the processor time of the sum as a multiple
of the student's.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import Results, add_json_option

from mkt_search.evaluation.protocol import Rules, Scale, paper_map, score_encoded
from mkt_search.models import checkpoint
from mkt_search.models.build import DEMO_TEACHER, locate, open_model
from mkt_search.models.checkpoint import STUDENT
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.student import Student, read_tensors
from mkt_search.photos import decode as images
from mkt_search.scoring import StreamScores, fuse_over_labels, unit, weigh
from mkt_search.settings.config import DataConfig, Stage1Config
from mkt_search.types import Encoded, Vector
from training import stage1
from training.data.label_vectors import open_label_space
from training.data.task import Task, read_task
from training.demo.build import Recipe, prepare_data
from training.learning.weights import interpolated
from training.plans import plan_stage1

SHARES = (0.2, 0.4, 0.6, 0.8)  # of the teacher
BATCH = 50
ROUNDS = 9
RULES = Rules(f1_at=())


def trained(work: Path, name: str, data: DataConfig, config: Stage1Config) -> checkpoint.Meta:
    """Return the meta of a student, trained now unless it is there."""
    out = work / name
    if checkpoint.is_checkpoint(out) and checkpoint.read_meta(out).results:
        return checkpoint.read_meta(out)
    return stage1.train(data, config, out)


def photos(task: Task) -> NDArray[np.uint8]:
    """Return the pixels (N, H, W, 3) of the test photos."""
    spec = open_model(DEMO_TEACHER).image
    files = [task.dataset.folder / name for name in task.files(task.photos.test)]
    return np.stack([images.to_pixels(images.decode(f.read_bytes()).image, spec) for f in files])


def encode(encoder: PhotoEncoder, pixels: NDArray[np.uint8]) -> Encoded:
    """Encode photos, a batch at a time."""
    parts = [encoder.encode(pixels[at : at + BATCH]) for at in range(0, len(pixels), BATCH)]
    return Encoded.join(parts)


def summed(student: Encoded, teacher: Encoded, share: float) -> Encoded:
    """Return the unit vectors of both, added."""
    global_vectors, patches = (
        (1 - share) * unit(own) + share * unit(other)
        for own, other in (
            (student.global_vectors, teacher.global_vectors),
            (student.patches, teacher.patches),
        )
    )
    return Encoded(global_vectors, patches)


def encoder_of(work: Path, share: float) -> PhotoEncoder:
    """Return the student with the teacher's share of the weights."""
    model = open_model(work / "student")
    own, others = (read_tensors(work / name / STUDENT) for name in ("student", "teacher"))
    student = model.student()
    assert isinstance(student, Student)
    student.load(interpolated(own, others, share), source="the interpolated weights")
    return PhotoEncoder(student, model.image, device="cpu", dtype="float32")


def figures(
    encoded: Encoded, task: Task, vectors: Vector, k: int, local_share: float
) -> list[float]:
    """Return the mean AP over unseen labels: global, local, fused and weighted, by both scales."""
    targets = task.dataset.targets[task.photos.test][:, task.seen :]
    dot, cosine = score_encoded(encoded, vectors[task.seen :], k=k)
    scales: dict[Scale, StreamScores] = {"vocabulary": fuse_over_labels(dot), "cosine": cosine}
    return [
        paper_map(scores, targets, "unseen", rules=RULES).paper
        for found in scales.values()
        for scores in (
            found.global_scores,
            found.local_scores,
            found.fused,
            weigh(found, local_share).fused,
        )
    ]


def cost_ratio(work: Path, pixels: NDArray[np.uint8]) -> float:
    """Return the time of student and teacher over that of the student, the median of rounds."""
    both = [encoder_of(work, share) for share in (0.0, 1.0)]
    ratios = []
    for _ in range(ROUNDS + 1):  # the first one warms up
        taken = []
        for encoder in both:
            start = time.process_time()
            encoder.encode(pixels[:BATCH])
            taken.append(time.process_time() - start)
        ratios.append(sum(taken) / taken[0])
    return statistics.median(ratios[1:])


def main() -> None:
    """Read the options, train, measure, print, and save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True, help="keeps photos and students")
    parser.add_argument("--photos", type=int, default=8_000, help="to train on")
    parser.add_argument("--test", type=int, default=2_000, help="to test on")
    add_json_option(parser)
    given = parser.parse_args()
    work: Path = given.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = prepare_data(work, Recipe(train=given.photos, test=given.test), lambda _: None)
    clip = locate(DEMO_TEACHER)
    base = replace(Recipe().student, text_model=clip, teacher=clip, distill=1.0, workers=0)
    trained(work, "teacher", data, replace(base, epochs=0))
    trained(work, "student", data, base)
    anchored = trained(work, "anchored", data, replace(base, anchor="auto"))
    anchor, shares = anchored.trained["anchor"], anchored.trained["streams"]

    results = Results(given.json)
    results.fact("weight", anchor["weight"], "g")
    results.fact("local share", shares["local_share"], "g")
    results.fact("photos", given.photos, ",")
    for title, of, chosen in (
        ("curve", "teacher's share", anchor),
        ("curve of the streams", "local share", shares),
    ):
        curve = results.table(
            title, {of: "g", "labels held out": ".3f", "labels trained on": ".3f"}
        )
        for point in chosen["curve"]:
            curve.row(point["weight"], point["held_out"], point["trained"])
    space = open_label_space(plan_stage1(base, cache=work).labels)
    task = read_task(data, space, lambda _: None)
    pixels, k = photos(task), base.top_k
    plain, teacher = (encode(encoder_of(work, share), pixels) for share in (0.0, 1.0))
    streams = ("global", "local", "fused", f"{shares['local_share']:g} local")
    headings = [f"{scale}, {stream}" for scale in ("paper", "cosine") for stream in streams]
    table = results.table("unseen", {"": "", **dict.fromkeys(headings, ".3f")})

    def row(title: str, encoded: Encoded) -> None:
        table.row(title, *figures(encoded, task, task.vectors, k, shares["local_share"]))

    row("raw teacher", teacher)
    row("the student alone", plain)
    title = f"**weights, {anchor['weight']:g} teacher, as chosen**"
    row(title, encode(encoder_of(work, anchor["weight"]), pixels))
    for share in SHARES:
        row(f"weights, {share:g} teacher", encode(encoder_of(work, share), pixels))
    for share in SHARES:
        row(f"vectors summed, {share:g} teacher", summed(plain, teacher, share))
    results.fact("sum cost", cost_ratio(work, pixels), ".2f")
    results.save()


if __name__ == "__main__":
    main()
