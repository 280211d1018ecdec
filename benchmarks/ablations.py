"""The paper's ablations on the demo world: what each part of the recipe contributes.

    python benchmarks/ablations.py --work runs/ablations --label-table glove_300d_names.npz

Each row is a student trained from the same teacher on the same photos with one setting changed:
the weight of distillation, the patches that the local stream averages, the scores in the loss, the
initial heads. A student of one stream is trained by that stream's score alone, and measured by it;
that of the local stream distills nothing, because the teacher has one vector a photo. Other rows
compare label vectors: those of CLIP with a plain and a learned prompt, and those of a table. Every
row has the same labels: those that the table knows. Printed are the mean AP over unseen labels
(ZSL) by stream and over all labels (GZSL), F1@3 and F1@5, by the vocabulary scale, on test photos.

The teacher is WORK/clip, of `mkt train demo`, or else the built-in one. `--photos`, `--test` and
`--epochs` set the cost of a row; finished rows are reused. benchmarks/corel5k.py measures students
on real photos.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from results import Results, add_json_option

from mkt_search.models import checkpoint
from mkt_search.models.build import DEMO_TEACHER, locate
from mkt_search.models.clip import is_clip_folder
from mkt_search.models.label_table import LabelTable
from mkt_search.progress import Progress
from mkt_search.settings.config import DataConfig, Stage1Config, Stage2Config
from training import stage1, stage2
from training.demo.build import CLIP, Recipe, prepare_data

FIGURES = ("ZSL global", "ZSL local", "ZSL fused", "GZSL fused", "F1@3", "F1@5")


def say(event: Progress) -> None:
    """Print a remark."""
    if event.message:
        print(event.message, file=sys.stderr, flush=True)


def variants(base: Stage1Config, table: Path | None) -> Iterator[tuple[str, Stage1Config]]:
    """Yield a name and the settings of each row; the first is the default."""
    yield "default", base
    yield "global stream alone", replace(base, loss_on="global")
    yield "local stream alone", replace(base, loss_on="local", distill=0.0)
    yield "loss on each stream", replace(base, loss_on="streams")
    yield "distill 0", replace(base, distill=0.0)
    at_random = replace(base, head_init="random", distill=0.0)
    yield "heads at random, distill 0", at_random
    if table is not None:
        yield (
            "heads at random, distill 0, GloVe",
            replace(at_random, text_model="", label_table=str(table)),
        )
    for weight in (0.3, 3.0, 10.0):
        yield f"distill {weight:g}", replace(base, distill=weight)
    for k in (1, 8, 16):
        yield f"top_k {k}", replace(base, top_k=k)
    yield "vocabulary score in the loss", replace(base, score="vocabulary")
    yield "regression 1", replace(base, regression=1.0)


def with_common_labels(data: DataConfig, work: Path, table: Path | None) -> DataConfig:
    """Return the data with the labels that the table knows; without a table, with every label."""
    if table is None:
        return replace(data, validation="none")
    known = LabelTable.read(table)
    labels = json.loads(Path(data.labels).read_text())
    kept = {name: [label for label in own if label in known] for name, own in labels.items()}
    unseen = [label for label in Path(data.unseen).read_text().splitlines() if label in known]
    names = {label for own in labels.values() for label in own}
    say(Progress("", message=f"{sum(n in known for n in names)} of {len(names)} labels are known"))
    (work / "labels.json").write_text(json.dumps(kept))
    (work / "unseen.txt").write_text("\n".join(unseen))
    return replace(
        data,
        labels=str(work / "labels.json"),
        unseen=str(work / "unseen.txt"),
        validation="none",
    )


def figures(test: dict[str, Any], settings: Stage1Config) -> list[float | None]:
    """Return the figures of a row, in the order of FIGURES; None where it was not trained for."""
    streams, everything = (test["vocabulary"][name] for name in ("unseen", "all"))
    if settings.loss_on in ("global", "local"):
        own = settings.loss_on
        zsl = [streams[name] if name == own else None for name in ("global", "local", "fused")]
        return [*zsl, everything[own], None, None]
    f1 = [test["paper"]["GZSL"][f"F1@{k}"] for k in (3, 5)]
    return [*(streams[name] for name in ("global", "local", "fused")), everything["fused"], *f1]


def trained(data: DataConfig, settings: Stage1Config, out: Path) -> dict[str, Any]:
    """Train a student unless it exists; return its results on the test photos."""
    if not (checkpoint.is_checkpoint(out) and checkpoint.read_meta(out).results):
        stage1.train(data, settings, out, progress=say)
    found: dict[str, Any] = checkpoint.read_meta(out).results["test"]
    return found


def tuned(data: DataConfig, settings: Stage2Config, student: Path, out: Path) -> dict[str, Any]:
    """Tune the prompt of a student unless that is done; return its results on the test photos."""
    if not (checkpoint.is_checkpoint(out) and checkpoint.read_meta(out).results):
        stage2.train(data, settings, student, out, progress=say)
    found: dict[str, Any] = checkpoint.read_meta(out).results["test"]
    return found


def main() -> None:
    """Train the students and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of photos and students")
    parser.add_argument("--label-table", type=Path, help="GloVe vectors; .npz or text")
    parser.add_argument("--photos", type=int, default=4_000, help="train photos")
    parser.add_argument("--test", type=int, default=2_000, help="test photos")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only", default="", help="rows whose name starts with this")
    add_json_option(parser)
    args = parser.parse_args()
    recipe = replace(Recipe(), train=args.photos, test=args.test)
    own = args.work / CLIP
    clip = str(own) if is_clip_folder(own) else locate(DEMO_TEACHER)
    work = args.work / f"ablations-{args.photos}-{args.test}-{args.epochs}"
    work.mkdir(parents=True, exist_ok=True)
    data = with_common_labels(prepare_data(work, recipe, say), work, args.label_table)
    base = replace(
        recipe.student,
        epochs=args.epochs,
        distill=recipe.distill,
        text_model=clip,
        teacher=clip,
        cache=str(work / "cache"),
    )
    rows = [(n, s) for n, s in variants(base, args.label_table) if n.startswith(args.only)]
    results = Results(args.json)
    columns = {"student": "", "prompt": "", **dict.fromkeys(FIGURES, ".3f")}
    table = results.table("ablations", columns)
    for name, settings in rows:
        out = work / name.replace(" ", "-").replace(",", "")
        table.row(name, "template", *figures(trained(data, settings, out), settings))
        if name == "default":
            test = tuned(data, recipe.prompt, out, work / "default-tuned")
            table.row(name, "learned", *figures(test, settings))
            for group in ("seen", "unseen"):
                results.fact(f"{group} labels", len(checkpoint.read_meta(out).trained[group]))
        results.save()  # so that a benchmark that is stopped leaves its rows


if __name__ == "__main__":
    main()
