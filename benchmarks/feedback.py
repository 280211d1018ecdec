"""Measure what a few judgements of a label's hits do to ranks and probabilities of other photos.

A simulated user judges photos of one part of the scenes, either the best hits in order or those
whose p is nearest to 0.5, and looks again after 2, 5, 10 and 20 judgements. Measured are other
photos. The strength of judgements was chosen on labels that the demo model was trained on, each
with a calibrator that was fitted on other labels, and on trained labels of a student of Corel-5k;
figures for labels never trained are those of the strength that was chosen.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from calibration import Rows, World, demo_splits, demo_world, real_world
from numpy.typing import NDArray
from results import Results, add_json_option

from mkt_search.calibration.calibrator import Calibrator, Reference
from mkt_search.calibration.feedback import (
    DEFAULT,
    JudgedPhotos,
    Learned,
    Strength,
    learn,
    like_the_label,
    shifted,
)
from mkt_search.calibration.fit import Labeled, fit
from mkt_search.calibration.quality import ASKED
from mkt_search.calibration.selection import longest_prefix
from mkt_search.models.build import CheckpointModel, open_model
from mkt_search.scoring import score
from mkt_search.types import Vector

Numbers = NDArray[np.float64]

CLICKS = (0, 2, 5, 10, 20)
CHOSEN_AFTER = 10  # judgements by which the strength was chosen
WAYS = ("in order", "near p = 0.5")
FOLDS, SPLITS = 5, 5
MIN_PHOTOS = 3  # that show a label, in each part
REFERENCES = 50
WORST = 0.1
STRENGTHS = (
    Strength(step=0, offset_variance=0),
    Strength(step=0),
    *(Strength(step=step) for step in (0.25, 0.5, 1)),
    *(Strength(offset_variance=variance) for variance in (0, 0.25, 1)),
)
FIGURES = ("P", "worst P", "R")
COLUMNS = {"AP": ".3f"} | {f"{what} at {asked:g}": ".3f" for asked in ASKED for what in FIGURES}


@dataclass(frozen=True)
class User:
    """Judges photos of a label in one part of a world; the other part is measured."""

    world: World
    column: int
    judged: Rows
    measured: Rows
    calibrator: Calibrator | None
    reference: Reference

    @property
    def label(self) -> Vector:
        """The label vector (D,)."""
        vector: Vector = self.world.vectors[self.column]
        return vector

    def shows(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which photos show the label."""
        found: NDArray[np.bool_] = self.world.labeled.targets[rows, self.column] > 0
        return found

    def scores(self, rows: Rows, vector: Vector) -> Vector:
        """Return the scores (n,) of photos for a vector (D,)."""
        photos = self.world.labeled.at(rows)
        vectors, counts, k = photos.vectors, photos.counts, self.world.stamp.top_k
        found: Vector = score(vector[None], vectors[:, 0], vectors[:, 1:], counts, k=k).fused[:, 0]
        return found

    def p(self, scores: Vector, learned: Learned) -> Numbers:
        """Return the probabilities (n,) of scores."""
        assert self.calibrator is not None
        label, moved = map(self.calibrator.statistics, (self.label[None], learned.vector[None]))
        like = like_the_label(scores[:, None], moved, label)
        return shifted(self.calibrator.probabilities(like, label)[:, 0], learned.offset)

    def curve(self, way: str, strength: Strength) -> Numbers:
        """Return the figures (clicks, F) after each number of judgements."""
        chosen = np.empty(0, np.int64)
        learned = Learned(self.label)
        figures = []
        for clicks in CLICKS:
            rest = np.setdiff1d(self.judged, chosen)
            scores = self.scores(rest, learned.vector)
            key = -scores.astype(np.float64)
            if way != WAYS[0]:
                key = np.abs(self.p(scores, learned) - 0.5)
            order = np.lexsort((-scores, key))
            chosen = np.concatenate([chosen, rest[order[: clicks - len(chosen)]]])
            photos = self.world.labeled.at(chosen)
            judged = JudgedPhotos(photos.vectors, photos.counts, self.shows(chosen))
            k = self.world.stamp.top_k
            learned = learn(
                self.label, judged, self.reference, self.calibrator, k=k, strength=strength
            )
            figures.append(self.figures(learned))
        return np.array(figures)

    def figures(self, learned: Learned) -> list[float]:
        """Return AP, then for each precision asked what was reached and the recall."""
        scores, truth = self.scores(self.measured, learned.vector), self.shows(self.measured)
        order = np.argsort(-scores, kind="stable")
        right = truth[order]
        found = [float((right.cumsum() / np.arange(1, len(right) + 1))[right].mean())]
        if self.calibrator is not None:
            p = self.p(scores, learned)[order]
            for asked in ASKED:
                count = longest_prefix(p, asked)
                got = right[:count].sum()
                found += [got / count if count else np.nan, got / right.sum()]
        return found


def users(
    world: World,
    columns: Rows,
    parts: tuple[Rows, Rows],
    calibrator: Calibrator | None,
) -> list[User]:
    """Return a user for each label that both parts show often enough."""
    drawn = world.labeled.at(np.random.default_rng(0).permutation(parts[0])[:REFERENCES])
    reference = Reference(drawn.vectors, drawn.counts)
    if calibrator is not None:
        reference = calibrator.reference
    found = [User(world, int(column), *parts, calibrator, reference) for column in columns]
    return [one for one in found if min(one.shows(rows).sum() for rows in parts) >= MIN_PHOTOS]


