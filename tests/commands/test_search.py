"""`mkt search`: what comes out, in every form, and what is said when nothing does."""

import io
import json
import os
import re
from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from mkt_search.commands import search
from mkt_search.terminal import output
from tests.calibration.made import calibrator_of
from tests.command_line import columns, mkt, paths


def found(home: Path, *arguments: str | Path) -> list[str]:
    result = mkt("search", *arguments, "--library", home, "--paths")
    return paths(home, result.stdout.splitlines())


def test_best_photo_comes_first(library: Path) -> None:
    assert found(library, "green")[0] == "green.png"
    assert found(library, "red")[:3] == ["red.png", "yellow.jpg", "trip/mixed.png"]


def test_piped_columns_are_rank_score_global_local_and_path(library: Path) -> None:
    rows = columns(mkt("search", "red", "-k", "2", "--library", library))
    assert [row[0] for row in rows] == ["1", "2"]
    assert rows[0][4] == str(library / "photos" / "red.png")
    score, global_part, local_part = map(float, rows[0][1:4])
    assert score == pytest.approx(1, abs=0.02)
    assert score == pytest.approx(global_part + local_part, abs=2e-4)


def test_json_has_the_boxes_and_the_copies(library: Path) -> None:
    hits = json.loads(mkt("search", "red", "--json", "--library", library).stdout)
    by_name = {Path(hit["path"]).name: hit for hit in hits}
    assert by_name["mixed.png"]["boxes"] == [{"left": 0.75, "top": 0, "right": 1, "bottom": 0.25}]
    assert paths(library, by_name["red.png"]["copies"]) == ["trip/copy.png"]
    assert by_name["red.png"]["score"] == pytest.approx(1, abs=0.02)
    assert set(hits[0]) == {
        *("photo", "path", "score", "global", "local", "boxes", "copies"),
        *("taken_at", "date_source"),
    }
    assert by_name["yellow.jpg"]["taken_at"] == "2024-05-17T08:09:10"
    assert by_name["yellow.jpg"]["date_source"] == "exif"
    assert by_name["red.png"]["taken_at"] == "2020-02-02T12:00:00"
    assert by_name["red.png"]["date_source"] == "mtime"


def test_dates_that_come_only_from_files_are_counted(library: Path) -> None:
    given = ("search", "red", "--after", "2020-02-02", "-k", "3", "--library", library)
    result = mkt(*given, "--paths")
    assert result.stderr == "Dated only by the file: 2 of 3 hits (2 by its modification time).\n"
    assert mkt("search", "red", "--after", "2021", "--library", library).stderr == ""


def test_paths_end_with_nul_when_asked(library: Path) -> None:
    result = mkt("search", "red", "-k", "2", "-0", "--library", library)
    first, second, rest = result.stdout_bytes.split(b"\0")
    assert rest == b""
    assert paths(library, [os.fsdecode(first), os.fsdecode(second)]) == [
        "red.png",
        "yellow.jpg",
    ]


def test_json_and_paths_exclude_each_other(library: Path) -> None:
    result = mkt("search", "red", "--json", "--paths", "--library", library, code=2)
    assert "exclude each other" in result.stderr


def test_several_queries_are_added(library: Path) -> None:
    assert found(library, "red", "green")[0] == "yellow.jpg"
    assert found(library, "red + green") == found(library, "red", "green")


def test_unwanted_label_pushes_down(library: Path) -> None:
    assert found(library, "red", "--not", "blue")[0] == "red.png"
    assert found(library, "red", "--not", "blue")[-1] == "blue.png"
    assert found(library, "red - blue") == found(library, "red", "--not", "blue")


def test_like_finds_what_looks_the_same(library: Path) -> None:
    photo = library / "photos" / "green.png"
    assert found(library, "--like", photo)[0] == "green.png"
    assert found(library, "red", "--like", photo)[0] == "yellow.jpg"


def test_k_limits_the_hits(library: Path) -> None:
    assert len(found(library, "red", "-k", "3")) == 3


