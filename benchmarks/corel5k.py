"""Search and tag Corel-5k with labels that the model was never trained on.

    python benchmarks/corel5k.py --data ../shared/data --work runs/corel5k

For each of three label splits, with the public commands: `mkt train stage1` on four fifths of the
labels, with the anchor and, as `plain`, without; `mkt init` and `mkt index` on all 4,999 photos, a
search for every unseen label, and three tags a photo. Printed are the mean AP over unseen labels on
the test photos by stream: from the search, from all patches, and from pooled vectors by both scale
rules; precision and recall of the tags; and what the anchor adds, also for the labels of VOC photos
that no training ever named. `--sheets` writes contact sheets of ten unseen labels. Finished steps
are reused: delete the work folder to start over.

The backbone is frozen; with `--finetune` its last blocks are trained too, on photos that are
cropped, mirrored and changed by RandAugment. `--choose` compares the two without looking at test
photos or unseen labels: it holds out some of the labels that are seen in every split, and some of
the train photos.
"""

import argparse
import csv
import io
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from corel import Corel, encode_all, every_patch, rank, read_corel, write_choice
from pooling_methods import METHODS, over_vocabulary
from results import Results, add_json_option, met
from torch import nn

from mkt_search import Library
from mkt_search.datasets.read import read
from mkt_search.datasets.split import LabelSplit
from mkt_search.evaluation.metrics import mean_average_precision, top_labels
from mkt_search.models.build import CheckpointModel, Model, open_model
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.models.label_table import LabelTable
from mkt_search.models.student import Student
from mkt_search.scoring import StreamScores, scale
from mkt_search.settings.config import DataConfig, IndexConfig
from mkt_search.types import Encoded, Pooling

STREAMS = ("global", "local", "fused")
STREAM_COLUMNS = {"global only": ".3f", "local only": ".3f", "fused": ".3f"}
RULES = ("cosine", "vocabulary")
Row = tuple[str, str]  # where scores come from, and the scale rule
MKT = (sys.executable, "-m", "mkt_search")
SEARCH_AIM_MS = 10  # a warm search of 5,000 photos for 20 hits with boxes
ANCHORED = {"plain": "the student alone", "frozen": "student and anchor"}
ANCHOR_SPLITS = 3  # label splits on which students with and without anchor are compared
CHOICE_SPLITS = 2  # label splits on which settings are chosen
SETTINGS: dict[str, tuple[Any, ...]] = {
    "frozen": (),
    "plain": ("--anchor", 0),
    "finetuned": (
        *("--recipe", "finetune"),
        *("--image-height", 160, "--image-width", 224, "--top-k", 6),
    ),
}
"""Options of `mkt train stage1` beyond its defaults; those of "finetuned" were not tuned."""


