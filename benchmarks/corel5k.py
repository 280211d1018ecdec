"""The main job on real photos: labels nobody trained, found in Corel-5k.

    python benchmarks/corel5k.py --data ../shared/data --work runs/corel5k

For three splits of the labels, by the public commands: `mkt train stage1` on the seen four fifths,
`mkt init` and `mkt index` on all 4,999 photos, then every unseen label is searched and every photo
tagged. Printed are the mean AP over unseen labels on the test photos, for the global stream, the
local stream and both: as searched, and computed from all patches and from pooled vectors by both
scale rules; and how good the tags are. `--sheets` writes contact sheets of ten unseen labels to
look at. A step that is done is not done again; delete the work folder to start over.

The student's backbone is frozen, or with `--finetune` its last blocks learn too, on photos cropped,
mirrored and changed by RandAugment. `--choose` compares the two where nothing reported later
can be seen: labels seen in every split, some of them held out, on train photos set aside.
"""

import argparse
import csv
import io
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
from corel import Corel, encode_all, every_patch, rank, read_corel, write_choice

from indexer.pooling.pool import pool
from mkt_search import Library
from mkt_search.datasets.split import LabelSplit
from mkt_search.evaluation.metrics import mean_average_precision, top_labels
from mkt_search.models.build import Model, open_model
from mkt_search.scoring import StreamScores, scale
from mkt_search.settings.config import DataConfig, IndexConfig, Stage1Config
from mkt_search.types import Encoding, Pooling, ScaleRule
from training.data.task import load_task

STREAMS = ("global", "local", "fused")
RULES: tuple[ScaleRule, ...] = ("cosine", "vocabulary")
Row = tuple[str, str]  # where scores come from, and the scale rule
MKT = (sys.executable, "-m", "mkt_search")
CHOICES = 2  # splits that settings are chosen on
SETTINGS: dict[str, tuple[Any, ...]] = {
    "frozen": (),
    "finetuned": (
        *("--image-height", 160, "--image-width", 224, "--top-k", 6),
        *("--frozen", 5, "--layer-decay", 0.5, "--lr", 1e-4, "--weight-decay", 0.05),
        *("--epochs", 3, "--warmup-epochs", 1, "--batch-size", 32, "--ema", 0.99),
        *("--flip", "--crop-scale", 0.5, "--randaugment", "rand-m5-n2-mstd0.5-inc1"),
    ),
}
"""What `mkt train stage1` is given beyond its defaults; "finetuned" is a first try."""


