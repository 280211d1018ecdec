"""`mkt tag` and `mkt untag`: by score, by hand, and back again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import columns, mkt, paths, tagged
from tests.tiny import colour_checkpoint, paint


@pytest.fixture
def home(own_library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(own_library)
    (own_library / "labels.txt").write_text("# colours\nred\n\ngreen\nblue\nred\n")
    return own_library


def test_every_photo_gets_its_best_label(home: Path) -> None:
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    counts = {label: int(count) for label, count in columns(result)}
    assert sum(counts.values()) == 6
    assert counts["blue"] == 2  # blue itself, and the blue one with a red patch
    found = dict(tagged(home))
    assert (found["red.png"], found["green.png"], found["blue.png"]) == ("red", "green", "blue")
    assert found["trip/copy.png"] == "red"
    assert "added 6 tags, removed 0, kept 0: 6 photos, 3 labels" in result.stderr
    assert "mkt untag --run" in result.stderr


def test_threshold_leaves_out_what_scores_less(home: Path) -> None:
    mkt("tag", "--vocabulary", "labels.txt", "--threshold", "0.9")
    assert ("red.png", "red") in tagged(home)
    assert "yellow.jpg" not in [name for name, _ in tagged(home)]


def test_top_zero_is_no_limit(home: Path) -> None:
    mkt("tag", "--vocabulary", "labels.txt", "--top", "0", "--threshold", "-1")
    assert len(tagged(home)) == 6 * 3


@pytest.mark.parametrize("option", [("--precision", "0.9"), ("--min-p", "0.5")])
def test_a_flag_takes_the_place_of_what_the_settings_ask(
    home: Path, option: tuple[str, str]
) -> None:
    (home / "mkt.toml").write_text("[tag]\ntop = 2\nthreshold = 0.9\n")
    by_file = mkt("tag", "--vocabulary", "labels.txt")
    assert "at most 2 a photo, scores from 0.9" in by_file.stderr
    assert (
        "There is no calibrator" in mkt("tag", "--vocabulary", "labels.txt", *option, code=1).stderr
    )
    by_flag = mkt("tag", "--vocabulary", "labels.txt", "--threshold", "-1")
    assert "at most 2 a photo, scores from -1" in by_flag.stderr


def test_a_run_without_settings_says_how_labels_are_chosen(tmp_path: Path) -> None:
    for number in range(24):
        colour = (250, 10 * number, 0) if number % 3 else (0, 10 * number, 250)
        paint(tmp_path / "photos" / f"{number}.png", colour)
    colour_checkpoint(tmp_path / "student")
    mkt("init", tmp_path)
    where = ("--library", tmp_path)
    mkt("index", tmp_path / "photos", "--model", tmp_path / "student", *where)
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    result = mkt("tag", "--vocabulary", tmp_path / "labels.txt", *where)
    assert "so tags are labels that stand out among 24 photos; `mkt calibrate`" in result.stderr
    assert "at most 5 a photo, labels that stand out among 24 photos." in result.stderr


def test_dry_run_changes_nothing(home: Path) -> None:
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "1", "--dry-run")
    assert "would add 6 tags" in result.stderr
    assert "Nothing was changed." in result.stderr
    assert tagged(home) == []


def test_a_dry_run_writes_a_page_of_proposed_photos(home: Path) -> None:
    page = home / "proposed.html"
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "1", "--dry-run", "--html", page)
    assert "proposed.html: 3 labels" in result.stderr and "would add 6 tags" in result.stderr
    text = page.read_text()
    assert text.count("data:image/jpeg") == 5  # of red and blue two photos, of green one
    assert "Would add 6 tags" in text and tagged(home) == []


def test_json_reports_what_the_run_did(home: Path) -> None:
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "1", "--json")
    report = json.loads(result.stdout)
    assert (report["added"], report["photos"], report["labels"]) == (6, 6, 3)
    assert sum(report["by_label"].values()) == 6


def test_untag_takes_the_run_back_and_leaves_hand_tags(home: Path) -> None:
    mkt("tag", "photos/red.png", "--add", "my car")
    run = json.loads(mkt("tag", "--vocabulary", "labels.txt", "--top", "1", "--json").stdout)["run"]
    result = mkt("untag", "--run", str(run))
    assert f"took back run {run}: removed" in result.stderr
    assert tagged(home) == [("red.png", "my car"), ("trip/copy.png", "my car")]


def test_untag_of_an_unknown_run_is_a_sentence(home: Path) -> None:
    assert "There is no tag run 99" in mkt("untag", "--run", "99", code=1).stderr


def test_tags_by_hand_are_added_and_removed(home: Path) -> None:
    result = mkt("tag", "photos/red.png", "photos/blue.png", "--add", "sea", "--add", "dog")
    assert 'added "sea" to 2 photos' in result.stderr
    again = mkt("tag", "photos/red.png", "photos/green.png", "--add", "sea")
    assert 'added "sea" to 1 photo (1 had it)' in again.stderr
    removed = mkt("tag", "photos/red.png", "--remove", "sea")
    assert 'removed "sea" from 1 photo' in removed.stderr
    assert tagged(home, "--label", "sea") == [("blue.png", "sea"), ("green.png", "sea")]


def test_a_removed_label_stays_away_until_a_person_wants_it(home: Path) -> None:
    mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    mkt("tag", "photos/red.png", "--remove", "RED")
    gone = [("red.png", "red"), ("trip/copy.png", "red")]
    assert not set(gone) & set(tagged(home))
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    assert not set(gone) & set(tagged(home))
    assert "Left out 2 tags that you removed by hand (`mkt tags --refused`)." in result.stderr
    assert (
        json.loads(mkt("tag", "--vocabulary", "labels.txt", "--top", "1", "--json").stdout)[
            "refused"
        ]
        == 2
    )
    allowed = mkt("tag", "photos/red.png", "photos/blue.png", "--allow", "red")
    assert allowed.stderr == 'allowed "red" on 1 photo (1 did not refuse it)\n'
    mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    assert set(gone) <= set(tagged(home))
    assert mkt("tags", "--refused").stdout == ""


def test_adding_a_label_takes_its_removal_back(home: Path) -> None:
    mkt("tag", "photos/red.png", "--remove", "red")
    mkt("tag", "photos/red.png", "--add", "Red")
    assert mkt("tags", "--refused").stdout == ""
    mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    assert ("trip/copy.png", "Red") in tagged(home)


def test_photo_outside_the_library_cannot_be_tagged(home: Path) -> None:
    assert "is not in the library" in mkt("tag", "labels.txt", "--add", "x", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give --vocabulary FILE"),
        (("photos/red.png",), "Give --vocabulary FILE"),
        (("--add", "dog"), "Give --vocabulary FILE"),
        (("--vocabulary", "labels.txt", "--add", "dog"), "leave out PHOTO"),
        (("photos/red.png", "--add", "A", "--remove", "a"), '"a" is in --add and --remove'),
        (("photos/red.png", "--remove", "a", "--allow", "a"), '"a" is in --remove and --allow'),
        (("--vocabulary", "labels.txt", "--html", "a.html"), "--html goes with --dry-run"),
        (("photos/red.png", "--add", "dog", "--top", "1"), "go with --vocabulary"),
        (("photos/red.png", "--add", "dog", "--dry-run"), "--dry-run goes with --vocabulary"),
    ],
    ids=str,
)
def test_mixed_up_arguments_are_usage_errors(
    home: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in mkt("tag", *arguments, code=2).stderr


def test_absent_vocabulary_is_a_sentence(home: Path) -> None:
    result = mkt("tag", "--vocabulary", "absent.txt", code=1)
    assert result.stderr.startswith("Error: absent.txt: cannot be read")


def test_negative_top_is_refused_by_its_name(home: Path) -> None:
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "-1", code=2)
    assert "Error: --top: top in [tag] must be at least 0, not -1\n" in result.stderr


def test_search_finds_only_photos_with_a_tag(home: Path) -> None:
    mkt("tag", "photos/blue.png", "--add", "sea")
    result = mkt("search", "red", "--tag", "sea", "--paths")
    assert paths(home, result.stdout.splitlines()) == ["blue.png"]


def test_label_with_a_line_break_is_printed_on_one_line(home: Path) -> None:
    result = mkt("tag", "photos/red.png", "--add", "my\ndog")
    assert result.stderr == 'added "my dog" to 1 photo\n'


def test_dry_run_reports_what_would_change(home: Path) -> None:
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "1", "--dry-run")
    assert "would add 6 tags, remove 0, keep 0: 6 photos, 3 labels" in result.stderr


def test_json_of_tags_by_hand_is_refused(home: Path) -> None:
    result = mkt("tag", "photos/red.png", "--add", "x", "--json", code=2)
    assert "--json goes with --vocabulary." in result.stderr


def test_memory_that_cannot_hold_the_labels_is_a_sentence_before_any_run(home: Path) -> None:
    (home / "many.txt").write_text("\n".join(f"label {i}" for i in range(200_000)))
    result = mkt("tag", "--vocabulary", "many.txt", "--memory-mb", "1", code=1)
    assert result.stderr.startswith("Error: 200,000 labels take ")
    assert "memory_mb in [tag] allows 1: raise it (--memory-mb " in result.stderr
    assert [row[1] for row in columns(mkt("tags", "--runs"))] == ["index"]


def test_little_memory_gives_the_same_tags(home: Path) -> None:
    mkt("tag", "--vocabulary", "labels.txt", "--top", "2")
    usual = tagged(home)
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "2", "--memory-mb", "1")
    assert tagged(home) == usual
    assert "added 0 tags, removed 0, kept 12" in result.stderr


def test_a_piped_run_prints_one_sentence(home: Path) -> None:
    result = mkt("tag", "--vocabulary", "labels.txt", "--top", "1")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("added 6 tags")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    "step", [(["--top=2", "--dry-run"], "scoring photos"), (["--top=2"], "writing tags")]
)
def test_a_terminal_sees_how_far_a_run_is(home: Path, step: tuple[list[str], str]) -> None:
    inside, outside = os.openpty()
    options, words = step
    command = [sys.executable, "-m", "mkt_search", "tag", "--vocabulary", "labels.txt", *options]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=outside, env=environment, text=True, check=True
    )
    os.close(outside)
    shown = os.read(inside, 1 << 16).decode()
    os.close(inside)
    assert words in shown and " of " in shown
    assert len(columns_of(done.stdout)) == 3
    assert words not in done.stdout


def columns_of(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


@pytest.mark.parametrize(("own", "heeded"), [(None, "1"), ("3", "3")])
def test_products_run_on_one_thread_each_unless_set_otherwise(
    home: Path, own: str | None, heeded: str
) -> None:
    program = """
import os, sys

class Witness:
    def find_spec(self, name, *rest):
        if name == "numpy":
            print("numpy meets", os.environ.get("OPENBLAS_NUM_THREADS"))
            sys.exit()

sys.meta_path.insert(0, Witness())
from mkt_search.cli import main
main(["tag", "--vocabulary", "labels.txt"])
"""
    environ = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    environ |= {"OPENBLAS_NUM_THREADS": own} if own else {}
    call = [sys.executable, "-c", program]
    done = subprocess.run(call, env=environ, cwd=home, capture_output=True, text=True)
    assert done.stdout == f"numpy meets {heeded}\n"