def test_k_comes_from_the_environment_too(library: Path) -> None:
    result = mkt("search", "red", "--library", library, env={"MKT_SEARCH_K": "1"})
    assert len(columns(result)) == 1


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (("--path", "*trip/*"), {"trip/mixed.png"}),
        (("--after", "2024"), {"yellow.jpg"}),
        (("--after", "2024-05", "--before", "2024-06"), {"yellow.jpg"}),
        (("--after", "2024-05-17", "--before", "2024-05-18"), {"yellow.jpg"}),
        (("--camera", "pinhole"), {"yellow.jpg"}),
        (("--min-width", "200"), {"blue.png"}),
        (("--min-height", "100", "--path", "*.png"), {"red.png", "green.png", "blue.png"}),
    ],
    ids=lambda given: " ".join(sorted(given) if isinstance(given, set) else given),
)
def test_filters_leave_only_what_meets_them(
    library: Path, filters: tuple[str, ...], names: set[str]
) -> None:
    assert names <= set(found(library, "red", *filters))
    if len(names) == 1 and "--path" not in filters:
        assert set(found(library, "red", *filters)) == names


@pytest.mark.parametrize("date", ["17.5.2024", "2024-13", "soon"])
def test_date_that_is_none_is_a_usage_error(library: Path, date: str) -> None:
    result = mkt("search", "red", "--after", date, "--library", library, code=2)
    assert "--after" in result.stderr


def test_nothing_found_is_said_and_no_error(library: Path) -> None:
    result = mkt("search", "red", "--after", "2030", "--library", library)
    assert result.stdout == ""
    assert "No photo meets the filters (of 6 photos)" in result.stderr


def test_nothing_found_is_an_empty_json_array(library: Path) -> None:
    result = mkt("search", "red", "--after", "2030", "--json", "--library", library)
    assert json.loads(result.stdout) == []


def test_unknown_label_names_the_nearest(library: Path) -> None:
    result = mkt("search", "gren", "--library", library, code=1)
    assert result.stderr.startswith("Error: ")
    assert "green" in result.stderr


def test_empty_query_is_a_usage_error(library: Path) -> None:
    assert "Say what to look for" in mkt("search", "--library", library, code=2).stderr


def test_query_that_wants_nothing_is_refused(library: Path) -> None:
    result = mkt("search", "--like", "x", "--not", "red", "--library", library, code=1)
    assert "x" in result.stderr
    assert "asks for nothing" in mkt("search", "- red", "--library", library, code=1).stderr


def test_library_is_found_upward_from_the_working_folder(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(library / "photos" / "trip")
    assert columns(mkt("search", "green", "-k", "1"))[0][4].endswith("green.png")


def test_library_comes_from_the_environment(library: Path) -> None:
    result = mkt("search", "green", "-k", "1", env={"MKT_LIBRARY": str(library / ".mkt")})
    assert columns(result)[0][4].endswith("green.png")


def test_html_is_written_and_said(library: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "hits.html"
    result = mkt("search", "red", "--html", sheet, "--thumbnail", "64", "--library", library)
    assert result.stdout == ""
    assert f"wrote {sheet}: 5 photos" in result.stderr
    text = sheet.read_text(encoding="utf-8")
    assert text.count("<figure") == 5
    assert "1 more copy" in text


def test_html_goes_with_json(library: Path, tmp_path: Path) -> None:
    result = mkt("search", "red", "--html", tmp_path / "s.html", "--json", "--library", library)
    assert len(json.loads(result.stdout)) == 5
    assert (tmp_path / "s.html").exists()


def test_a_terminal_gets_headings_and_escaped_text() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    output.show_table(
        search.HIT_COLUMNS, [("1", "0.5", "0.2", "0.3", "a[b]\x1b[31m.jpg")], file=terminal
    )
    shown = re.sub(r"\x1b\[\d+m", "", terminal.getvalue())
    assert shown.split()[:5] == ["rank", "score", "global", "local", "path"]
    assert "a[b]\\x1b[31m.jpg" in shown


def test_query_may_begin_with_a_minus(library: Path) -> None:
    assert found(library, "- blue", "red") == found(library, "red - blue")
    assert found(library, "- blue + red", "-k", "1") == ["red.png"]


@pytest.mark.parametrize("wrong", ["2024-13", "2024-02-30", "May", ""])
def test_wrong_date_is_refused_with_the_ways_to_write_one(library: Path, wrong: str) -> None:
    result = mkt("search", "red", "--after", wrong, "--library", library, code=2)
    assert f'"{wrong}" is not a date; write 2024, 2024-05 or 2024-05-17.' in result.stderr


@pytest.mark.parametrize("arguments", [["bad\udcff"], ["red", "--not", "bad\udcff"]])
def test_label_that_is_not_utf_8_is_refused(library: Path, arguments: list[str]) -> None:
    result = mkt("search", *arguments, "--library", library, code=2)
    assert '"bad\\xff" is not UTF-8 text' in result.stderr


def test_explain_prints_the_plan_and_the_time_of_each_step(library: Path) -> None:
    result = mkt("search", "red", "--explain", "--paths", "--library", library)
    plan, times = result.stderr.splitlines()
    assert plan.startswith("plan: every photo, because there is no candidate index; building the")
    assert re.search(r"; \d+ photos searched$", plan) and times.startswith("times: open ")
    for step in ("label vectors", "filter", "plan", "score", "photos and boxes"):
        assert re.search(rf"{step} \d+\.\d ms", result.stderr)
    assert found(library, "red") == [line for line in paths(library, result.stdout.splitlines())]


def test_explain_says_why_several_terms_score_every_photo(library: Path) -> None:
    result = mkt("search", "red + blue", "--explain", "--exact", "--library", library)
    assert result.stderr.startswith("plan: every photo, because an exact answer is asked for; ")


def test_a_recall_out_of_range_is_refused(library: Path) -> None:
    result = mkt("search", "red", "--recall", "1.2", "--library", library, code=2)
    assert "recall" in result.stderr and "1.2" in result.stderr


def test_a_sign_that_is_read_as_a_letter_is_remarked_on(library: Path) -> None:
    result = mkt("search", "red", "dark - red \u2013 -x", "--library", library, code=1)
    assert result.stderr.startswith('"\u2013" was read as part of a label: signs are + and -')


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("-k", "0"), "-k: k in [search] must be at least 1, not 0"),
        (
            ("--after", "2024", "--before", "2023"),
            "No photo was taken on 2024-01-01 or later and before 2023-01-01",
        ),
    ],
)
def test_options_that_allow_no_hit_are_usage_errors(
    library: Path, options: tuple[str, ...], complaint: str
) -> None:
    assert complaint in mkt("search", "red", *options, "--library", library, code=2).stderr


