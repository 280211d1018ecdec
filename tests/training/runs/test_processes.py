"""Several processes train what one does; a process that dies ends the run."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from tests.painted import World, painted_world
from tests.training.runs.several import WORLD, train_all
from training.runs.processes import ALONE, ENDED, Processes, process_device

ROOT = Path(__file__).parents[3]
LONGEST = 300  # seconds until a run counts as hanging


def made(folder: Path) -> World:
    """Paint a world where several processes find it."""
    found = painted_world(folder)
    (folder / WORLD).write_bytes(pickle.dumps(found))
    return found


def start(folder: Path, out: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the trainings of `several` in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    place = [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        "127.0.0.1:0",
        "--local-addr",
        "127.0.0.1",
    ]
    program = ["-m", "tests.training.runs.several", str(folder), str(out)]
    return subprocess.run(
        [*launcher, *place, *program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environ},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def weights(out: Path) -> dict[str, torch.Tensor]:
    """Return what was trained, without the biases of keys: their gradient is rounding alone."""
    found = load_file(out / (checkpoint.PROMPT if out.name == "tuned" else checkpoint.STUDENT))
    for name, tensor in found.items():
        if name.endswith("qkv.bias"):
            tensor.view(3, -1)[1] = 0
    return found


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_the_first_alone_writes(tmp_path: Path) -> None:
    train_all(made(tmp_path), tmp_path / "one")
    ended = start(tmp_path, tmp_path / "two")
    assert ended.returncode == 0, ended.stderr
    for name in ("moving", "frozen", "tuned"):
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        expected, found = weights(one), weights(two)
        assert expected.keys() == found.keys()
        for key, tensor in expected.items():
            error = (found[key] - tensor).double().norm() / tensor.double().norm().clamp_min(1e-6)
            assert error < 1e-5, (name, key, float(error))
        losses = [
            [epoch["losses"] for epoch in checkpoint.read_meta(out).trained["epochs"]]
            for out in (one, two)
        ]
        for first, second in zip(*losses, strict=True):
            assert second == pytest.approx(first, rel=1e-4)
    assert len(losses[0]) == 7


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    made(tmp_path)
    ended = start(tmp_path, tmp_path / "out", DIE_AT_STEP="4")
    assert ended.returncode != 0
    errors = [line for line in ended.stderr.splitlines() if "Error: " in line]
    assert [ENDED in line for line in errors if "ChildFailedError" not in line] == [True]
    assert not (tmp_path / "out" / "frozen").exists()


def test_the_parts_of_all_processes_are_the_batch() -> None:
    rows = np.arange(7)
    parts = [Processes(number, 3).part(rows) for number in range(3)]
    assert np.concatenate(parts).tolist() == rows.tolist()
    assert ALONE.part(rows).tolist() == rows.tolist()
    with pytest.raises(TrainingError, match="3 processes cannot share 2 photos"):
        Processes(0, 3).require_parts(2)


def test_one_process_alone_adds_nothing() -> None:
    tensor = torch.tensor([1.0, 2.0])
    assert ALONE.is_first and ALONE.sum(tensor) is tensor
    assert ALONE.all_rows(np.array([3, 1])).tolist() == [1, 3]
    assert ALONE.any(tensor > 1).tolist() == [False, True]
    assert ALONE.from_first(lambda: 5) == ALONE.first_then_others(lambda: 5) == 5


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert process_device("cuda") == "cuda"
    torchrun = {"TORCHELASTIC_RUN_ID": "run", "RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    assert process_device("cuda") == "cuda:3"
    assert process_device("cpu") == "cpu" and process_device("cuda:1") == "cuda:1"
