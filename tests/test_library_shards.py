"""Shards on several processes: workers and importers may be killed at any time."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from mkt_search import Library, encode_shards, read_plan
from mkt_search.errors import PlanError
from tests.index_process import Commands
from tests.indexer.shards.planned import plan_photos, rows
from tests.tiny import paint

FEW_KILLS, MANY_KILLS = 2, 100


def test_the_public_functions_take_paths_as_text(tmp_path: Path) -> None:
    plan_photos(tmp_path)
    plan = read_plan(str(tmp_path / "plan"), root=str(tmp_path))
    assert plan.root == tmp_path
    report = encode_shards(str(tmp_path / "plan"), model=str(tmp_path / "model"), device="cpu")
    assert report.shards == 3
    with pytest.raises(PlanError, match="There is no plan"):
        read_plan(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize(
    "kills", [FEW_KILLS, pytest.param(MANY_KILLS, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_two_workers_and_an_importer_that_are_killed_lose_and_double_nothing(
    tmp_path: Path, kills: int
) -> None:
    for number in range(100):
        paint(tmp_path / "photos" / f"{number:03}.png", (2 * number, 90, 255 - 2 * number))
    plan = plan_photos(tmp_path, photos_a_shard=6)
    assert plan.shards >= 18
    with Library.create(tmp_path / "direct") as direct:
        direct.index(plan.root, model=plan.model, device="cpu")
        expected = rows(direct)
    choices = random.Random(0)
    log = tmp_path / "log"
    run = ["encode", "run", str(plan.folder), "--device", "cpu", "--batch-size", "2"]
    bring_in = ["encode", "import", str(plan.folder), "--library", str(tmp_path / "lib")]
    with Commands() as commands:
        for _ in range(kills):
            workers = [commands.start(run, log) for _ in range(2)]
            time.sleep(choices.uniform(0, 1.5))
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            for worker in workers:
                commands.wait(worker)
            commands.kill_after(choices.uniform(0, 1.5), bring_in, log)
        assert commands.run(run, log) == 0, log.read_text()
        assert plan.missing() == []
        commands.kill_after(choices.uniform(0, 1.0), bring_in, log)
        assert commands.run(bring_in, log) == 0, log.read_text()
    with Library.open(tmp_path / "lib") as library:
        assert rows(library) == expected and library.verify() == []
