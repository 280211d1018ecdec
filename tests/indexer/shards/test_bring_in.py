"""Shards become photos of a library: as if it had encoded them itself, and only once."""

import os
from pathlib import Path

import pytest

from indexer.shards.plan import ShardPlan
from mkt_search import Library, encode_shards
from mkt_search.errors import CheckpointMismatch, PlanError
from mkt_search.progress import Progress
from tests.indexer.shards.planned import PHOTOS, plan_photos, rows
from tests.tiny import paint, tiny_checkpoint


@pytest.fixture
def plan(tmp_path: Path) -> ShardPlan:
    """Return a plan that is done."""
    plan = plan_photos(tmp_path)
    encode_shards(plan.folder, device="cpu")
    return plan


def lib(plan: ShardPlan) -> Path:
    return plan.folder.parent / "lib"


def test_a_library_equals_one_that_encoded_the_photos_itself(
    plan: ShardPlan, tmp_path: Path
) -> None:
    with Library.create(tmp_path / "direct") as direct:
        direct.index(plan.root, model=plan.model, device="cpu")
        expected = rows(direct)
    with Library.open(lib(plan)) as library:
        report = library.import_shards(plan.folder)
        assert (report.shards, report.indexed, report.failed) == (3, PHOTOS - 1, 1)
        assert rows(library) == expected
        assert library.search("green", k=1)[0].path.name == "0.png"
        again = library.import_shards(plan.folder)
        assert (again.indexed, again.failed, again.unchanged) == (0, 0, PHOTOS)
        summary = library.index()
        assert (summary.indexed, summary.unchanged) == (0, PHOTOS - 1)
        assert rows(library) == expected and library.verify() == []


def test_an_import_that_is_stopped_goes_on_and_shards_that_come_later_are_added(
    plan: ShardPlan,
) -> None:
    late = plan.record(2).read_bytes()
    plan.record(2).unlink()

    def stop(event: Progress) -> None:
        if event.done:
            raise KeyboardInterrupt

    with Library.open(lib(plan)) as library:
        with pytest.raises(KeyboardInterrupt):
            library.import_shards(plan.folder, progress=stop)
        some = len(list(library.photos()))
        assert 0 < some < PHOTOS
        report = library.import_shards(plan.folder)
        assert report.missing == 1 and report.unchanged == some
        plan.record(2).write_bytes(late)
        library.import_shards(plan.folder)
        assert len(list(library.photos())) == PHOTOS


def test_what_the_library_saw_later_stays(plan: ShardPlan) -> None:
    photo = plan.root / "0" / "2.png"
    paint(photo, "red")
    os.utime(photo, (2_000_000_000, 2_000_000_000))
    with Library.open(lib(plan)) as library:
        library.index(photo, model=plan.model, device="cpu")
        seen = library.photo(photo)
        library.add_tag(photo, "mine")
        library.import_shards(plan.folder)
        now = library.photo(photo)  # of a root that holds the one before
        assert (now.id, now.content, now.mtime_ns) == (seen.id, seen.content, seen.mtime_ns)
        assert [hit.path for hit in library.search("red", k=1)] == [photo]
        assert [(tag.label, tag.path) for tag in library.tags()] == [("mine", photo)]


def test_photos_may_lie_elsewhere_on_the_machine_of_the_library(
    plan: ShardPlan, tmp_path: Path
) -> None:
    moved = plan.root.rename(tmp_path / "moved")
    with Library.open(lib(plan)) as library:
        library.import_shards(plan.folder, root=moved)
        assert library.search("green", k=1)[0].path == moved / "0" / "0.png"
        assert library.index().unchanged == PHOTOS - 1


def test_a_damaged_shard_is_left_out_and_named(plan: ShardPlan) -> None:
    plan.record(1).write_text("{}")
    with Library.open(lib(plan)) as library:
        report = library.import_shards(plan.folder)
        assert report.shards == 2 and "shard 1 is damaged" in report.damaged[0]
        for shard in range(plan.shards):
            plan.record(shard).write_text("{}")
        with pytest.raises(PlanError, match="shard 0 is damaged"):
            library.import_shards(plan.folder)


def test_a_library_of_another_model_refuses_the_shards(plan: ShardPlan, tmp_path: Path) -> None:
    with Library.create(tmp_path / "other") as library:
        library.index(plan.root, model=tiny_checkpoint(tmp_path / "tiny"), device="cpu")
        before = rows(library)
        with pytest.raises(CheckpointMismatch, match="made with checkpoint"):
            library.import_shards(plan.folder)
        assert rows(library) == before


def test_a_plan_of_which_nothing_is_done_names_the_command(tmp_path: Path) -> None:
    plan = plan_photos(tmp_path)
    with Library.open(lib(plan)) as library:
        with pytest.raises(PlanError, match=r"No shard of .* is done; run `mkt encode run"):
            library.import_shards(plan.folder)
