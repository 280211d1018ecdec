"""`mkt index`: words, flags, exit codes."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import delete, select

from mkt_search.commands.index import sentences, stopped
from mkt_search.library import Library
from mkt_search.progress import Progress
from mkt_search.store.sql.database import transaction
from mkt_search.store.sql.schema import EncodingRow, SegmentRow, VectorRow
from mkt_search.types import Encoding, Pooling, Summary
from tests.command_line import columns, mkt
from tests.hub import Hub, local_hub
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
        "left out: 1 x not a photo; `mkt status --left-out` lists them.",
    ]


def test_the_second_time_nothing_needs_to_be_named(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny", "--m", "3", "--precision", "int4")
    paint(home / "photos" / "new.png", (1, 2, 3))
    result = mkt("index")
    assert re.match(r"indexed 1 photo in .* s; 8 unchanged\.", result.stderr)
    with Library.open(home) as library:
        encoding = library.status().encoding
    assert encoding is not None and (encoding.m, encoding.precision) == (3, "int4")


def test_renamed_and_missing_photos_are_told(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny")
    (home / "photos" / "red.png").rename(home / "photos" / "rouge.png")
    (home / "photos" / "blue.png").unlink()
    result = mkt("index", "photos", "--dry-run")
    assert result.stderr.splitlines() == [
        "would index 1 photo (1 renamed); 6 unchanged.",
        "would be marked missing: 1 photo; `mkt prune` removes them from the library.",
        "Nothing was changed.",
    ]
    lines = mkt("index", "photos").stderr.splitlines()
    assert re.fullmatch(r"indexed 1 photo \(1 renamed\) in .* s; 6 unchanged\.", lines[0])
    assert lines[1] == "marked missing: 1 photo; `mkt prune` removes them from the library."


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


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine without weights, and an empty cache."""
    with local_hub(tmp_path / "cache", monkeypatch) as served:
        yield served


def test_a_new_library_takes_the_default_model_and_says_what_it_downloads(
    home: Path, hub: Hub
) -> None:
    repository = "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K"
    file = f"{repository}/open_clip_model.safetensors"
    hub.files[file] = bytes(3_000_000)
    hub.damaged.add(file)  # so that no model of this size is built
    result = mkt("index", "photos", code=1)
    first, last = result.stderr.splitlines()
    assert first.startswith("downloading ViT-B-16/datacomp_xl_s13b_b90k: 3 MB from http")
    assert first.endswith(f"/{repository} (license: MIT)")
    assert last.startswith("Error: the download of ViT-B-16/datacomp_xl_s13b_b90k was damaged")


def test_offline_refuses_a_download_with_the_way_out(home: Path, hub: Hub) -> None:
    result = mkt("index", "photos", "--offline", code=1)
    assert "ViT-B-16/datacomp_xl_s13b_b90k, 598 MB, are not on this machine" in result.stderr
    assert "--offline forbids the download" in result.stderr
    assert "use ViT-B-16/PATH/TO/FILE" in result.stderr
    assert len(result.stderr.splitlines()) == 1 and hub.ranges == []


@pytest.mark.usefixtures("hub")
def test_offline_indexes_with_a_model_that_is_here(home: Path, models: Path) -> None:
    assert "indexed 8" in mkt("index", "photos", "--model", models / "tiny", "--offline").stderr


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


def encoding_of(home: Path) -> Encoding:
    with Library.open(home) as library:
        encoding = library.status().encoding
    assert encoding is not None
    return encoding


OTHERS = {"pooling": "topk", "m": 5, "top_k": 2, "precision": "int4"}
FLAGS = [f"--{key.replace('_', '-')}={value}" for key, value in OTHERS.items()]


def made_otherwise(home: Path, models: Path) -> Path:
    """A library in which no setting of the vectors is the default, and whose file sets none."""
    mkt("index", "photos", "--model", models / "colour", *FLAGS)
    paint(home / "photos" / "new.png", (1, 2, 3))
    return home


def test_a_library_goes_on_as_it_was_made_whatever_the_defaults_are(
    home: Path, models: Path
) -> None:
    made_otherwise(home, models)
    before = encoding_of(home)
    assert {key: getattr(before, key) for key in OTHERS} == OTHERS
    said = mkt("index").stderr
    assert re.match(r"indexed 1 photo in .* s; 8 unchanged\.", said)
    assert encoding_of(home) == before


