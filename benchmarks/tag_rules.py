"""Which labels photos get where scores have no probability, by rule: precision, recall, hubs.

    python benchmarks/tag_rules.py --data ../shared/data --student STUDENT

STUDENT is runs/corel5k/seed0/checkpoint, from `corel5k.py`.

The rule that `mkt tag` takes without a calibrator has two numbers: how many standard deviations a
label must score above its median over photos of the library, and which share of everyday words it
must beat. They were chosen on the first tables: seen labels of the demo world, labels that a
student of Corel-5k was trained on, and labels that it was not. The last table, for the demo
world's unseen labels on other scenes and for VOC photos, was not used to choose them. An earlier
grid, with the mean in place of the median, had shown VOC as well; its low recall there is why the
median was tried.

"the five best above 0" is what earlier versions did. Every rule keeps five labels at most. The most
frequent tag is on the given share of the photos.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from calibration import MIN_PHOTOS, Rows, World, demo_world, real_world
from numpy.typing import NDArray
from results import Results, add_json_option

from mkt_search.calibration.calibrator import Reference
from mkt_search.demo.scenes.world import unseen_things
from mkt_search.models.build import CheckpointModel, Model, open_model
from mkt_search.models.label_table import LabelTable
from mkt_search.models.vocabulary import EVERYDAY, read_vocabulary
from mkt_search.scoring import score
from mkt_search.tagging.assign import TagRule, select_labels
from mkt_search.tagging.stand_out import PHOTOS, SHARE, SPREADS, TOP, LabelScale, StandOut, some_of
from mkt_search.types import Vector

Tags = NDArray[np.bool_]

COREL_PHOTOS = 1_000  # of the train photos
TRIED = [(spreads, share) for share in (0.9, 0.95, 0.98) for spreads in (1.5, 2.0, 2.5)]
FREQUENT = 0.3  # share of a library that shows a label
COLUMNS = {
    **{"photos": "", "rule": "", "P": ".3f", "R": ".3f", "F1": ".3f", "mean R of labels": ".3f"},
    **{"most frequent tag": ".2f", "labels used": ".2f", "tags a photo": ".2f"},
}


class Library:
    """Photos with their truth, labels, and everyday words that the model knows."""

    def __init__(self, world: World, words: Vector, rows: Rows, columns: Rows) -> None:
        self.photos = world.labeled.at(rows)
        self.labels, self.words = world.vectors[columns], words
        self.shown: Tags = self.photos.targets[:, columns] > 0
        self.k = world.stamp.top_k
        places = np.linspace(0, len(rows) - 1, min(PHOTOS, len(rows))).astype(np.int64)
        some = self.photos.at(places)
        self.reference = Reference(some.vectors, some.counts)

    def tags(self, rule: TagRule) -> Tags:
        """Return which labels photos get, (n, L)."""
        bar = None if rule.words is None else rule.words.bar(self._of_words)
        found = select_labels(self._of_labels, rule, bar=bar)
        tags = np.zeros(self.shown.shape, np.bool_)
        tags[found.photos, found.labels] = True
        return tags

    @cached_property
    def _of_labels(self) -> Vector:
        return self._scores(self.labels)

    @cached_property
    def _of_words(self) -> Vector:
        return self._scores(self.words)

    def _scores(self, labels: Vector) -> Vector:
        parts = []
        for first in range(0, len(self.photos), 256):
            some = slice(first, first + 256)
            photos, counts = self.photos.vectors[some], self.photos.counts[some]
            parts.append(score(labels, photos[:, 0], photos[:, 1:], counts, k=self.k).fused)
        return np.concatenate(parts)

    def stand_out(self, spreads: float = SPREADS, share: float = SHARE) -> TagRule:
        """Return the rule that needs no calibrator."""
        found = StandOut.of(
            self.reference, self.labels, self.words, k=self.k, spreads=spreads, share=share
        )
        return found.rule

    def rules(self) -> Iterator[tuple[str, TagRule]]:
        """Yield the rules that are compared, with their names."""
        rule = self.stand_out()
        handicap = LabelScale.of(self.reference, self.labels, k=self.k).handicap
        yield "the five best above 0", TagRule(TOP, 0.0)
        yield "the same, with the handicap", TagRule(TOP, 0.0, handicap)
        yield "stand out among photos", replace(rule, words=None)
        yield "stand out among words", replace(rule, threshold=None)
        yield "stand out among both", rule


def cells(tags: Tags, shown: Tags) -> tuple[float, ...]:
    """Return precision, recall, F1 and the other figures of tags (n, L)."""
    right = (tags & shown).sum(axis=0)
    precision, recall = right.sum() / max(tags.sum(), 1), right.sum() / shown.sum()
    is_shown = shown.any(axis=0)
    of_labels = (right[is_shown] / shown.sum(axis=0)[is_shown]).mean()
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    each = tags.mean(axis=0)
    used = (each > 0).mean()
    found = (precision, recall, f1, of_labels, each.max(), used, tags.sum() / len(tags))
    return tuple(map(float, found))


def words_of(model: Model) -> Vector:
    """Return the vectors of everyday words that a model knows, as `mkt tag` takes them."""
    encoder, words = model.label_encoder(), list(read_vocabulary(EVERYDAY))
    if isinstance(encoder, LabelTable):
        words = [word for word in words if word in encoder]
    return encoder.encode(some_of(words))


def where_frequent(world: World, words: Vector, rows: Rows, columns: Rows) -> float:
    """Return the recall of labels, each in a library of which `FREQUENT` show it."""
    right = there = 0
    targets = world.labeled.targets > 0
    for number, column in enumerate(columns):
        shown = rows[targets[rows, column]]
        others = rows[~targets[rows, column]][: round(len(shown) * (1 - FREQUENT) / FREQUENT)]
        mixed = np.random.default_rng(number).permutation(np.concatenate([shown, others]))
        library = Library(world, words, mixed, columns)
        tags = library.tags(library.stand_out())
        right += int((tags & library.shown)[:, number].sum())
        there += len(shown)
    return right / there


def demo(results: Results, folder: Path) -> tuple[dict[str, Library], dict[str, Library]]:
    """Return the demo world's libraries to choose on, and to report."""
    world, words = demo_world(folder), words_of(open_model("demo"))
    unseen = np.isin(world.labels, unseen_things())
    half, rest = np.array_split(np.arange(len(world.labeled)), 2)
    seen_columns, columns = np.flatnonzero(~unseen), np.flatnonzero(unseen)
    frequent = where_frequent(world, words, half, seen_columns[:20])
    results.fact("recall of labels on 30 % of the photos", frequent, ".2f")
    return (
        {"demo world, seen labels": Library(world, words, half, seen_columns)},
        {"demo world, unseen labels": Library(world, words, rest, columns)},
    )


