"""Trainings that run in one process or, started by torchrun, in several: `python -m ... WORLD OUT`.

With DIE_AT_STEP the last process ends at that step, as one does that is out of memory.
"""

import os
import pickle
import sys
from pathlib import Path
from typing import Any

from mkt_search.errors import MktError
from mkt_search.models import checkpoint
from mkt_search.models.build import DEMO_CLIP
from mkt_search.settings.config import Stage2Config
from tests.painted import World
from training import stage1, stage2
from training.learning.learner import Learner
from training.runs.files import LOCK

BATCH = 8
WORLD = "world.pickle"  # the first argument of `train_all`
MOVING: dict[str, Any] = {
    "frozen": "1",
    "flip": True,
    "crop_scale": 0.5,
    "loss_on": "both",
    "absent_labels": "skip",
    "head_init": "random",
    "clip_grad": 1.0,
    "ema": 0.9,
    "epochs": 7,
    "batch_size": BATCH,
}
FROZEN: dict[str, Any] = {"absent_labels": "skip", "epochs": 7, "batch_size": BATCH, "flip": True}
TUNED = Stage2Config(
    epochs=7,
    batch_size=BATCH,
    lr=1e-3,
    labels_per_step=4,
    labels_at_once=3,
    device="cpu",
    dtype="float32",
    workers=0,
)


def train_all(world: World, out: Path) -> None:
    """Train blocks, heads alone, and a prompt, each into a folder of `out`."""
    stage1.train(*world.but(**MOVING), out / "moving")
    stage1.train(*world.but(**FROZEN), out / "frozen")
    towered = world.but(label_table="", text_model=str(DEMO_CLIP), epochs=0)
    stage1.train(*towered, out / "student")
    stage2.train(world.data, TUNED, out / "student", out / "tuned")


def write_nothing_under(out: Path) -> None:
    """End this process with an error if it opens a file under a folder to write, but for locks."""

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" or not str(arguments[0]).startswith(str(out)):
            return
        is_lock = Path(arguments[0]).stem == Path(LOCK).stem
        if arguments[2] & (os.O_WRONLY | os.O_RDWR) and not is_lock:
            raise AssertionError(f"process {os.environ['RANK']} writes {arguments[0]}")

    sys.addaudithook(check)


def die_at(step: int) -> None:
    """End this process without a word in a step, counted from 0."""
    take = Learner.step

    def step_or_die(self: Learner, loss: Any, number: int) -> float:
        if number == step:
            os._exit(7)
        return take(self, loss, number)

    Learner.step = step_or_die  # type: ignore[method-assign]


def main(folder: Path, out: Path) -> None:
    """Train in the world that `folder` has."""
    if os.environ.get("RANK", "0") != "0":
        write_nothing_under(out)
        if "DIE_AT_STEP" in os.environ:
            die_at(int(os.environ["DIE_AT_STEP"]))
    train_all(pickle.loads((folder / WORLD).read_bytes()), out)
    assert checkpoint.read_meta(out / "tuned").results


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except MktError as error:
        sys.exit(f"Error: {error}")