@pytest.mark.parametrize(
    ("key", "value"), [("pooling", "cover"), ("m", "16"), ("precision", "int8")]
)
@pytest.mark.parametrize("way", ["flag", "environment", "file"])
def test_another_setting_that_is_given_is_refused_even_if_it_is_the_default(
    home: Path, models: Path, key: str, value: str, way: str
) -> None:
    made_otherwise(home, models)
    before = encoding_of(home)
    flags = [f"--{key}", value] if way == "flag" else []
    env = {f"MKT_INDEX_{key}".upper(): value} if way == "environment" else {}
    if way == "file":
        written = value if value.isdigit() else f'"{value}"'
        (home / "mkt.toml").write_text(f"[index]\n{key} = {written}\n")
    said = mkt("index", *flags, env=env, code=1).stderr
    assert said.count("\n") == 1 and "--rebuild" in said
    assert f"{key} {OTHERS[key]} -> {value}" in said
    assert encoding_of(home) == before


def test_a_rebuild_takes_the_defaults_and_says_so(home: Path, models: Path) -> None:
    made_otherwise(home, models)
    wanted = (
        "the rebuild takes the default where nothing is given: pooling topk -> cover, m 5 -> 16, "
        "top_k 2 -> 1, precision int4 -> int8; keep it with "
        "--pooling topk --m 5 --top-k 2 --precision int4"
    )
    assert mkt("index", "--rebuild", "--dry-run").stderr.splitlines()[0] == wanted
    assert encoding_of(home).pooling == "topk"
    assert mkt("index", "--rebuild").stderr.splitlines()[0] == wanted
    new = encoding_of(home)
    assert (new.pooling, new.m, new.top_k, new.precision) == ("cover", 16, 1, "int8")
    with Library.open(home) as library:
        assert library.search("red", k=1)[0].path == home / "photos" / "red.png"
    assert "the default" not in mkt("index", "--rebuild").stderr


def test_a_rebuild_keeps_what_is_given(home: Path, models: Path) -> None:
    made_otherwise(home, models)
    (home / "mkt.toml").write_text("[index]\nm = 5\n")
    env = {"MKT_INDEX_POOLING": "topk"}
    said = mkt("index", "--rebuild", "--top-k", "2", env=env).stderr
    assert said.splitlines()[0].endswith(": precision int4 -> int8; keep it with --precision int4")
    new = encoding_of(home)
    assert {key: getattr(new, key) for key in OTHERS} == OTHERS | {"precision": "int8"}


def test_the_patches_averaged_are_those_of_another_model(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "tiny")
    said = mkt("index", "--rebuild", "--model", models / "colour").stderr
    assert "the default" not in said and encoding_of(home).top_k == 1


def test_a_rebuild_that_was_stopped_goes_on_as_it_began(home: Path, models: Path) -> None:
    made_otherwise(home, models)
    mkt("index", "photos/red.png", "--rebuild", "--pooling", "cover", "--m", "3")
    assert encoding_of(home).pooling == "topk"
    for command in (["index", "photos/blue.png", "--rebuild"], ["index"]):
        assert "the default" not in mkt(*command).stderr
    new = encoding_of(home)
    assert (new.pooling, new.m, new.precision) == ("cover", 3, "int8")


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
    assert "8 x failed before (--retry includes them)" in mkt("index").stderr
    assert "indexed 8 photos" in mkt("index", "--retry").stderr


