"""`mkt demo`: the real commands, one after another, and the report."""

import json
import os
import re
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mkt_search.demo import tour
from mkt_search.demo.report import Findings, Search, Step, TaggedPhoto, Tagging, table_rows
from mkt_search.demo.report import render as render_report
from mkt_search.demo.scenes import render
from mkt_search.demo.scenes.photos import LIBRARY_SEED, photo_name
from mkt_search.demo.scenes.world import LABELS, THINGS, Scene, draw_scene, unseen_things
from mkt_search.demo.tour import most_common_pair, tags_of
from mkt_search.library import Library
from mkt_search.models import build
from mkt_search.types import Box, Hit
from tests.command_line import mkt
from tests.tiny import paint


@pytest.fixture(scope="module")
def _shipped(demo_build: Path) -> Iterator[None]:
    """The small checkpoint in place of the built-in one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "DEMO_CHECKPOINT", demo_build / "checkpoint")
        patch.setattr(build, "DEMO_CLIP", demo_build / "clip")
        patch.setattr(tour, "SIDE", 96)
        patch.setattr(tour, "THRESHOLD", 0.0)  # the scores of these models are noise
        yield


@pytest.fixture(scope="module")
def toured(_shipped: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after `mkt demo`, for tests that only read; with what it said in `said`."""
    folder = tmp_path_factory.mktemp("tour") / "demo"
    result = mkt("demo", folder, "--photos", "60")
    (folder.parent / "stdout").write_text(result.stdout)
    (folder.parent / "stderr").write_text(result.stderr)
    return folder