def real(data: Path, student: Path) -> tuple[dict[str, Library], dict[str, Library]]:
    """Return the libraries of a student of Corel-5k to choose on, and to report."""
    model = open_model(student)
    assert isinstance(model, CheckpointModel)
    trained, words = list(model.meta.trained["seen"]), words_of(model)
    corel, voc = (real_world(name, data / name, model) for name in ("corel5k", "voc300"))
    rows = np.sort(np.random.default_rng(0).permutation(len(corel.labeled))[:COREL_PHOTOS])
    often = (corel.labeled.targets[rows] > 0).sum(axis=0) >= MIN_PHOTOS
    is_trained = np.isin(corel.labels, trained)
    new = np.flatnonzero(~np.isin(voc.labels, trained))
    return (
        {
            "Corel-5k, trained": Library(corel, words, rows, np.flatnonzero(often & is_trained)),
            "Corel-5k, new": Library(corel, words, rows, np.flatnonzero(often & ~is_trained)),
        },
        {
            "VOC, new": Library(voc, words, np.arange(len(voc.labeled)), new),
            "VOC, all": Library(
                voc, words, np.arange(len(voc.labeled)), np.arange(len(voc.labels))
            ),
        },
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scenes", type=Path, help="folder of the scenes, kept for the next run")
    parser.add_argument("--data", type=Path, required=True, help="holds corel5k/ and voc300/")
    parser.add_argument("--student", type=Path, required=True, help="a checkpoint of Corel-5k")
    add_json_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    with tempfile.TemporaryDirectory() as temporary:
        develop, test = demo(results, arguments.scenes or Path(temporary))
    more, others = real(arguments.data, arguments.student)
    develop, test = develop | more, test | others
    tried = results.table("tried", COLUMNS)
    for spreads, share in TRIED:
        for photos, library in develop.items():
            tags = library.tags(library.stand_out(spreads, share))
            tried.row(
                photos, f"{spreads:g} spreads, {share:.0%} of words", *cells(tags, library.shown)
            )
    for name, libraries in (("rules, chosen on", develop), ("rules, reported", test)):
        table = results.table(name, COLUMNS)
        for photos, library in libraries.items():
            for rule_name, rule in library.rules():
                table.row(photos, rule_name, *cells(library.tags(rule), library.shown))
    results.save()


if __name__ == "__main__":
    main()
