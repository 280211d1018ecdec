"""A plan in a folder: written whole, read with care."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.shards.plan import FILE, LISTS, ShardPlan, is_inside, read_plan, write_plan
from mkt_search.errors import PlanError
from mkt_search.paths import path_to_text
from tests.indexer.indexed import ENCODING


def write(folder: Path, count: int = 5, size: int = 2) -> ShardPlan:
    paths = [f"a b/{number}.jpg" for number in range(count)]
    root = folder.parent / "photos"
    return write_plan(folder, paths, root=root, model="m", encoding=ENCODING, photos_a_shard=size)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = write(tmp_path / "plan")
    assert read_plan(tmp_path / "plan") == plan
    assert (plan.photos, plan.shards) == (5, 3)
    assert plan.paths(2) == ["a b/4.jpg"]
    assert plan.missing() == [0, 1, 2]
    plan.record(1).write_text("{}")
    assert plan.missing() == [0, 2] and plan.is_done(1)


def test_only_photos_that_are_here_are_files_of_a_shard(tmp_path: Path) -> None:
    plan = write(tmp_path / "plan").at(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "a b").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a b" / "1.jpg").write_bytes(b"12345")
    (file,) = plan.files(0)
    assert (file.path, file.size) == ("a b/1.jpg", 5)


def test_a_plan_goes_to_a_new_folder_and_has_photos(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "mine.txt").write_text("mine")
    with pytest.raises(PlanError, match="not empty"):
        write(tmp_path / "old")
    with pytest.raises(PlanError, match="nothing to encode"):
        write(tmp_path / "plan", count=0)
    assert not (tmp_path / "plan").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "another version"),
        ({"shards": 0}, "damaged"),
        ({"shards": 10**9}, "damaged"),
        ({"encoding": None}, "damaged"),
        ({"root": 7}, "damaged"),
    ],
)
def test_a_damaged_plan_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    file = write(tmp_path / "plan").folder / FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PlanError, match=message):
        read_plan(tmp_path / "plan")


def test_a_folder_without_a_plan_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="Make one with `mkt encode plan`"):
        read_plan(tmp_path)
    (tmp_path / FILE).write_text("[" * 100_000)
    with pytest.raises(PlanError, match="damaged"):
        read_plan(tmp_path)


@pytest.mark.parametrize("path", ["../secret.jpg", "/etc/passwd", "a/../../b", "", 7, "a\0b"])
def test_no_path_of_a_list_leads_out_of_the_folder(tmp_path: Path, path: object) -> None:
    plan = write(tmp_path / "plan")
    (plan.folder / LISTS / "000000.json").write_text(json.dumps([path]))
    with pytest.raises(PlanError, match="inside the folder"):
        plan.paths(0)
    with pytest.raises(PlanError, match="no shard 3; its shards are 0 to 2"):
        plan.paths(3)


@given(st.lists(st.binary(min_size=1).filter(lambda name: not {0, 47} & set(name)), min_size=1))
def test_every_name_that_a_file_may_have_is_inside(names: list[bytes]) -> None:
    text = path_to_text(b"/".join(names))
    assert is_inside(text) == (b".." not in names and names != [b"."] * len(names))
