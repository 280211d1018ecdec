"""What a worker writes of a shard is read back, or refused when a byte of it differs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.load import Failed, Loaded
from indexer.shards.plan import ShardPlan
from indexer.shards.shard import read_shard
from mkt_search import encode_shards
from mkt_search.errors import PlanError
from tests.indexer.shards.planned import plan_photos


@pytest.fixture
def plan(tmp_path: Path) -> ShardPlan:
    """Return a plan whose first shard is done."""
    plan = plan_photos(tmp_path)
    encode_shards(plan.folder, [0], device="cpu")
    return plan


def test_a_shard_has_every_photo_once_and_its_vectors(plan: ShardPlan) -> None:
    shard = read_shard(plan, 0)
    assert [item.file.path for item in shard.items] == plan.paths(0)
    loaded = [item for item in shard.items if isinstance(item, Loaded)]
    vectors = shard.vectors([item.shard_row for item in loaded if item.shard_row is not None])
    assert len(vectors) == len(loaded)
    assert np.isfinite(vectors.global_vectors).all() and vectors.members.any()
    sizes = {item.file.path: item.file.absolute.stat().st_size for item in shard.items}
    assert {item.file.path: item.file.size for item in shard.items} == sizes


def test_copies_in_a_shard_share_a_row_and_failures_have_a_reason(tmp_path: Path) -> None:
    plan = plan_photos(tmp_path, photos_a_shard=100)
    encode_shards(plan.folder, device="cpu", batch_size=3)
    items = {item.file.path: item for item in read_shard(plan, 0).items}
    first, copy, broken = items["0/0.png"], items["0/copy.png"], items["1/broken.jpg"]
    assert isinstance(first, Loaded) and isinstance(copy, Loaded)
    assert first.shard_row == copy.shard_row
    assert isinstance(broken, Failed) and broken.reason == "text, not a photo"


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(encoding="0" * 12),
        lambda record: record["segment"].update(name="../../other.safetensors"),
        lambda record: record["segment"].update(sha256="0" * 64),
        lambda record: record.update(segment=None),
        lambda record: record["photos"][0].update(path="../out.png"),
        lambda record: record["photos"][0].update(content="00"),
        lambda record: record["photos"][0].update(row=999),
        lambda record: record["photos"][0].update(row=1),
        lambda record: record["photos"][0].update(size="large"),
        lambda record: record["photos"][0].update(facts={"width": 3}),
        lambda record: record["photos"][0].update(miniature="no base64!"),
        lambda record: record.update(photos=7),
    ],
)
def test_a_record_that_was_changed_is_refused_with_the_way_out(
    plan: ShardPlan, change: Any
) -> None:
    file = plan.record(0)
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))
    with pytest.raises(PlanError, match=r"000000\.json: shard 0 is damaged .* run `mkt encode run"):
        read_shard(plan, 0)


def test_a_segment_that_was_changed_is_refused(plan: ShardPlan) -> None:
    (segment,) = plan.segments.iterdir()
    data = bytearray(segment.read_bytes())
    data[-5] ^= 1
    segment.write_bytes(data)
    with pytest.raises(PlanError, match=r"the bytes of .* have changed"):
        read_shard(plan, 0)
    segment.unlink()
    with pytest.raises(PlanError, match="shard 0 is damaged"):
        read_shard(plan, 0)
