"""Plans list what a library lacks, as `mkt index` would load it."""

from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.errors import PlanError
from tests.indexer.shards.planned import PHOTOS, SHARD, paint_photos, plan_photos
from tests.tiny import colour_checkpoint, paint


def test_all_photos_of_a_new_library_are_planned_and_the_library_stays_empty(
    tmp_path: Path,
) -> None:
    plan = plan_photos(tmp_path)
    assert (plan.photos, plan.shards) == (PHOTOS, -(-PHOTOS // SHARD))
    listed = [path for shard in range(plan.shards) for path in plan.paths(shard)]
    found = [file for file in (tmp_path / "photos").rglob("*.*")]
    assert sorted(listed) == sorted(str(file.relative_to(tmp_path / "photos")) for file in found)
    with Library.open(tmp_path / "lib") as library:
        assert library.runs() == [] and len(library) == 0


def test_only_new_photos_are_planned(tmp_path: Path) -> None:
    folder = paint_photos(tmp_path)
    with Library.create(tmp_path / "lib") as library:
        library.index(folder, model=colour_checkpoint(tmp_path / "model"), device="cpu")
        with pytest.raises(PlanError, match="nothing to encode"):
            library.plan_shards(folder, tmp_path / "plan")
        paint(folder / "1" / "new.png", "red")
        plan = library.plan_shards(folder / "1", tmp_path / "plan")
    assert plan.root == folder and plan.paths(0) == ["1/new.png"]


def test_a_listing_takes_the_place_of_a_walk(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("1/3.png\n0/2.png\n")
    plan = plan_photos(tmp_path, listing=tmp_path / "list.txt")
    assert plan.paths(0) == ["1/3.png", "0/2.png"]


def test_a_listed_path_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("../secret.jpg\n")
    with pytest.raises(PlanError, match=r"\.\./secret\.jpg"):
        plan_photos(tmp_path, listing=tmp_path / "list.txt")