def test_hidden_folders_are_counted_and_can_be_taken_in(home: Path, models: Path) -> None:
    paint(home / "photos" / ".private" / "x.png", (7, 7, 7))
    result = mkt("index", "photos", "--model", models / "tiny")
    assert "left out: 1 x hidden folder (--hidden includes them);" in result.stderr
    assert "indexed 1 photo" in mkt("index", "photos", "--hidden").stderr


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_links_out_of_the_folder_are_counted_and_can_be_taken_in(
    home: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = paint(tmp_path_factory.mktemp("outside") / "x.png", (7, 7, 7))
    (home / "photos" / "link").symlink_to(outside.parent)
    result = mkt("index", "photos", "--model", models / "tiny")
    assert "left out: 1 x link out of the folder (--follow-links includes them);" in result.stderr
    assert columns(mkt("status", "--left-out")) == [
        [str(home / "photos" / "link"), "link out of the folder"]
    ]
    assert "indexed 1 photo" in mkt("index", "photos", "--follow-links").stderr


def test_patterns_leave_out_files_and_folders(home: Path, models: Path) -> None:
    paint(home / "photos" / "export" / "x.png", (7, 7, 7))
    (home / "photos" / ".mktignore").write_text("red*\n")
    given = ("index", "photos", "--exclude", "export/", "--exclude", "blue.*")
    result = mkt(*given, "--model", models / "tiny")
    assert result.stderr.startswith("indexed 6 photos in ")
    assert "2 x excluded by --exclude, 1 x excluded by .mktignore, 1 x not a photo" in result.stderr
    reasons = {Path(path).name: reason for path, reason in columns(mkt("status", "--left-out"))}
    assert reasons.pop(".mktignore") == "not a photo"
    assert reasons == {
        "export": "excluded by --exclude",
        "blue.png": "excluded by --exclude",
        "red.png": "excluded by .mktignore",
    }
    assert "--exclude: " in mkt("index", "photos", "--exclude", "!", code=1).stderr


def test_edits_that_keep_size_and_time_are_found_when_asked_for(home: Path, models: Path) -> None:
    photo = paint(home / "photos" / "x.bmp", "red")
    mkt("index", "photos", "--model", models / "tiny")
    before = photo.stat()
    paint(photo, (7, 7, 7))
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert mkt("index").stderr.startswith("indexed 0 photos in ")
    assert (
        "would index 1 photo; 8 unchanged." in mkt("index", "--check-content", "--dry-run").stderr
    )
    result = mkt("index", "--check-content")
    assert re.match(r"indexed 1 photo in .* s; 8 unchanged\.", result.stderr)


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


def test_a_summary_with_everything_in_it() -> None:
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
    assert list(sentences(summary)) == [
        "indexed 12,395 photos (1 renamed, 3 copies) in 3 min 12 s; 2 failed, 9 unchanged.",
        "marked missing: 4 photos; `mkt prune` removes them from the library.",
        "2 failed; see them with `mkt status --failed`:",
        "       2  truncated JPEG",
    ]


def test_folder_that_moved_away_is_told_how_to_say_so(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "colour")
    (home / "photos").rename(home / "moved")
    assert "mkt root OLD NEW" in mkt("index", code=1).stderr


def test_a_run_that_is_stopped_says_what_is_in_the_library() -> None:
    assert stopped(Progress("indexing photos", 40, 100, failed=3)) == (
        "stopped: 37 of 100 photos are in the library; run the same command to continue"
    )
    assert "run the same command" in stopped(Progress("measuring recall", 40, 100))


def test_a_new_library_takes_the_folder_that_it_is_in(home: Path, models: Path) -> None:
    assert "indexed 8 photos" in mkt("index", "--model", models / "tiny").stderr
    paint(home / "photos" / "new.png", (1, 2, 3))
    assert "indexed 1 photo" in mkt("index").stderr
    with Library.open(home) as library:
        assert [root.path for root in library.status().roots] == [home]


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_every_kind_can_be_searched(home: Path, models: Path, pooling: str) -> None:
    mkt("index", "photos", "--model", models / "colour", "--pooling", pooling)
    encoding = encoding_of(home)
    assert (encoding.pooling, encoding.m) == (pooling, 16)
    assert encoding.precision == ("fp16" if pooling == "all" else "int8")
    with Library.open(home) as library:
        assert library.search("blue - red", k=1)[0].path.name == "blue.png"
    assert "8 unchanged" in mkt("index").stderr


def test_every_patch_is_stored_in_float16_and_another_precision_is_refused(
    home: Path, models: Path
) -> None:
    command = ["index", "photos", "--model", models / "tiny", "--pooling", "all"]
    assert mkt(*command, "--precision", "int8", code=1).stderr == (
        "Error: every patch is stored as float16, not int8: leave out precision, or choose `cover` "
        "or `topk`\n"
    )
    mkt(*command)
    assert "float16" in mkt("index", "--precision", "int4", code=1).stderr
    assert "8 unchanged" in mkt("index").stderr


def test_a_library_with_every_patch_in_another_precision_goes_on(home: Path, models: Path) -> None:
    mkt("index", "photos/red.png", "--model", models / "tiny", "--pooling", "all")
    with Library.open(home) as library, transaction(library.store.catalog.engine) as session:
        row = session.scalars(select(EncodingRow)).one()
        row.settings = {**row.settings, "precision": "int8"}
        session.execute(delete(VectorRow))
        session.execute(delete(SegmentRow))
    mkt("index", "photos", "--precision", "int8")
    assert encoding_of(home).precision == "int8"
    mkt("index", "--rebuild", "--pooling", "all")
    assert encoding_of(home).precision == "fp16"


def retire(home: Path, state: str, **settings: str) -> None:
    """Let the encodings of a state be of another form, as an earlier version made them."""
    with Library.open(home) as library, transaction(library.store.catalog.engine) as session:
        for row in session.scalars(select(EncodingRow).where(EncodingRow.state == state)):
            row.settings = {**row.settings, **settings}


RETIRED: list[dict[str, str]] = [
    {"local": "kset"},
    {"local": "centroids"},
    {"local": "ward"},
    {"precision": "fp16"},
    {"scale": "vocabulary", "vocabulary": "0123456789ab"},
]


@pytest.mark.parametrize(
    "form",
    [RETIRED[0], *(pytest.param(form, marks=pytest.mark.slow) for form in RETIRED[1:])],
    ids=str,
)
def test_a_retired_form_is_refused_until_rebuild(
    home: Path, models: Path, form: dict[str, str]
) -> None:
    mkt("index", "photos", "--model", models / "colour", "--m", "5")
    (home / "labels.txt").write_text("red\nblue\n")
    mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    mkt("tag", "photos/red.png", "--add", "mine")
    before = mkt("tags", "--json").stdout
    retire(home, "active", **form)
    for command in (
        ["search", "red"],
        ["tag", "--vocabulary", "labels.txt", "--top", "1"],
        ["index"],
        ["index", "--dry-run"],
        ["repair"],
        ["optimize"],
    ):
        said = mkt(*command, code=1).stderr
        assert said.count("\n") == 1 and "run `mkt index --rebuild`" in said
    assert mkt("tags", "--json").stdout == before
    mkt("status")
    mkt("verify")
    assert mkt("index", "--rebuild", "--dry-run").stderr.splitlines()[0] == (
        "the rebuild takes the default where nothing is given: m 5 -> 16; keep it with --m 5"
    )
    mkt("index", "--rebuild", "--m", "5")
    assert (encoding_of(home).pooling, encoding_of(home).precision) == ("cover", "int8")
    assert mkt("tags", "--json").stdout == before
    assert json.loads(mkt("search", "red", "-k", "1", "--json").stdout)[0]["path"].endswith(
        "red.png"
    )
    mkt("untag", "--run", "2")
    mkt("verify")


@pytest.mark.slow
@pytest.mark.parametrize("form", RETIRED, ids=str)
@pytest.mark.parametrize("is_active_retired", [True, False])
def test_a_half_finished_rebuild_in_a_retired_form_is_replaced(
    home: Path, models: Path, form: dict[str, str], is_active_retired: bool
) -> None:
    mkt("index", "photos", "--model", models / "colour", "--pooling", "topk")
    mkt("index", "photos/red.png", "--rebuild")
    retire(home, "building", **form)
    if is_active_retired:
        retire(home, "active", local="kset")
        assert "run `mkt index --rebuild`" in mkt("index", code=1).stderr
    else:
        assert "8 unchanged" in mkt("index").stderr
        assert encoding_of(home).pooling == "topk"
    mkt("status")
    mkt("verify")
    assert "indexed 8 photos" in mkt("index", "--rebuild").stderr
    assert encoding_of(home).pooling == "cover"
    with Library.open(home) as library:
        assert len(library.store.encodings()) == 1
        assert library.search("red", k=1)[0].path.name == "red.png"
    mkt("verify")


def test_a_rebuild_under_way_is_finished_beside_a_retired_form(home: Path, models: Path) -> None:
    mkt("index", "photos", "--model", models / "colour")
    mkt("index", "photos/red.png", "--rebuild", "--m", "3")
    retire(home, "active", local="kset")
    assert "run `mkt index --rebuild`" in mkt("search", "red", code=1).stderr
    assert "indexed 7 photos" in mkt("index").stderr
    assert (encoding_of(home).pooling, encoding_of(home).m) == ("cover", 3)


@pytest.mark.parametrize("old", ["all", "topk"])
def test_no_number_is_told_where_every_patch_is_kept(home: Path, models: Path, old: str) -> None:
    new = {"all": "topk", "topk": "all"}[old]
    mkt("index", "photos", "--model", models / "tiny", "--pooling", old)
    said = mkt("index", "--rebuild", "--pooling", new).stderr
    assert "the default" not in said
