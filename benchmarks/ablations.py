"""The paper's ablations on the demo world: what each part of the recipe contributes.

    python benchmarks/ablations.py --work runs/ablations --label-table glove_300d_names.npz

Each student learns from the same teacher on the same photos, with and without distillation, with
both streams or with one. A student of one stream is trained and tuned by that stream's score
alone, and measured by it; that of the local stream distills nothing, because the teacher has one
vector a photo. Each is measured with the template and with a prompt learned for it. Label vectors
of CLIP are compared with those of a table on heads that start at random and distill nothing. Every
row has the same labels: those that the table knows. Printed are, by the vocabulary scale on test
photos, the mean AP over unseen labels (ZSL) by stream and over all labels (GZSL), F1@3 and F1@5,
and the ZSL mean AP by the cosine scale, the library's. A student of one stream has that stream's.
`--settings` adds a table of students with one setting changed.

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

FIGURES = ("ZSL global", "ZSL local", "ZSL fused", "ZSL cosine", "GZSL", "F1@3", "F1@5")


def say(event: Progress) -> None:
    """Print a remark."""
    if event.message:
        print(event.message, file=sys.stderr, flush=True)


def students(base: Stage1Config, table: Path | None) -> Iterator[tuple[str, Stage1Config]]:
    """Yield a name and the settings of each student of the paper's ablations."""
    alone = replace(base, distill=0.0)
    yield "the teacher, not trained", replace(alone, epochs=0)
    yield "both streams", base
    yield "both streams, no distillation", alone
    yield "global stream", replace(base, loss_on="global")
    yield "global stream, no distillation", replace(alone, loss_on="global")
    yield "local stream, no distillation", replace(alone, loss_on="local")
    at_random = replace(alone, head_init="random")
    yield "heads at random, no distillation", at_random
    if table is not None:
        yield (
            "heads at random, no distillation, GloVe",
            replace(at_random, text_model="", label_table=str(table)),
        )


def changed_settings(base: Stage1Config) -> Iterator[tuple[str, Stage1Config]]:
    """Yield a name and the settings of students with one setting of `base` changed."""
    yield "loss on each stream", replace(base, loss_on="streams")
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
    zsl, everything = (test["vocabulary"][name] for name in ("unseen", "all"))
    cosine = test["cosine"]["unseen"]
    if settings.loss_on in ("global", "local"):
        own = settings.loss_on
        streams = [zsl[name] if name == own else None for name in ("global", "local", "fused")]
        return [*streams, cosine[own], everything[own], None, None]
    streams = [zsl[name] for name in ("global", "local", "fused")]
    f1 = [test["paper"]["GZSL"][f"F1@{k}"] for k in (3, 5)]
    return [*streams, cosine["fused"], everything["fused"], *f1]


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
    parser.add_argument("--photos", type=int, default=Recipe().train, help="train photos")
    parser.add_argument("--test", type=int, default=Recipe().test, help="test photos")
    parser.add_argument("--epochs", type=int, default=Recipe().student.epochs)
    parser.add_argument("--settings", action="store_true", help="change single settings, too")
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
    results = Results(args.json)
    columns = {"student": "", "prompt": "", **dict.fromkeys(FIGURES, ".3f")}
    table = results.table("ablations", columns)
    for name, settings in students(base, args.label_table):
        out = work / name.replace(" ", "-").replace(",", "")
        has_prompt = not settings.label_table
        table.row(
            name, "template" if has_prompt else "", *figures(trained(data, settings, out), settings)
        )
        if has_prompt:
            prompt = replace(recipe.prompt, loss_on=settings.loss_on)
            test = tuned(data, prompt, out, out.with_name(f"{out.name}-tuned"))
            table.row(name, "learned", *figures(test, settings))
        if not results.facts:
            for group in ("seen", "unseen"):
                results.fact(f"{group} labels", len(checkpoint.read_meta(out).trained[group]))
        results.save()  # so that a benchmark that is stopped leaves its rows
    if args.settings:
        del columns["prompt"]
        table = results.table("settings", columns)
        for name, settings in changed_settings(base):
            out = work / name.replace(" ", "-")
            table.row(name, *figures(trained(data, settings, out), settings))
            results.save()


if __name__ == "__main__":
    main()