def test_an_address_after_like_is_refused(library: Path) -> None:
    result = mkt("search", "--like", "https://example.org/a.jpg", "--library", library, code=1)
    assert "is an address: --like takes the path of a photo" in result.stderr


def test_a_precision_shows_p_and_how_many_are_expected_to_be_wrong(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        save(calibrator_of(opened), opened.directory / FILE)
    result = mkt("search", "red", "--precision", "0.5", "--library", own_library)
    assert "expected to be wrong" in result.stderr
    p = [float(row[1]) for row in columns(result)]
    assert p == sorted(p, reverse=True)
    data = json.loads(
        mkt("search", "red", "--precision", "0.5", "--json", "--library", own_library).stdout
    )
    assert data["match"] == "yes"
    assert data["expected"]["photos"] == len(data["hits"]) == len(p)
    assert [hit["p"] for hit in data["hits"]] == sorted(
        (hit["p"] for hit in data["hits"]), reverse=True
    )


def test_a_label_that_is_not_there_is_said_and_is_no_error(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        save(calibrator_of(opened, present_from=1.0), opened.directory / FILE)
    given = ("search", "red", "--precision", "0.5", "--library", own_library)
    assert "Nothing here looks clearly like red" in mkt(*given).stderr
    data = json.loads(mkt(*given, "--json").stdout)
    assert data["match"] == "none" and data["nearest"] == []


def test_a_label_that_is_not_there_names_the_nearest_that_are(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        save(calibrator_of(opened, present_from=0.3), opened.directory / FILE)
        opened.label_vectors(["green"])
    given = ("search", "red", "--precision", "0.5", "--path", "*/green.png")
    result = mkt(*given, "--library", own_library)
    assert "The nearest labels that are here: green." in result.stderr
    data = json.loads(mkt(*given, "--json", "--library", own_library).stdout)
    assert data["nearest"] == ["green"]


def test_a_precision_without_a_calibrator_says_how_to_make_one(library: Path) -> None:
    result = mkt("search", "red", "--precision", "0.9", "--library", library, code=1)
    assert "mkt calibrate" in result.stderr


def test_a_damaged_calibrator_is_named_and_the_hits_are_shown_without_p(own_library: Path) -> None:
    (own_library / ".mkt" / FILE).write_bytes(b"damaged")
    result = mkt("search", "red", "--library", own_library)
    assert "no probability" in result.stderr and "mkt calibrate" in result.stderr
    assert len(columns(result)[0]) == 5
