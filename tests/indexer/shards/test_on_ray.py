"""The shards of a plan on a Ray cluster, whose machines may die.

Ray needs an environment of its own: `pip install ray` there, and run this file in it.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.shards.on_ray import NEEDS_RAY, encode_on_ray
from indexer.shards.plan import ShardPlan
from indexer.shards.shard import read_shard
from mkt_search import Library
from mkt_search.errors import CheckpointMismatch, PlanError
from tests.indexer.shards.planned import plan_photos, rows
from tests.tiny import paint, tiny_checkpoint

try:
    import ray
    from ray.cluster_utils import Cluster
except ImportError:
    ray = None  # type: ignore[assignment]

ON_RAY = pytest.mark.skipif(ray is None, reason="needs ray, in an environment of its own")
PHOTOS = 5_000


@pytest.mark.skipif(ray is not None, reason="ray is installed")
def test_without_ray_a_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    plan = plan_photos(tmp_path)
    with pytest.raises(PlanError, match="Ray is not installed"):
        encode_on_ray(plan, address="local")
    assert NEEDS_RAY.endswith("environment of its own.")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator["Cluster"]:
    """Start a cluster of two machines, which are processes here, with a processor each."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    started.add_node(num_cpus=1)
    ray.init(address=started.address, log_to_driver=False, include_dashboard=False)
    yield started
    ray.shutdown()
    started.shutdown()


@ON_RAY
@pytest.mark.soak
def test_a_killed_worker_loses_nothing(tmp_path: Path, cluster: "Cluster") -> None:
    for number in range(PHOTOS):
        colour = (number % 256, number // 256 * 12, 90)
        paint(tmp_path / "photos" / f"{number:04}.png", colour, size=(40, 40))
    plan = plan_photos(tmp_path, photos_a_shard=250)
    started = time.monotonic()
    killed = []

    def kill() -> None:
        while plan.shards - len(plan.missing()) < 3:
            time.sleep(0.05)
        pids = [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal() and b"ray::_encode" in _command(entry)
        ]
        for pid in pids[:1]:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    report = encode_on_ray(plan, address=cluster.address, device="cpu", workers=1)
    killer.join()
    assert killed and plan.missing() == []
    print(f"{plan.photos:,} photos, {plan.shards} shards, {time.monotonic() - started:.0f} s")
    assert report.shards + report.skipped == plan.shards
    listed = [item.file.path for n in range(plan.shards) for item in read_shard(plan, n).items]
    assert len(listed) == len(set(listed)) == plan.photos
    with Library.create(tmp_path / "direct") as direct:
        direct.index(plan.root, model=plan.model, device="cpu")
        expected = rows(direct)
    with Library.open(tmp_path / "lib") as library:
        library.import_shards(plan.folder)
        assert rows(library) == expected


@ON_RAY
@pytest.mark.soak
def test_an_error_of_a_worker_is_its_sentence(tmp_path: Path, cluster: "Cluster") -> None:
    plan: ShardPlan = plan_photos(tmp_path)
    with pytest.raises(CheckpointMismatch, match="was made with checkpoint"):
        encode_on_ray(
            plan,
            address=cluster.address,
            model=str(tiny_checkpoint(tmp_path / "other")),
            device="cpu",
        )


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""