def mkt(*arguments: Any) -> str:
    """Run a command of `mkt`; return its standard output and pass on its standard error."""
    print("$ mkt", *arguments, file=sys.stderr, flush=True)
    command = [*MKT, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def stage1(data: Path, out: Path, *settings: Any) -> dict[str, Any]:
    """Train a student on Corel-5k unless it exists; return the meta.json of its checkpoint."""
    meta = out / "meta.json"
    if not (meta.exists() and json.loads(meta.read_text())["trained"]["is_finished"]):
        mkt(
            *("train", "stage1", "--photos", data / "corel5k" / "images"),
            *("--label-table", data / "label_tables" / "glove_300d_names.npz"),
            *("--backbone", "mobilenetv2_100", "--backbone-arg", "pad_type=same"),
            *("--backbone-weights", data / "backbones/mobilenetv2_100_imagenet.safetensors"),
            *("--classifier", data / "backbones/mobilenetv2_100_imagenet_head.safetensors"),
            *("--class-names", data / "backbones/imagenet_classes.txt"),
            *("--mean", 0.5, 0.5, 0.5, "--std", 0.5, 0.5, 0.5),
            *("--out", out, *settings),
        )
    return json.loads(meta.read_text())  # type: ignore[no-any-return]


def train(data: Path, work: Path, seed: int, *, kind: str) -> Path:
    """Train the student on the seen labels of a split; return its checkpoint."""
    corel = data / "corel5k"
    out = work / f"seed{seed}{'' if kind == 'frozen' else '-' + kind}" / "checkpoint"
    stage1(
        *(data, out, *SETTINGS[kind], "--cache", work / "features"),
        *("--labels", corel / "labels.json", "--splits", corel / "splits.json"),
        *("--validation", "none", "--split-seed", seed),
    )
    return out


def choose(data: Path, work: Path, corel: Corel, seeds: int, results: Results) -> None:
    """Compare the settings on train photos and on labels that are seen in every split."""
    drawn = [split_labels(data, seed) for seed in range(seeds)]
    unseen = set().union(*(labels.unseen for labels in drawn))
    kept = sorted(set(drawn[0].seen) - unseen)
    folder = work / "choice"
    files = write_choice(corel, kept, folder, splits=CHOICE_SPLITS)
    results.fact("labels to choose on", len(kept))
    table = results.table("choice", {"settings": "", "split": "", **STREAM_COLUMNS})
    for kind in ("frozen", "finetuned"):
        settings = SETTINGS[kind]
        for number, file in enumerate(files):
            meta = stage1(
                *(data, folder / f"{kind}{number}", *settings, "--cache", work / "features"),
                *("--labels", folder / "labels.json", "--splits", folder / "splits.json"),
                *("--unseen", file, "--min-photos", 5, "--validation", "test"),
            )
            streams = meta["results"]["test"]["cosine"]["unseen"]
            table.row(kind, number, *(streams[name] for name in STREAMS))


def split_labels(data: Path, seed: int) -> LabelSplit:
    """Return the seen and unseen labels of a split, as `mkt train stage1` draws them."""
    corel = data / "corel5k"
    config = DataConfig(
        photos=str(corel / "images"),
        labels=str(corel / "labels.json"),
        splits=str(corel / "splits.json"),
        validation="none",
        split_seed=seed,
    )
    table = LabelTable.read(data / "label_tables" / "glove_300d_names.npz")
    return read(config, is_known=lambda label: label in table).labels


def indexed(data: Path, model: Path, pooling: str) -> Path:
    """Index all photos with one kind of pooling and default settings; return the library folder."""
    home = model.parent / f"library-{pooling}"
    if not (home / ".done").exists():
        home.mkdir(exist_ok=True)
        mkt("init", home)
        folder = data / "corel5k" / "images"
        mkt("index", folder, "--model", model.resolve(), "--pooling", pooling, "--library", home)
        (home / ".done").touch()
    return home


def table_rows(model: Model, corel: Corel, names: list[str]) -> dict[Row, StreamScores]:
    """Score the test photos from all patches and from stored vectors, by both scale rules.

    The reference vocabulary of the vocabulary rule is every label of the model's label table.
    """
    encoded = encode_all(model, [corel.folder / file for file in corel.test])
    encoder = model.label_encoder()
    labels, reference = encoder.encode(names), encoder.encode(encoder.names)  # type: ignore[attr-defined]
    found = {}
    for rule in RULES:
        is_cosine, k = rule == "cosine", model.top_k
        scaled = scale(encoded) if is_cosine else over_vocabulary(encoded, reference, k)
        found["every patch", rule] = rank(labels, every_patch(scaled), k)
        vectors = METHODS["cover"](scaled, model.grid, 16, k).vectors
        found["cover, m = 16", rule] = rank(labels, vectors, k)
    return found


@dataclass(frozen=True)
class Voc:
    """Photos of VOC: their files, and the labels of each by file name."""

    files: list[Path]
    labels: dict[str, list[str]]

    def score(self, model: Model, vectors: Encoded) -> float:
        """Return the mAP of the fused score over the labels that training never named."""
        assert isinstance(model, CheckpointModel)
        trained, table = model.meta.trained, model.label_encoder()
        assert isinstance(table, LabelTable)
        named = {*trained["seen"], *trained["unseen"]}
        shown = {label for file in self.files for label in self.labels[file.name]}
        names = sorted(label for label in shown - named if label in table)
        truth = [[1 if name in self.labels[f.name] else -1 for name in names] for f in self.files]
        scores = rank(table.encode(names), every_patch(scale(vectors)), model.top_k)
        return mean_average_precision(scores.fused, np.array(truth, np.int8)).standard


def read_voc(data: Path) -> Voc:
    """Read the photos of voc300/."""
    labels = json.loads((data / "voc300" / "labels.json").read_text())
    return Voc([data / "voc300" / "images" / file for file in sorted(labels)], labels)


def anchor_rows(data: Path, work: Path, corel: Corel) -> dict[str, list[list[float]]]:
    """Return mAP of unseen and seen labels on the test photos and of VOC labels, by student."""
    voc = read_voc(data)
    rows: dict[str, list[list[float]]] = {}
    for seed in range(ANCHOR_SPLITS):
        for kind, title in ANCHORED.items():
            model = open_model(train(data, work, seed, kind=kind))
            assert isinstance(model, CheckpointModel)
            found = model.meta.results["test"]["cosine"]
            row = [found[group][name] for group in ("unseen", "seen") for name in STREAMS]
            rows.setdefault(title, []).append(
                [*row, voc.score(model, encode_all(model, voc.files))]
            )
        assert isinstance(model, CheckpointModel)
        trained, encoder = model.meta.trained, model.label_encoder()
        row = []
        alone = encode_alone(model, [corel.folder / file for file in corel.test])
        for group in ("unseen", "seen"):
            scores = rank(encoder.encode(trained[group]), every_patch(scale(alone)), model.top_k)
            streams = (scores.global_scores, scores.local_scores, scores.fused)
            shown = corel.shown(corel.test, trained[group])
            row += [mean_average_precision(stream, shown).standard for stream in streams]
        of_voc = voc.score(model, encode_alone(model, voc.files))
        rows.setdefault("anchor alone (ConSE, nothing trained)", []).append([*row, of_voc])
    return rows


def encode_alone(model: Model, files: list[Path]) -> Encoded:
    """Encode photos with the anchor of a student and without its heads."""
    student = model.student()
    assert isinstance(student, Student)
    for head in (student.global_head, student.local_head):
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return encode_all(PhotoEncoder(student, model.image), files)


def rankings(library: Library, labels: list[str], files: list[str]) -> StreamScores:
    """Search every label for all photos; return the scores of each stream, (files, labels)."""
    row_of = {file: row for row, file in enumerate(files)}
    global_scores = np.zeros((len(files), len(labels)), np.float32)
    local_scores = np.zeros_like(global_scores)
    for column, label in enumerate(labels):
        hits = library.search(label, k=10_000, boxes=False)
        found = {path.name: hit for hit in hits for path in (hit.path, *hit.copies)}
        for file, row in row_of.items():
            global_scores[row, column] = found[file].global_part
            local_scores[row, column] = found[file].local_part
    return StreamScores(global_scores, local_scores)


def warm_search(library: Library, labels: list[str]) -> float:
    """Return the median milliseconds of a search with the vectors in memory."""
    times = []
    for label in labels * 3:
        start = time.perf_counter()
        library.search(label, k=20)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def tagged(home: Path, labels: list[str], files: list[str]) -> np.ndarray:
    """Tag every photo with its three best labels; return (files, labels), 1 for a tag, else 0."""
    vocabulary = home / "vocabulary.txt"
    vocabulary.write_text("\n".join(labels), encoding="utf-8")
    mkt("tag", "--vocabulary", vocabulary, "--top", 3, "--library", home)
    table = mkt("tags", "--csv", "--library", home)
    row_of = {file: row for row, file in enumerate(files)}
    scores = np.zeros((len(files), len(labels)), np.float32)
    for row in csv.DictReader(io.StringIO(table)):
        name = Path(row["path"]).name
        if name in row_of and row["label"] in labels:
            scores[row_of[name], labels.index(row["label"])] = 1
    return scores


def sheets(home: Path, labels: list[str], folder: Path) -> None:
    """Write a contact sheet for each label."""
    folder.mkdir(parents=True, exist_ok=True)
    for label in labels:
        mkt("search", label, "-k", 20, "--html", folder / f"{label}.html", "--library", home)


def options() -> argparse.ArgumentParser:
    """Return the options of the program."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with corel5k/")
    parser.add_argument("--work", type=Path, default=Path("runs/corel5k"))
    parser.add_argument("--seeds", type=int, default=3, help="label splits")
    parser.add_argument("--pooling", choices=get_args(Pooling), default=IndexConfig().pooling)
    parser.add_argument("--sheets", action="store_true", help="write contact sheets of seed 0")
    parser.add_argument("--finetune", action="store_true", help="train the last blocks as well")
    parser.add_argument("--choose", action="store_true", help="compare settings on seen labels")
    add_json_option(parser)
    return parser


def measure(given: argparse.Namespace, corel: Corel, results: Results) -> None:
    """Train, index, search and tag for every label split; print the tables."""
    kind = "finetuned" if given.finetune else "frozen"
    maps: dict[Row, dict[str, list[float]]] = {}
    tags: dict[str, list[tuple[float, float, float]]] = {"all labels": [], "unseen labels": []}
    chances, searches = [], []
    for seed in range(given.seeds):
        checkpoint = train(given.data, given.work, seed, kind=kind)
        trained = json.loads((checkpoint / "meta.json").read_text())["trained"]
        unseen, every = trained["unseen"], sorted(trained["seen"] + trained["unseen"])
        shown = corel.shown(corel.test, unseen)
        chances.append(float(shown.clip(0).mean()))
        home = indexed(given.data, checkpoint, given.pooling)
        found = table_rows(open_model(checkpoint), corel, unseen)
        with Library.open(home) as library:
            found["**`mkt search`**", "cosine"] = rankings(library, unseen, corel.test)
            searches.append(warm_search(library, unseen))
        for row, scores in found.items():
            values = maps.setdefault(row, {name: [] for name in STREAMS})
            streams = (scores.global_scores, scores.local_scores, scores.fused)
            for name, stream in zip(STREAMS, streams, strict=True):
                values[name].append(mean_average_precision(stream, shown).standard)
        for title, names in (("all labels", every), ("unseen labels", unseen)):
            result = top_labels(
                tagged(home, names, corel.test), corel.shown(corel.test, names), ks=(3,)
            )[3]
            tags[title].append((result.precision, result.recall, result.f1))
        if given.sheets and seed == 0:
            sheets(home, unseen[:: max(1, len(unseen) // 10)][:10], given.work / "sheets")
    table = results.table(
        "unseen", {"from": "", "scale": "", **STREAM_COLUMNS, "fused, each split": ""}
    )
    for (what, rule), values in maps.items():
        means = (float(np.mean(values[name])) for name in STREAMS)
        table.row(what, rule, *means, " ".join(f"{value:.3f}" for value in values["fused"]))
    table = results.table(
        "tags", {"three tags a photo, of": "", "precision": ".3f", "recall": ".3f", "F1": ".3f"}
    )
    for title, of_splits in tags.items():
        table.row(title, *np.mean(of_splits, axis=0).tolist())
    table = results.table(
        "anchor",
        {
            "": "",
            **{f"{group}, {name}": ".3f" for group in ("unseen", "seen") for name in STREAMS},
            "VOC, never named": ".3f",
        },
    )
    for title, splits in anchor_rows(given.data, given.work, corel).items():
        table.row(title, *np.mean(np.array(splits), axis=0).tolist())
    chosen = [
        json.loads((train(given.data, given.work, seed, kind="frozen") / "meta.json").read_text())
        for seed in range(ANCHOR_SPLITS)
    ]
    print()
    anchors = [meta["trained"]["anchor"] for meta in chosen]
    results.fact("anchor weights", " ".join(f"{anchor['weight']:g}" for anchor in anchors))
    shares = [f"{meta['trained']['streams']['local_share']:g}" for meta in chosen]
    results.fact("local shares", " ".join(shares))
    results.fact("anchor splits", ANCHOR_SPLITS)
    results.fact("anchor classes", anchors[0]["classes"])
    results.fact("anchor covered", anchors[0]["covered"])
    results.fact("label splits", given.seeds)
    results.fact("test photos", len(corel.test))
    results.fact("labels", len(every))
    results.fact("unseen labels", len(unseen))
    results.fact("chance", float(np.mean(chances)), ".3f")
    search_ms = float(np.median(searches))
    results.fact("warm search ms", search_ms, ".1f")
    results.fact("warm search aim ms", SEARCH_AIM_MS)
    results.fact("warm search", met(search_ms <= SEARCH_AIM_MS))


def main() -> None:
    """Read the options, measure, and save."""
    given = options().parse_args()
    corel, results, started = read_corel(given.data), Results(given.json), time.monotonic()
    if given.choose:
        choose(given.data, given.work, corel, given.seeds, results)
    else:
        measure(given, corel, results)
    results.fact("minutes", (time.monotonic() - started) / 60, ".1f")
    results.save()


if __name__ == "__main__":
    main()
