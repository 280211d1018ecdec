"""Workers encode the shards of a plan: each once, and again after a kill."""

from pathlib import Path

import pytest

from indexer.shards.encode import encode_shards
from indexer.shards.plan import ShardPlan
from mkt_search.errors import CheckpointMismatch, PlanError
from mkt_search.locks import hold
from mkt_search.progress import Progress
from tests.indexer.shards.planned import PHOTOS, plan_photos
from tests.tiny import tiny_checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ShardPlan:
    return plan_photos(tmp_path_factory.mktemp("home"))


@pytest.fixture
def plan(made: ShardPlan) -> ShardPlan:
    """Return a plan of which nothing is done."""
    for shard in range(made.shards):
        made.record(shard).unlink(missing_ok=True)
    return made


def test_a_worker_encodes_what_nobody_has(plan: ShardPlan) -> None:
    first = encode_shards(plan, [1], device="cpu")
    rest = encode_shards(plan, device="cpu")
    assert (first.shards, rest.shards, rest.skipped) == (1, 2, 1)
    assert first.photos + rest.photos == PHOTOS and first.failed + rest.failed == 1
    assert encode_shards(plan, device="cpu").shards == 0
    assert plan.missing() == []


def test_a_shard_that_another_worker_encodes_is_left_to_it(plan: ShardPlan) -> None:
    with hold(plan.lock(0), "mkt encode run"):
        report = encode_shards(plan, device="cpu")
    assert (report.shards, report.busy, plan.missing()) == (2, 1, [0])


def test_a_worker_that_is_stopped_loses_at_most_a_shard(plan: ShardPlan) -> None:
    def stop(event: Progress) -> None:
        if event.done > PHOTOS // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_shards(plan, device="cpu", batch_size=1, progress=stop)
    assert plan.missing() == [1, 2]
    assert encode_shards(plan, device="cpu").shards == 2


def test_photos_that_have_gone_are_counted(plan: ShardPlan, tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    report = encode_shards(plan.at(tmp_path), [0], device="cpu")
    assert (report.shards, report.photos, report.gone) == (1, 0, len(plan.paths(0)))


def test_the_photos_and_the_model_must_be_those_of_the_plan(
    plan: ShardPlan, tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match="say where the photos are with --root"):
        encode_shards(plan.at(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlanError, match="is not on this machine, or is empty"):
        encode_shards(plan.at(tmp_path / "empty"))
    with pytest.raises(CheckpointMismatch, match="was made with checkpoint"):
        encode_shards(plan, model=str(tiny_checkpoint(tmp_path / "other")), device="cpu")
    with pytest.raises(PlanError, match="has no shard 7"):
        encode_shards(plan, [7])
    assert plan.missing() == [0, 1, 2]