def mkt(*arguments: Any) -> str:
    """Run a command of `mkt`, its talk going to this program's; return what it printed."""
    print("$ mkt", *arguments, file=sys.stderr, flush=True)
    command = [*MKT, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def stage1(data: Path, out: Path, *settings: Any) -> dict[str, Any]:
    """Train a student on Corel-5k unless that is done; return the meta of its checkpoint."""
    meta = out / "meta.json"
    if not (meta.exists() and json.loads(meta.read_text())["trained"]["is_finished"]):
        mkt(
            *("train", "stage1", "--photos", data / "corel5k" / "images"),
            *("--label-table", data / "label_tables" / "glove_300d_names.npz"),
            *("--backbone", "mobilenetv2_100", "--backbone-arg", "pad_type=same"),
            *("--backbone-weights", data / "backbones/mobilenetv2_100_imagenet.safetensors"),
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


def choose(data: Path, work: Path, corel: Corel, seeds: int) -> None:
    """Compare the settings without a look at test photos or at the unseen labels of any split.

    Only labels that are seen in every split take part, and train photos.
    """
    drawn = [split_labels(data, seed) for seed in range(seeds)]
    unseen = set().union(*(labels.unseen for labels in drawn))
    kept = sorted(set(drawn[0].seen) - unseen)
    folder = work / "choice"
    files = write_choice(corel, kept, folder, splits=CHOICES)
    print(f"mean AP over held-out labels of {len(kept)}, on train photos set aside\n")
    print("| settings | split | global only | local only | fused |")
    print("|---|--:|--:|--:|--:|")
    for kind, settings in SETTINGS.items():
        for number, file in enumerate(files):
            meta = stage1(
                *(data, folder / f"{kind}{number}", *settings, "--cache", work / "features"),
                *("--labels", folder / "labels.json", "--splits", folder / "splits.json"),
                *("--unseen", file, "--min-photos", 5, "--validation", "test"),
            )
            streams = meta["results"]["test"]["cosine"]["unseen"]
            values = " | ".join(f"{streams[name]:.3f}" for name in STREAMS)
            print(f"| {kind} | {number} | {values} |", flush=True)


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
    table = str(data / "label_tables" / "glove_300d_names.npz")
    return load_task(config, Stage1Config(label_table=table), lambda sentence: None).labels


def indexed(data: Path, model: Path, local: str) -> Path:
    """Make a library of all photos, but for `local` with the default settings; return its home."""
    home = model.parent / f"library-{local}"
    if not (home / ".done").exists():
        home.mkdir(exist_ok=True)
        mkt("init", home)
        folder = data / "corel5k" / "images"
        mkt("index", folder, "--model", model.resolve(), "--local", local, "--library", home)
        (home / ".done").touch()
    return home


def table_rows(model: Model, corel: Corel, names: list[str]) -> dict[Row, StreamScores]:
    """Score the test photos for labels from all patches and from stored vectors, by both rules.

    The vocabulary rule's reference is every label the library would take: the table's own.
    """
    encoded = encode_all(model, [corel.folder / file for file in corel.test])
    encoder = model.label_encoder()
    labels, reference = encoder.encode(names), encoder.encode(encoder.names)  # type: ignore[attr-defined]
    found = {}
    for rule in RULES:
        scaled = scale(encoded, rule=rule, k=model.top_k, vocabulary=reference)
        found["every patch", rule] = rank(labels, every_patch(scaled), model.top_k)
        for kind in ("cover", "kset", "centroids"):
            dim, k = encoded.patches.shape[-1], model.top_k
            settings = Encoding("-", dim, model.grid, kind, 16, k, "int8", rule)
            vectors = pool(encoded, settings, reference)
            found[f"{kind}, m = 16", rule] = rank(labels, vectors, k)
    return found


def rankings(library: Library, labels: list[str], files: list[str]) -> StreamScores:
    """Search every label for all photos; return (files, labels) scores of each stream."""
    place = {file: row for row, file in enumerate(files)}
    global_ = np.zeros((len(files), len(labels)), np.float32)
    local = np.zeros_like(global_)
    for column, label in enumerate(labels):
        hits = library.search(label, k=10_000, boxes=False)
        found = {path.name: hit for hit in hits for path in (hit.path, *hit.copies)}
        for file, row in place.items():
            global_[row, column] = found[file].global_part
            local[row, column] = found[file].local_part
    return StreamScores(global_, local)


def warm_search(library: Library, labels: list[str]) -> float:
    """Return the median milliseconds of a search once the vectors are in memory."""
    times = []
    for label in labels * 3:
        start = time.perf_counter()
        library.search(label, k=20)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def tagged(home: Path, labels: list[str], files: list[str]) -> np.ndarray:
    """Tag every photo with its three best labels; return (files, labels), 1 where a tag was set."""
    vocabulary = home / "vocabulary.txt"
    vocabulary.write_text("\n".join(labels), encoding="utf-8")
    mkt("tag", "--vocabulary", vocabulary, "--top", 3, "--library", home)
    table = mkt("tags", "--csv", "--library", home)
    place = {file: row for row, file in enumerate(files)}
    scores = np.zeros((len(files), len(labels)), np.float32)
    for row in csv.DictReader(io.StringIO(table)):
        name = Path(row["path"]).name
        if name in place and row["label"] in labels:
            scores[place[name], labels.index(row["label"])] = 1
    return scores


def sheets(home: Path, labels: list[str], folder: Path) -> None:
    """Write a contact sheet of each label."""
    folder.mkdir(parents=True, exist_ok=True)
    for label in labels:
        mkt("search", label, "-k", 20, "--html", folder / f"{label}.html", "--library", home)


def main() -> None:
    """Run every step and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with corel5k/")
    parser.add_argument("--work", type=Path, default=Path("runs/corel5k"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--local", choices=get_args(Pooling), default=IndexConfig().local)
    parser.add_argument("--sheets", action="store_true", help="contact sheets of seed 0")
    parser.add_argument("--finetune", action="store_true", help="let the last blocks learn too")
    parser.add_argument("--choose", action="store_true", help="compare settings on seen labels")
    parser.add_argument("--warm", action="store_true", help="time warm searches, nothing else")
    given = parser.parse_args()
    corel, started = read_corel(given.data), time.monotonic()
    if given.warm:
        checkpoint = train(given.data, given.work, 0, kind="frozen")
        unseen = json.loads((checkpoint / "meta.json").read_text())["trained"]["unseen"]
        with Library.open(indexed(given.data, checkpoint, given.local)) as library:
            warm_search(library, unseen)
            print(f"a warm `Library.search`: {warm_search(library, unseen):.1f} ms (median)")
        return
    if given.choose:
        choose(given.data, given.work, corel, given.seeds)
        return
    kind = "finetuned" if given.finetune else "frozen"
    maps: dict[Row, dict[str, list[float]]] = {}
    tags: dict[str, list[tuple[float, float, float]]] = {"all labels": [], "unseen labels": []}
    for seed in range(given.seeds):
        checkpoint = train(given.data, given.work, seed, kind=kind)
        story = json.loads((checkpoint / "meta.json").read_text())["trained"]
        unseen, every = story["unseen"], sorted(story["seen"] + story["unseen"])
        shown = corel.shown(corel.test, unseen)
        home = indexed(given.data, checkpoint, given.local)
        found = table_rows(open_model(checkpoint), corel, unseen)
        with Library.open(home) as library:
            found[f"`mkt search`, `--local {given.local}`", "cosine"] = rankings(
                library, unseen, corel.test
            )
            warm = warm_search(library, unseen)
        for row, scores in found.items():
            values = maps.setdefault(row, {name: [] for name in STREAMS})
            for name, stream in zip(
                STREAMS, (scores.global_, scores.local, scores.fused), strict=True
            ):
                values[name].append(mean_average_precision(stream, shown).standard)
        for title, names in (("all labels", every), ("unseen labels", unseen)):
            given_tags = tagged(home, names, corel.test)
            tags[title].append(top_labels_of(given_tags, corel.shown(corel.test, names)))
        if given.sheets and seed == 0:
            sheets(home, unseen[:: max(1, len(unseen) // 10)][:10], given.work / "sheets")
    print(f"\nmean AP over unseen labels, {len(corel.test)} test photos, {given.seeds} splits\n")
    print("| from | scale rule | global only | local only | fused | fused of each split |")
    print("|---|---|--:|--:|--:|---|")
    for (what, rule), values in maps.items():
        means = " | ".join(f"{np.mean(values[name]):.3f}" for name in STREAMS)
        each = " ".join(f"{value:.3f}" for value in values["fused"])
        print(f"| {what} | {rule} | {means} | {each} |")
    print(f"\nchance (last split): {shown.clip(0).mean():.3f}\n")
    print(f"a warm `Library.search` for 20 hits with boxes: {warm:.1f} ms (median)\n")
    print("| three tags a photo, of | precision | recall | F1 |")
    print("|---|--:|--:|--:|")
    for title, values in tags.items():
        print(f"| {title} | " + " | ".join(f"{v:.3f}" for v in np.mean(values, axis=0)) + " |")
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes", file=sys.stderr)


def top_labels_of(tags: np.ndarray, shown: np.ndarray) -> tuple[float, float, float]:
    """Return precision, recall and F1 of three tags a photo, over all photos together."""
    result = top_labels(tags, shown, k=3)
    return result.precision, result.recall, result.f1


if __name__ == "__main__":
    main()
