"""A tour in one folder: the real commands, one after another, and the report."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mkt_search.demo.report import table_rows
from mkt_search.demo.scenes.photos import LIBRARY_SEED, photo_name
from mkt_search.demo.scenes.world import LABELS, THINGS, draw_scene, unseen_things
from mkt_search.demo.tour import Tour, most_common_pair, tags_of
from mkt_search.errors import ModelError, StoreError
from mkt_search.library import Library
from mkt_search.progress import Progress, ProgressCallback, no_progress
from tests.command_line import mkt
from tests.tiny import paint

pytestmark = pytest.mark.slow


def run(words: list[str]) -> None:
    mkt(*words)


@contextmanager
def hidden_progress() -> Iterator[ProgressCallback]:
    yield no_progress


def tour(folder: Path, photos: int, sentences: list[str], **options: Any) -> Tour:
    """Return a tour of small photos with the built-in models."""
    return Tour(
        folder,
        **{
            **{"photos": photos, "mkt": run, "say": sentences.append},
            **{"show_progress": hidden_progress, "side": 96, **options},
        },
    )


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after a tour, for tests that only read; its sentences are in `sentences.txt`."""
    folder = tmp_path_factory.mktemp("tour") / "demo"
    sentences: list[str] = []
    assert tour(folder, 60, sentences).go() == (folder / "report.html").resolve()
    (folder.parent / "sentences.txt").write_text("\n".join(sentences))
    return folder


class Page(HTMLParser):
    """The links, images and headings of a page."""

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


def sentences_of(folder: Path) -> str:
    return (folder.parent / "sentences.txt").read_text()


def test_the_commands_are_shown(toured: Path) -> None:
    shown = re.findall(r"^\$ mkt (\S+)", sentences_of(toured), re.MULTILINE)
    assert shown == ["init", "index", *["search"] * 7, "tag", "evaluate"]
    assert "render 60 scenes of 96 x 96 pixels" in sentences_of(toured)
    assert re.search(r"[0-8] of 8 photos show it", sentences_of(toured))


def test_the_photos_are_the_scenes_with_their_labels(toured: Path) -> None:
    labels = json.loads((toured / "labels.json").read_text())
    seeds = range(LIBRARY_SEED, LIBRARY_SEED + 60)
    assert labels == {photo_name(seed): list(draw_scene(seed).labels) for seed in seeds}
    assert {path.name for path in (toured / "photos").iterdir()} == set(labels)
    assert (toured / "labels.txt").read_text().splitlines() == list(LABELS)
    shown = {label for named in labels.values() for label in named}
    unseen = (toured / "unseen.txt").read_text().splitlines()
    assert set(unseen) == shown & set(unseen_things())


def test_the_folder_is_a_library_like_any_other(toured: Path) -> None:
    with Library.open(toured) as library:
        assert len(library) == 60
        assert len(library.search("pink boat", k=5)) == 5
        assert {tag.source for tag in library.tags()} == {"auto"}
    assert "60 photos" in mkt("status", "--library", toured).stdout
    assert "unseen" in (toured / "evaluation.json").read_text()


def test_the_report_is_one_file(toured: Path) -> None:
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
    searched = re.findall(r"\$ mkt search '(.+?)'", sentences_of(toured))
    assert searched == headings


def test_the_report_has_the_commands_and_the_numbers(toured: Path) -> None:
    text = report_of(toured)
    for command in ("mkt init", "mkt index", "mkt search", "mkt tag", "mkt evaluate"):
        assert f"<code>{command}" in text
    rows = table_rows(json.loads((toured / "evaluation.json").read_text()))
    assert {row["model"] for row in rows} >= {"demo", "demo-teacher"}
    assert {row["stream"] for row in rows} == {"global", "local", "fused"}
    assert {row["prompt"] for row in rows} == {"templates", "template", "learned"}
    for row in rows:
        assert f"{row['gzsl']:.3f}" in text


@pytest.mark.slow
def test_a_second_tour_keeps_the_photos_of_the_first(tmp_path: Path) -> None:
    folder, sentences = tmp_path / "demo", list[str]()
    tour(folder, 52, sentences).go()
    photo = folder / "photos" / photo_name(LIBRARY_SEED)
    before = photo.stat().st_mtime_ns
    # fewer than there are, and one photo of the user: all of them stay
    paint(folder / "photos" / "mine.png", "red")
    tour(folder, 50, sentences).go()
    assert "52 scenes of an earlier run are kept" in sentences
    assert photo.stat().st_mtime_ns == before
    assert "52 photos" in report_of(folder)
    with Library.open(folder) as library:
        assert len(library) == 53


def test_the_progress_of_rendering_is_shown(tmp_path: Path) -> None:
    events: list[Progress] = []

    @contextmanager
    def show_progress() -> Iterator[ProgressCallback]:
        yield events.append

    def stop(words: list[str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tour(tmp_path / "d", 3, [], mkt=stop, show_progress=show_progress).go()
    assert [(event.done, event.total) for event in events] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("command", ["init", "index", "tag"])
def test_an_interrupted_command_ends_the_tour(tmp_path: Path, command: str) -> None:
    commands: list[str] = []

    def stop(words: list[str]) -> None:
        commands.append(words[0])
        if words[0] == command:
            raise KeyboardInterrupt
        run(words)

    with pytest.raises(KeyboardInterrupt):
        tour(tmp_path / "d", 20, [], mkt=stop).go()
    assert commands[-1] == command
    assert not (tmp_path / "d" / "report.html").exists()


# wrong inputs


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    (tmp_path / "labels.json").write_text("mine")
    with pytest.raises(StoreError, match="contains other files; name a new folder: `mkt demo DIR`"):
        tour(tmp_path, 50, []).go()
    assert (tmp_path / "labels.json").read_text() == "mine"
    assert not (tmp_path / "photos").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OSError, match="Permission denied"):
        tour(tmp_path / "locked" / "demo", 50, []).go()


def test_a_missing_checkpoint_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"there is no checkpoint at {tmp_path / 'gone'}"):
        tour(tmp_path / "d", 50, [], student=str(tmp_path / "gone")).go()
    assert not (tmp_path / "d").exists()


# parts


def test_the_most_common_pair_of_a_thing_and_a_place() -> None:
    shown = {
        "a": ["sea", "red boat", "white moon"],
        "b": ["sea", "red boat"],
        "c": ["night", "red boat", "white moon"],
    }
    assert most_common_pair(shown) == ("red boat", "sea")


def test_tags_are_compared_with_the_labels_of_the_photos() -> None:
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
