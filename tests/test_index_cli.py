"""`mkt index` and `mkt repair` as a person meets them: words, flags, exit codes."""

import json
import os
import re
from pathlib import Path

import click
import pytest

from indexer.show import Lines, duration, tell
from mkt_search.config import find_setting
from mkt_search.library import Library
from mkt_search.types import Summary
from tests.command_line import mkt
from tests.tiny import COLOURS, colour_checkpoint, paint, tiny_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_checkpoint(folder / "tiny")
    colour_checkpoint(folder / "colour")
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder a person works in: a library, and eight photos in `photos`."""
    for name in COLOURS:
        paint(tmp_path / "photos" / f"{name}.png", name)
    mkt("init", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_photos_are_indexed_and_counted_in_a_sentence(home: Path, models: Path) -> None:
    (home / "photos" / "copy.png").write_bytes((home / "photos" / "red.png").read_bytes())
    (home / "photos" / "bad.jpg").write_bytes(b"")
    (home / "photos" / "notes.txt").write_text("milk")
    result = mkt("index", "photos", "--model", models / "tiny")
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert re.fullmatch(r"indexed 9 photos \(1 copy\) in .* s; 1 failed\.", lines[0])
    assert lines[1:] == [
        "1 failed; see them with `mkt status --failed`:",
        "       1  empty file (0 bytes)",
        "left out: 1 x not a photo.",
    ]


def test_the_second_time_nothing_needs_to_be_named(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny", "--m", "3", "--precision", "fp16")
    paint(home / "photos" / "new.png", (1, 2, 3))
    result = mkt("index")
    assert re.match(r"indexed 1 photo in .* s; 8 unchanged\.", result.stderr)
    with Library.open(home) as library:
        encoding = library.status().encoding
    assert encoding is not None and (encoding.m, encoding.precision) == (3, "fp16")


def test_renamed_and_missing_photos_are_told(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny")
    (home / "photos" / "red.png").rename(home / "photos" / "rouge.png")
    (home / "photos" / "blue.png").unlink()
    result = mkt("index", "photos", "--dry-run")
    assert result.stderr.splitlines() == [
        "would index 1 photo (1 renamed); 6 unchanged.",
        "would be marked missing: 1 photo; `mkt prune` forgets them.",
        "Nothing was changed.",
    ]
    lines = mkt("index", "photos").stderr.splitlines()
    assert re.fullmatch(r"indexed 1 photo \(1 renamed\) in .* s; 6 unchanged\.", lines[0])
    assert lines[1] == "marked missing: 1 photo; `mkt prune` forgets them."


def test_json_is_the_summary_on_stdout(home: Path, models: Path) -> None:
    (home / "photos" / "bad.jpg").write_bytes(b"")
    result = mkt("index", "photos", "--model", models / "tiny", "--json")
    summary = json.loads(result.stdout)
    assert (summary["indexed"], summary["failed"]) == (8, 1)
    assert summary["reasons"] == {"empty file (0 bytes)": 1}


def test_a_dry_run_writes_nothing(home: Path, models: Path) -> None:
    result = mkt("index", "photos", "--model", models / "tiny", "--dry-run")
    assert result.stderr.startswith("would index 8 photos.")
    with Library.open(home) as library:
        assert len(library) == 0 and library.runs() == [] and library.status().roots == []


def test_a_model_must_be_named_once(home: Path) -> None:
    result = mkt("index", "photos", code=1)
    assert result.stderr.startswith("Error: name the model") and "--model" in result.stderr


@pytest.mark.parametrize("model", ["nowhere", "photos"])
def test_a_model_that_is_none_is_refused(home: Path, model: str) -> None:
    assert mkt("index", "photos", "--model", model, code=1).stderr.startswith("Error: ")


def test_a_folder_that_is_not_there_is_refused(home: Path, models: Path) -> None:
    result = mkt("index", "phtos", "--model", models / "tiny", code=1)
    assert result.stderr == "Error: there is no folder or photo phtos\n"


def test_another_model_is_refused_until_rebuild(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny")
    for command in (["index", "photos"], ["index", "photos", "--dry-run"]):
        result = mkt(*command, "--model", models / "colour", code=1)
        assert "--rebuild" in result.stderr
    mkt("index", "--rebuild", "--model", models / "colour", "--m", "4")
    with Library.open(home) as library:
        status = library.status()
        assert status.encoding is not None and status.encoding.m == 4
        assert status.model == str(models / "colour")
        assert library.search("red", k=1)[0].path == home / "photos" / "red.png"


def test_the_model_is_found_again_from_another_folder(
    home: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.chdir(models)
    mkt("index", home / "photos", "--model", "tiny", "--library", home)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "8 unchanged" in mkt("index", "--library", home).stderr


@pytest.mark.parametrize("local", ["kset", "centroids", "topk", "all"])
@pytest.mark.parametrize("scale", ["cosine", "vocabulary"])
def test_every_kind_and_scale_can_be_searched(
    home: Path, models: Path, local: str, scale: str
) -> None:
    mkt("index", "photos", "--model", models / "colour", "--local", local, "--scale", scale)
    with Library.open(home) as library:
        encoding = library.status().encoding
        assert encoding is not None and (encoding.local, encoding.scale) == (local, scale)
        assert (encoding.m, bool(encoding.vocabulary)) == (16, scale == "vocabulary")
        assert library.search("blue - red", k=1)[0].path.name == "blue.png"
    assert "8 unchanged" in mkt("index").stderr


def test_the_vocabulary_may_come_from_a_file(home: Path, models: Path) -> None:
    (home / "labels.txt").write_text("red\nblue\n")
    options = ["--scale", "vocabulary", "--vocabulary", "labels.txt"]
    mkt("index", "photos", "--model", models / "colour", *options)
    assert "8 unchanged" in mkt("index", *options).stderr
    (home / "labels.txt").write_text("red\ngreen\n")
    assert "--rebuild" in mkt("index", *options, code=1).stderr
    assert "8 unchanged" in mkt("index").stderr  # the library keeps the vectors of its own
    (home / "labels.txt").write_text("red\nzebra\n")
    assert "zebra" in mkt("index", *options, code=1).stderr


def test_settings_come_from_the_file_and_flags_win(home: Path, models: Path) -> None:
    (home / "mkt.toml").write_text(
        f'[model]\ncheckpoint = "{models / "tiny"}"\n[index]\nm = 5\nprecision = "int4"\n'
    )
    mkt("index", "photos", "--m", "6")
    with Library.open(home) as library:
        encoding = library.status().encoding
    assert encoding is not None and (encoding.m, encoding.precision) == (6, "int4")


def test_a_photo_too_large_for_the_limit_is_taken_in_with_another(home: Path, models: Path) -> None:
    result = mkt("index", "photos", "--model", models / "tiny", "--max-pixels", "1000")
    assert "8 failed" in result.stderr and "128 x 128" in result.stderr
    assert "8 x failed before (--retry takes them in)" in mkt("index").stderr
    assert "indexed 8 photos" in mkt("index", "--retry").stderr


def test_hidden_folders_are_counted_and_can_be_taken_in(home: Path, models: Path) -> None:
    paint(home / "photos" / ".private" / "x.png", (7, 7, 7))
    result = mkt("index", "photos", "--model", models / "tiny")
    assert "left out: 1 x hidden folder (--hidden takes them in)." in result.stderr
    assert "indexed 1 photo" in mkt("index", "photos", "--hidden").stderr


def test_a_name_cannot_steer_the_terminal(
    home: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "photos" / "\x1b[2Jfolder").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if "folder" in str(path):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = mkt("index", "photos", "--model", models / "tiny")
    assert "\x1b" not in result.stderr and "permission denied" in result.stderr


def test_repair_mends_what_verify_found(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny")
    assert mkt("repair").stderr == "nothing to repair: every photo has its vectors.\n"
    (segment,) = (home / ".mkt" / "segments").iterdir()
    segment.write_bytes(segment.read_bytes()[:-1])
    assert mkt("verify", code=1).output
    lines = mkt("repair").stderr.splitlines()
    assert re.fullmatch(r"encoded 8 photos again in .* s; 1 damaged segment let go\.", lines[0])
    mkt("verify")


def test_repair_refuses_another_model(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny")
    next((home / ".mkt" / "segments").iterdir()).unlink()
    result = mkt("repair", "--model", models / "colour", code=1)
    assert "name the first with --model" in result.stderr
    mkt("repair")
    mkt("verify")


@pytest.mark.parametrize("command", ["index", "repair"])
def test_help_says_what_every_option_does(command: str) -> None:
    said = mkt(command, "--help").stdout
    assert "--batch-size" in said and "mkt.toml: index.batch_size" in said


def test_lines_tell_rate_time_left_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("indexer.show.time.monotonic", lambda: now)
    said: list[str] = []
    lines = Lines(said.append)
    lines.begin(1000, before=50)
    now += 1
    lines.advance(32, failed=0)
    assert said == []
    now += 9
    lines.advance(68, failed=2)
    assert said == ["100 of 1,000 photos, 10.0/s, 1 min 30 s left, 2 failed"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (8.2, "8 s"), (192, "3 min 12 s"), (7500, "2 h 5 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_summary_with_everything_in_it() -> None:
    said: list[str] = []
    summary = Summary(
        indexed=12395,
        unchanged=9,
        renamed=1,
        duplicates=3,
        failed=2,
        missing=4,
        reasons={"truncated JPEG": 2},
        seconds=192,
    )
    tell(summary, said.append)
    assert said == [
        "indexed 12,395 photos (1 renamed, 3 copies) in 3 min 12 s; 2 failed, 9 unchanged.",
        "marked missing: 4 photos; `mkt prune` forgets them.",
        "2 failed; see them with `mkt status --failed`:",
        "       2  truncated JPEG",
    ]


@pytest.mark.parametrize("name", ["model.checkpoint", "index.hidden", "index.max_pixels"])
def test_help_of_a_setting_is_the_same_in_every_command(name: str) -> None:
    from indexer.cli import index

    helps = [option.help for option in index.params if isinstance(option, click.Option)]
    assert find_setting(name).help in helps


def test_folder_that_moved_away_is_told_how_to_say_so(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "colour")
    (home / "photos").rename(home / "moved")
    assert "mkt root OLD NEW" in mkt("index", code=1).stderr