def means(curves: Numbers) -> Numbers:
    """Return the figures (clicks, 1 + 3 asked) of curves (labels, clicks, F), with worst tenths."""
    found = [curves[:, :, 0].mean(axis=0)]
    for first in range(1, curves.shape[2], 2):
        precision, recall = curves[:, :, first], curves[:, :, first + 1]
        ranked = np.sort(precision, axis=0)  # NaN, for labels without an answer, last
        tenth = max(1, round(WORST * len(ranked)))
        found += [np.nanmean(precision, axis=0), ranked[:tenth].mean(axis=0), recall.mean(axis=0)]
    return np.stack(found, axis=1)


def calibrated(world: World, rows: Rows, columns: Rows, seed: int) -> Calibrator:
    """Fit a calibrator on some photos and labels of a world."""
    chosen = world.labeled.at(rows)
    labeled = Labeled(chosen.vectors, chosen.counts, chosen.targets[:, columns])
    names = [world.labels[column] for column in columns]
    return fit(labeled, names, world.vectors[columns], world.stamp, seed=seed)


def halves(rows: Rows) -> tuple[Rows, Rows]:
    """Cut photos into those to judge and those to measure."""
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def over_splits(world: World, trained: Sequence[str], is_trained: bool) -> list[list[User]]:
    """Return users of the labels that a model was trained on, or of the others, for each split."""
    columns = np.flatnonzero(np.isin(world.labels, trained) == is_trained)
    orders = [np.random.default_rng(seed).permutation(len(world.labeled)) for seed in range(SPLITS)]
    return [users(world, columns, halves(order), None) for order in orders]


def choose(results: Results, world: World, trained: Sequence[User]) -> None:
    """Print what strengths come to on labels that models were trained on."""
    seen, _, splits = demo_splits(world)
    half, other = splits[0]
    part_of = np.random.default_rng(0).permutation(len(seen)) % FOLDS
    people = []
    for number in range(FOLDS):
        calibrator = calibrated(world, half, seen[part_of != number], number)
        people += users(world, seen[part_of == number], halves(other), calibrator)
    columns = {"step": ".2f", "variance": ".2f", "judged": ""} | COLUMNS
    table = results.table("strength", columns | ({"Corel AP": ".3f"} if trained else {}))
    at = CLICKS.index(CHOSEN_AFTER)
    for strength in STRENGTHS:
        more: list[float] = []
        if trained:
            curves = np.array([one.curve(WAYS[0], strength) for one in trained])
            more = [float(means(curves)[at, 0])]
        for way in WAYS:
            curves = np.array([one.curve(way, strength) for one in people])
            row = (strength.step, strength.offset_variance, way)
            table.row(*row, *means(curves)[at].tolist(), *more)


def demo(results: Results, world: World) -> None:
    """Print the curve for labels that the demo model was not trained on, over splits."""
    seen, unseen, splits = demo_splits(world)
    table = results.table("demo world", {"judged": "", "photos": ""} | COLUMNS)
    for way in WAYS:
        found = []
        for seed, (half, other) in enumerate(splits):
            calibrator = calibrated(world, half, seen, seed)
            people = users(world, unseen, halves(other), calibrator)
            found.append(means(np.array([one.curve(way, DEFAULT) for one in people])))
        for clicks, row in zip(CLICKS, np.mean(found, axis=0).tolist(), strict=True):
            table.row(way, clicks, *row)


def real(results: Results, corel: World, voc: World, trained: Sequence[str]) -> None:
    """Print the curve of AP for labels that a student was not trained on; p cannot tell there."""
    table = results.table(
        "real photos",
        {"photos": "", "labels": ".1f"} | {f"AP after {clicks}": ".3f" for clicks in CLICKS},
    )
    for world in (corel, voc):
        splits = over_splits(world, trained, False)
        curves = [[one.curve(WAYS[0], DEFAULT)[:, 0] for one in people] for people in splits]
        means_of = [np.mean(of_split, axis=0) for of_split in curves]
        labels = float(np.mean([len(people) for people in splits]))
        table.row(world.name, labels, *np.mean(means_of, axis=0).tolist())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", type=Path, help="folder of the scenes, kept for the next run")
    parser.add_argument("--data", type=Path, help="folder that holds corel5k/ and voc300/")
    parser.add_argument("--student", type=Path, help="checkpoint of a student of Corel-5k")
    add_json_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    with tempfile.TemporaryDirectory() as temporary:
        world = demo_world(arguments.scenes or Path(temporary))
    if not (arguments.data and arguments.student):
        choose(results, world, ())
        demo(results, world)
    else:
        model = open_model(arguments.student)
        assert isinstance(model, CheckpointModel)
        seen = list(model.meta.trained["seen"])
        corel = real_world("Corel-5k", arguments.data / "corel5k", model, only="test")
        voc = real_world("VOC", arguments.data / "voc300", model)
        choose(results, world, [one for some in over_splits(corel, seen, True) for one in some])
        demo(results, world)
        real(results, corel, voc, seen)
    results.save()


if __name__ == "__main__":
    main()
