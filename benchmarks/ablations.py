"""The paper's ablations on the demo world: what each part of the recipe contributes.

    mkt train demo --out runs/demo
    python benchmarks/ablations.py --work runs/demo

Each row is a student trained from the same teacher on the same photos with one setting changed:
the weight of distillation, the patches that the local stream averages, the input of the loss, the
initial heads. The last row tunes the prompt of the default student. Printed are the mean AP over
unseen labels (ZSL) by stream and over all labels (GZSL), F1@3 and F1@5, by the vocabulary scale, on
test photos. `--photos` and `--epochs` set the cost of a row; finished rows are reused.
benchmarks/corel5k.py measures students with GloVe label vectors.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from results import Results, add_json_option

from mkt_search.demo.scenes.photos import photo_name
from mkt_search.models import checkpoint
from mkt_search.progress import Progress
from mkt_search.settings.config import DataConfig, Stage1Config
from training import stage1, stage2
from training.demo.build import CLIP, Recipe, prepare_data

FIGURES = ("ZSL global", "ZSL local", "ZSL fused", "GZSL fused", "F1@3", "F1@5")


def say(event: Progress) -> None:
    """Print a remark."""
    if event.message:
        print(event.message, file=sys.stderr, flush=True)


def variants(base: Stage1Config) -> Iterator[tuple[str, Stage1Config]]:
    """Yield a name and the settings of each row; the first is the default."""
    yield "default", base
    for weight in (0.0, 0.3, 3.0, 10.0):
        yield f"distill {weight:g}", replace(base, distill=weight)
    for k in (1, 8, 16):
        yield f"top_k {k}", replace(base, top_k=k)
    yield "loss on each stream", replace(base, loss_on="streams")
    yield "vocabulary score in the loss", replace(base, score="vocabulary")
    yield "regression 1", replace(base, regression=1.0)
    yield "heads at random", replace(base, head_init="random")


def fewer(data: DataConfig, work: Path, photos: int) -> DataConfig:
    """Return the data with only the first `photos` train photos; the test photos stay."""
    splits = json.loads(Path(data.splits).read_text())
    kept = {name: part for name, part in splits.items() if part == "test"}
    for seed in range(photos):
        kept[photo_name(seed)] = "train"
    labels = json.loads(Path(data.labels).read_text())
    names = {name: labels[name] for name in kept if name in labels}
    missing = sum(name not in labels for name in kept)
    if missing:
        raise SystemExit(f"{missing} of these photos were not rendered: use a smaller --photos")
    files = {"labels.json": names, "splits.json": kept}
    for name, content in files.items():
        (work / name).write_text(json.dumps(content))
    places = {"labels": str(work / "labels.json"), "splits": str(work / "splits.json")}
    return replace(data, **places, validation="none")  # type: ignore[arg-type]


def figures(test: dict[str, Any]) -> list[float]:
    """Return the figures of a row, in the order of FIGURES."""
    streams = test["vocabulary"]["unseen"]
    everything = test["vocabulary"]["all"]["fused"]
    f1 = [test["paper"]["GZSL"][f"F1@{k}"] for k in (3, 5)]
    return [*(streams[name] for name in ("global", "local", "fused")), everything, *f1]


def trained(data: DataConfig, settings: Stage1Config, out: Path) -> dict[str, Any]:
    """Train a student unless it exists; return its results on the test photos."""
    if not (checkpoint.is_checkpoint(out) and checkpoint.read_meta(out).results):
        stage1.train(data, settings, out, progress=say)
    found: dict[str, Any] = checkpoint.read_meta(out).results["test"]
    return found


def main() -> None:
    """Train the students and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of mkt train demo")
    parser.add_argument("--photos", type=int, default=4_000, help="train photos")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only", default="", help="rows whose name starts with this")
    add_json_option(parser)
    args = parser.parse_args()
    recipe, clip = Recipe(), str(args.work / CLIP)
    work = args.work / f"ablations-{args.photos}-{args.epochs}"
    work.mkdir(parents=True, exist_ok=True)
    data = fewer(prepare_data(args.work, recipe, say), work, args.photos)
    base = replace(
        recipe.student,
        epochs=args.epochs,
        distill=recipe.distill,
        text_model=clip,
        teacher=clip,
    )
    rows = [(n, s) for n, s in variants(base) if n.startswith(args.only)]
    results = Results(args.json)
    columns = {"student": "", "prompt": "", **dict.fromkeys(FIGURES, ".3f")}
    table = results.table("ablations", columns)
    for name, settings in rows:
        test = trained(data, settings, work / name.replace(" ", "-"))
        table.row(name, "template", *figures(test))
    if "default" in dict(rows):
        tuned = work / "default-tuned"
        if not (checkpoint.is_checkpoint(tuned) and checkpoint.read_meta(tuned).results):
            stage2.train(data, recipe.prompt, work / "default", tuned, progress=say)
        table.row("default", "learned", *figures(checkpoint.read_meta(tuned).results["test"]))
    results.save()


if __name__ == "__main__":
    main()