class Page(HTMLParser):
    """What of a page leads elsewhere, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.headings: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.open.append(tag)
        self.links += [given[key] or "" for key in ("href", "src") if key in given]
        self.images += [given["src"] or ""] if tag == "img" else []
        if tag == "h3":
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h3":
            self.headings[-1] += data.strip()


def report_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_commands_are_shown_and_the_report_s_path_is_the_last_word(toured: Path) -> None:
    said = (toured.parent / "stderr").read_text()
    shown = re.findall(r"^\$ mkt (\S+)", said, re.MULTILINE)
    assert shown == ["init", "index", *["search"] * 7, "tag", "evaluate"]
    assert "render 60 scenes of 96 x 96 pixels" in said
    assert re.search(r"[0-8] of 8 photos show it", said)
    last = (toured.parent / "stdout").read_text().splitlines()[-1]
    assert Path(last) == (toured / "report.html").resolve()


def test_the_photos_are_the_scenes_with_their_labels(toured: Path) -> None:
    labels = json.loads((toured / "labels.json").read_text())
    seeds = range(LIBRARY_SEED, LIBRARY_SEED + 60)
    assert labels == {photo_name(seed): list(draw_scene(seed).labels) for seed in seeds}
    assert {path.name for path in (toured / "photos").iterdir()} == set(labels)
    assert (toured / "labels.txt").read_text().splitlines() == list(LABELS)
    shown = {label for named in labels.values() for label in named}
    unseen = (toured / "unseen.txt").read_text().splitlines()
    assert set(unseen) == shown & set(unseen_things())


def test_what_is_left_is_a_library_like_any_other(toured: Path) -> None:
    with Library.open(toured) as library:
        assert len(library) == 60
        assert len(library.search("pink boat", k=5)) == 5
        assert {tag.source for tag in library.tags()} == {"auto"}
    assert "60 photos" in mkt("status", "--library", toured).stdout
    assert "unseen" in (toured / "evaluation.json").read_text()


def test_the_report_has_everything_in_it(toured: Path) -> None:
    text = report_of(toured)
    page = Page(text)
    assert not re.search(r"https?:|<script|@import|url\((?!#)", text)
    assert page.images and all(
        source.startswith("data:image/jpeg;base64,") for source in page.images
    )
    assert all(link.startswith(("data:", "file:")) for link in page.links)
    assert len(page.images) == 7 * 8 + 12


def test_the_report_has_a_heading_for_every_search(toured: Path) -> None:
    headings = Page(report_of(toured)).headings
    assert len(headings) == 7
    assert all(heading in THINGS for heading in headings[:6])
    assert [heading in unseen_things() for heading in headings[:6]] == [True] * 4 + [False] * 2
    assert " + " in headings[6]
    searched = re.findall(r"\$ mkt search '(.+?)'", (toured.parent / "stderr").read_text())
    assert searched == headings


def test_the_report_tells_the_commands_and_the_numbers(toured: Path) -> None:
    text = report_of(toured)
    for command in ("mkt init", "mkt index", "mkt search", "mkt tag", "mkt evaluate"):
        assert f"<code>{command}" in text
    rows = table_rows(json.loads((toured / "evaluation.json").read_text()))
    assert {row["model"] for row in rows} >= {"demo", "demo-teacher"}
    assert {row["stream"] for row in rows} == {"global", "local", "fused"}
    assert {row["prompt"] for row in rows} == {"template", "learned"}
    for row in rows:
        assert f"{row['gzsl']:.3f}" in text


def test_a_second_tour_goes_over_the_first(_shipped: None, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    mkt("demo", folder, "--photos", "52")
    photo = folder / "photos" / photo_name(LIBRARY_SEED)
    before = photo.stat().st_mtime_ns
    # Fewer than there are, and one of the user's own: all of them stay.
    paint(folder / "photos" / "mine.png", "red")
    again = mkt("demo", folder, "--photos", "50")
    assert "52 scenes of an earlier run are kept" in again.stderr
    assert photo.stat().st_mtime_ns == before
    assert "52 photos" in report_of(folder)
    with Library.open(folder) as library:
        assert len(library) == 53


# wrong inputs


def test_a_folder_with_other_things_is_left_alone(_shipped: None, tmp_path: Path) -> None:
    mkt("init", tmp_path)
    (tmp_path / "labels.json").write_text("mine")
    result = mkt("demo", tmp_path, "--photos", "50", code=1)
    assert "contains other files; name a new folder: `mkt demo DIR`" in result.stderr
    assert (tmp_path / "labels.json").read_text() == "mine"
    assert not (tmp_path / "photos").exists()


def test_a_file_in_place_of_the_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in mkt("demo", tmp_path / "file", code=2).stderr


def test_a_folder_that_cannot_be_made_is_a_sentence(_shipped: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = mkt("demo", tmp_path / "file" / "demo", code=1)
    assert "Not a directory" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_sentence(_shipped: None, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    result = mkt("demo", tmp_path / "locked" / "demo", code=1)
    assert "Permission denied" in result.stderr


def test_a_full_disk_is_a_sentence(
    _shipped: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = iter(range(100))

    def full(scene: Scene, side: int) -> Image.Image:
        if next(count) == 20:
            raise OSError(28, "No space left on device", "scene.jpg")
        return rendered(scene, side)

    rendered = render.render
    with monkeypatch.context() as patch:
        patch.setattr(render, "render", full)
        result = mkt("demo", tmp_path / "d", "--photos", "50", code=1)
    assert "No space left on device" in result.stderr
    assert len(list((tmp_path / "d" / "photos").iterdir())) == 20


def test_without_the_checkpoint_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "DEMO_CHECKPOINT", tmp_path / "gone")
    result = mkt("demo", tmp_path / "d", code=1)
    assert f"there is no checkpoint at {tmp_path / 'gone'};" in result.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("where", ["render", "index", "tag"])
def test_ctrl_c_ends_the_whole_tour(
    _shipped: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place = {
        "render": (render, "render"),
        "index": (build.CheckpointModel, "photo_encoder"),
        "tag": (Library, "tag"),
    }[where]
    monkeypatch.setattr(*place, stop)
    result = mkt("demo", tmp_path / "d", "--photos", "50", code=130)
    assert result.stderr.count("interrupted") == 1
    assert "$ mkt evaluate" not in result.stderr
    assert not (tmp_path / "d" / "report.html").exists()


# parts


def test_the_pair_that_stands_together_most_often() -> None:
    shown = {
        "a": ["sea", "red boat", "white moon"],
        "b": ["sea", "red boat"],
        "c": ["night", "red boat", "white moon"],
    }
    assert most_common_pair(shown) == ("red boat", "sea")


def test_tags_are_compared_with_what_is_shown() -> None:
    class OfPhoto:
        def __init__(self, name: str, label: str, score: float | None, source: str) -> None:
            self.path, self.label, self.score, self.source = Path(name), label, score, source

    class Tagged:
        def tags(self) -> list[Any]:
            return [
                OfPhoto("/p/a.jpg", "sea", 0.1, "auto"),
                OfPhoto("/p/a.jpg", "red boat", 0.4, "auto"),
                OfPhoto("/p/b.jpg", "red star", 0.2, "auto"),
                OfPhoto("/p/b.jpg", "mine", None, "human"),
                OfPhoto("/else/c.jpg", "sea", 0.2, "auto"),
            ]

    shown = {"a.jpg": ["sea", "red boat"], "b.jpg": ["night", "blue star"]}
    found = tags_of(Tagged(), shown)  # type: ignore[arg-type]
    assert (found.tags, found.precision, found.recall) == (3, 2 / 3, 2 / 4)
    first, second = found.photos
    assert [label for label, _ in first.tags] == ["red boat", "sea"]
    assert (first.missed, second.missed) == ([], ["blue star", "night"])


def findings(folder: Path, **changes: Any) -> Findings:
    photo = paint(folder / "p.jpg", "red")
    hit = Hit(1, photo, 0.5, 0.3, 0.2, (Box(0.0, 0.0, 0.5, 0.5),))
    given: dict[str, Any] = {
        "photos": 1,
        "searches": [Search("<b>", "unseen", [hit, hit], [True, False])],
        "tagging": Tagging(1, 0.5, 0.25, [TaggedPhoto(photo, [("sea", 0.1)], frozenset({"day"}))]),
        "evaluation": {"rows": [], "seen": ["a"], "unseen": ["b"]},
        "steps": [Step("mkt & more", 1.25)],
        "made_at": datetime(2024, 5, 17, 8, 9),
    }
    return Findings(**{**given, **changes})


def test_a_report_marks_errors_and_escapes_text(tmp_path: Path) -> None:
    text = render_report(findings(tmp_path))
    assert "<b>" not in text.split("<body>")[1].replace("<b>0.5000</b>", "")
    assert "1 of 2 right" in text
    assert text.count('class="wrong"') == 1
    assert "mkt &amp; more" in text and "2024-05-17 08:09" in text
    assert re.search(r'class="no"[^>]*>sea', text) and re.search(r'class="missed">day', text)


def test_a_row_of_the_table_may_lack_a_measure(tmp_path: Path) -> None:
    row = {"model": "m", "prompt": "template", "stream": "fused", "scale": "vocabulary"}
    rows = [
        {**row, "protocol": "GZSL", "standard": 0.25, "paper": {"F1@3": 0.5}},
        {**row, "protocol": "GZSL", "scale": "cosine", "standard": 0.75, "paper": {}},
    ]
    evaluation = {"rows": rows, "seen": ["a"], "unseen": ["b"]}
    (found,) = table_rows(evaluation)
    assert (found["zsl"], found["gzsl"], found["f3"], found["f5"]) == (None, 0.25, 0.5, None)
    text = render_report(findings(tmp_path, evaluation=evaluation))
    assert "0.250" in text and "–" in text
