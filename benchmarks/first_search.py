"""Measure the processor time of `mkt search LABEL`, run as a command, for a remembered label.

    python benchmarks/first_search.py                 5,000 photos
    python benchmarks/first_search.py --photos 500    a quick look

Photos are simulated (`simulated.py`); the model is an open_clip folder of a small, random text
tower, so a search that loads it also loads torch and open_clip. Processor time is user plus system
time of the whole process, the least of `--rounds` runs in turns: of Python that only imports numpy,
faiss and sqlalchemy; of a search for a remembered label; and of one for a new label, which needs
the text tower. The program fails if the first search imports a library that it does not need.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import open_clip
import simulated
import torch
from results import Results, add_json_option

from mkt_search.library import Library
from mkt_search.models.build import open_model
from mkt_search.models.clip import create_clip, write_clip_folder

UNNEEDED = ("torch", "open_clip", "timm", "alembic")
IMPORTS = "import numpy, faiss, sqlalchemy"
SEARCH = "import sys; from mkt_search.cli import main; main(sys.argv[1:], standalone_mode=False)"
LISTED = f"{SEARCH}; print(*(m for m in {UNNEEDED} if m in sys.modules), file=sys.stderr)"
ROOT = Path(__file__).parent.parent


def make_model(folder: Path) -> Path:
    """Write an open_clip folder whose vectors are as long as those of the simulated photos."""
    rows, columns = simulated.GRID
    patch = 16
    config = {
        "embed_dim": simulated.DIM,
        "vision_cfg": {
            "image_size": [patch * rows, patch * columns],
            **{"patch_size": patch, "width": 64, "layers": 2, "head_width": 32},
        },
        "text_cfg": {"context_length": 24, "width": 64, "heads": 2, "layers": 2},
    }
    torch.manual_seed(0)
    preparation = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    description = folder.with_name("small.json")
    description.write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(description)
    write_clip_folder(folder, create_clip("small"), model_cfg=config, preprocess_cfg=preparation)
    return folder


def make_library(folder: Path, photos: int, model: Path) -> None:
    """Fill a library with simulated photos, as if the model had encoded them."""
    opened = open_model(model)
    encoding = replace(simulated.encoding(), checkpoint=opened.fingerprint, grid=opened.grid)
    with Library.create(folder) as library:
        parts = simulated.photos(simulated.World.make(), photos, encoding)
        simulated.fill(library.store, encoding, parts, model=str(model))


def processor_seconds(code: str, *arguments: str) -> float:
    """Return user plus system seconds of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-c", code, *arguments]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def unneeded_imports(*arguments: str) -> list[str]:
    """Return the libraries that a search loaded and does not need."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    call = [sys.executable, "-c", LISTED, *arguments]
    done = subprocess.run(call, check=True, capture_output=True, text=True, env=environment)
    return done.stderr.split("\n")[-2].split()


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        make_library(home, arguments.photos, make_model(home / "model"))
        command = ("search", "--library", str(home), "remembered")
        processor_seconds(SEARCH, *command)  # opens the model, remembers the label
        if found := unneeded_imports(*command):
            sys.exit(f"a search for a remembered label loads {', '.join(found)}")
        times: dict[str, list[float]] = {"imports": [], "remembered": [], "new": []}
        for number in range(arguments.rounds):
            times["imports"].append(processor_seconds(IMPORTS))
            times["remembered"].append(processor_seconds(SEARCH, *command))
            times["new"].append(processor_seconds(SEARCH, *command[:-1], f"new {number}"))
    imports, remembered, new = (min(seconds) for seconds in times.values())
    table = results.table(
        "searches", {"process": "", "processor s": ".2f", "beyond the imports": ".2f"}
    )
    table.row("Python that imports numpy, faiss and sqlalchemy", imports, None)
    table.row("`mkt search` for a remembered label", remembered, remembered - imports)
    table.row("`mkt search` for a new label", new, new - imports)
    results.fact("photos", arguments.photos, ",")
    results.fact("seconds", remembered - imports, ".2f")
    results.fact("ratio", remembered / imports, ".2f")
    results.save()


if __name__ == "__main__":
    main()
