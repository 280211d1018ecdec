"""`mkt encode`: plan, run, status, slurm, import."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkt_search.commands.encode import as_ranges, parse_ranges
from mkt_search.errors import PlanError
from tests.command_line import make_photos, mkt
from tests.tiny import colour_checkpoint


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with photos, a model and an empty library."""
    make_photos(tmp_path / "photos")
    colour_checkpoint(tmp_path / "student")
    mkt("init", tmp_path)
    return tmp_path


def make_plan(home: Path, *options: str) -> Path:
    library = ("--library", home, "--model", home / "student")
    mkt("encode", "plan", home / "photos", home / "plan", "--shard-size", "3", *library, *options)
    return home / "plan"


def test_photos_are_planned_encoded_and_imported(home: Path) -> None:
    plan = make_plan(home)
    assert "0 of 3 shards done." in mkt("encode", "status", plan).stderr
    first = mkt("encode", "run", plan, "--shards", "1", "--device", "cpu", "--json")
    assert json.loads(first.stdout)["shards"] == 1
    assert "not done: 0,2" in mkt("encode", "status", plan).stderr
    partly = mkt("encode", "import", plan, "--library", home)
    assert "2 shards not done yet." in partly.stderr
    rest = mkt("encode", "run", plan, "--device", "cpu")
    assert "encoded 2 shards, 4 photos" in rest.stderr and "1 shard done before." in rest.stderr
    mkt("encode", "import", plan, "--library", home)
    again = mkt("encode", "import", plan, "--library", home)
    assert "imported 0 photos" in again.stderr and "7 unchanged." in again.stderr
    assert len(mkt("search", "red", "--library", home).stdout.splitlines()) == 5
    assert json.loads(mkt("encode", "status", plan, "--json").stdout)["missing"] == []
    assert "All shards" in mkt("encode", "slurm", plan, code=1).stderr


def test_a_slurm_script_has_a_task_for_each_shard_that_is_not_done(home: Path) -> None:
    plan = make_plan(home)
    script = mkt("encode", "slurm", plan, "--gpus", "2", "--tasks", "9").stdout
    assert "#SBATCH --array=0-2%9\n" in script and "--gpus-per-task=2" in script
    assert f'mkt encode run {plan} --shards "$SLURM_ARRAY_TASK_ID"\n' in script
    assert "gpus" not in mkt("encode", "slurm", plan, "--gpus", "0").stdout


def test_a_damaged_shard_is_an_exit_code_and_a_sentence(home: Path) -> None:
    plan = make_plan(home)
    mkt("encode", "run", plan, "--device", "cpu")
    (plan / "done" / "000001.json").write_text("{")
    result = mkt("encode", "import", plan, "--library", home, code=1)
    assert "1 shard damaged and left out." in result.stderr
    assert "mkt encode run" in result.stderr


def test_wrong_arguments_are_sentences(home: Path) -> None:
    assert "There is no plan" in mkt("encode", "run", home, code=1).stderr
    plan = make_plan(home)
    wrong = mkt("encode", "run", plan, "--shards", "first", code=1).stderr
    assert '"first" does not name shards; write them as in 0-3,7.' in wrong
    model = ("--library", home, "--model", home / "student")
    again = mkt("encode", "plan", home / "photos", plan, *model, code=1).stderr
    assert "is not empty" in again
    lost = mkt("encode", "plan", home / "none", home / "new", *model, code=1).stderr
    assert "there is no folder or photo" in lost


@given(st.sets(st.integers(0, 60)))
def test_ranges_name_the_same_shards(shards: set[int]) -> None:
    if shards:
        assert parse_ranges(as_ranges(sorted(shards))) == sorted(shards)


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "1,,2", "1-99999999999999999"])
def test_other_texts_are_no_ranges(text: str) -> None:
    with pytest.raises(PlanError, match="does not name shards"):
        parse_ranges(text)
