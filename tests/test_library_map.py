"""The map of a library: made, grown, read and coloured."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mkt_search import Library, Progress
from mkt_search.errors import LibraryLocked, LibraryNotFound, MapError, QueryError
from mkt_search.projection.file import FILE
from tests.tiny import COLOURS, colour_checkpoint, paint, tiny_checkpoint

NAMES = ("red", "green", "blue", "yellow")
PHOTOS = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_checkpoint(tmp_path_factory.mktemp("model"))


def paint_photos(folder: Path, count: int, first: int = 0) -> None:
    """Paint photos of four colours, none like another."""
    rng = np.random.default_rng(first)
    for number in range(first, first + count):
        shade = np.abs(COLOURS[NAMES[number % 4]] - rng.integers(0, 60, 3))
        paint(folder / f"{number:03}.png", tuple(shade.tolist()), size=(32, 32))


def made(home: Path, model: Path, count: int) -> Library:
    """Return a library of some photos, which remembers the names of their colours."""
    (home / "photos").mkdir()
    paint_photos(home / "photos", count)
    library = Library.create(home)
    library.index(home / "photos", model=model)
    library.label_vectors(NAMES)
    return library


@pytest.fixture
def library(tmp_path: Path, model: Path) -> Library:
    """Return a library of ten photos."""
    return made(tmp_path, model, 10)


@pytest.mark.slow
def test_a_map_shows_alike_photos_side_by_side_and_names_what_they_show(
    tmp_path: Path, model: Path
) -> None:
    with made(tmp_path, model, PHOTOS) as library:
        found = library.project()
        assert len(found) == PHOTOS and (np.diff(found.photo_ids) > 0).all()
        apart = np.linalg.norm(found.points[:, None] - found.points, axis=2)
        np.fill_diagonal(apart, np.inf)
        assert (apart.argmin(axis=1) % 4 == np.arange(PHOTOS) % 4).mean() > 0.9
        near = [cluster for cluster in found.clusters if cluster.level == 1]
        assert {cluster.name for cluster in near} >= set(NAMES)
        assert sum(cluster.photos for cluster in near) == PHOTOS
        again = library.project(again=True)
        assert np.array_equal(again.points, found.points)


def test_tags_of_the_library_name_clusters_too(tmp_path: Path, model: Path) -> None:
    photo = paint(tmp_path / "photos" / "one.png", "magenta", size=(32, 32))
    with Library.create(tmp_path) as library:
        library.index(tmp_path / "photos", model=model)
        library.add_tag([photo], "magenta")  # which no search has asked for
        assert {cluster.name for cluster in library.project().clusters} == {"magenta"}


def test_a_library_has_no_map_until_one_is_made(library: Library) -> None:
    assert library.map() is None
    made = library.project()
    assert library.map() is made
    assert (len(made), made.missing, made.stale) == (10, 0, "")
    assert library.runs()[-1].kind == "map" and library.runs()[-1].outcome == "done"


def test_new_photos_are_placed_on_the_map_and_the_others_stay(library: Library) -> None:
    before = library.project()
    paint_photos(library.directory.parent / "photos", 2, first=10)
    library.index()
    waiting = library.map()
    assert waiting is not None and (len(waiting), waiting.missing) == (10, 2)
    after = library.project()
    assert (len(after), after.missing) == (12, 0)
    assert np.array_equal(after.points[:10], before.points)
    assert after.version != before.version


def test_a_photo_that_is_gone_leaves_the_map_and_a_moved_one_keeps_its_point(
    library: Library,
) -> None:
    before = library.project()
    folder = library.directory.parent / "photos"
    (folder / "000.png").unlink()
    (folder / "001.png").rename(folder / "moved.png")
    library.index()
    after = library.map()
    assert after is not None and (len(after), after.missing) == (9, 0)
    assert np.array_equal(after.points, before.points[1:])


def test_a_map_is_kept_for_who_still_shows_it(library: Library) -> None:
    before = library.project()
    (library.directory.parent / "photos" / "000.png").unlink()
    library.index()
    after = library.map()
    assert after is not None and after.version != before.version
    assert library.map(version=before.version) is before
    with pytest.raises(QueryError, match="ask for it again"):
        library.map(version="never")


def test_copies_are_one_point(library: Library) -> None:
    folder = library.directory.parent / "photos"
    (folder / "copy.png").write_bytes((folder / "000.png").read_bytes())
    library.index()
    assert len(library) == 11 and len(library.project()) == 10


def test_another_model_makes_the_map_stale_and_the_next_map_is_new(
    library: Library, tmp_path: Path
) -> None:
    library.project()
    library.index(model=tiny_checkpoint(tmp_path / "other"), rebuild=True)
    stale = library.map()
    assert stale is not None and "mkt map" in stale.stale and len(stale) == 10
    fresh = library.project()
    assert fresh.stale == "" and library.runs()[-1].summary["new_layout"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_library_of_few_photos_has_a_map(tmp_path: Path, model: Path, count: int) -> None:
    with made(tmp_path, model, count) as library:
        assert len(library.project()) == count


def test_a_library_without_photos_has_none(tmp_path: Path) -> None:
    with Library.create(tmp_path) as library:
        assert library.map() is None
        with pytest.raises(LibraryNotFound, match="mkt index"):
            library.project()


def test_a_library_whose_photos_are_gone_has_none(library: Library) -> None:
    library.project()
    for photo in (library.directory.parent / "photos").iterdir():
        photo.unlink()
    (library.directory.parent / "photos" / "broken.png").write_bytes(b"no photo")
    library.index()
    empty = library.map()
    assert empty is not None and len(empty) == 0
    with pytest.raises(MapError, match="no photos"):
        library.project()


def test_a_damaged_map_is_a_sentence_and_is_made_anew(library: Library) -> None:
    library.project()
    (library.directory / FILE).write_bytes(b"no map")
    with pytest.raises(MapError, match="Make it again with `mkt map`"):
        library.map()
    messages: list[str] = []
    assert len(library.project(progress=lambda event: messages.append(event.message))) == 10
    assert any("cannot be read" in message for message in messages)


def test_a_map_of_another_library_shows_none_of_its_photos(
    library: Library, tmp_path: Path, model: Path
) -> None:
    library.project()
    (tmp_path / "other").mkdir()
    with Library.create(tmp_path / "other") as other:
        paint_photos(tmp_path / "other" / "photos", 3, first=500)
        other.index(tmp_path / "other" / "photos", model=model)
        (other.directory / FILE).write_bytes((library.directory / FILE).read_bytes())
        foreign = other.map()
        assert foreign is not None and (len(foreign), foreign.missing) == (0, 3)
        assert len(other.project()) == 3


def test_a_map_that_is_stopped_leaves_the_old_one(library: Library) -> None:
    before = library.project()
    paint_photos(library.directory.parent / "photos", 2, first=10)
    library.index()

    def stop(event: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.project(progress=stop)
    after = library.map()
    assert after is not None and np.array_equal(after.points, before.points)
    assert library.runs()[-1].outcome == "interrupted"


def test_without_the_extra_a_new_map_is_a_sentence_but_one_that_is_there_grows(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.project()
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    assert len(library.project()) == 10
    with pytest.raises(MapError, match=r'pip install "mkt-search\[map\]"'):
        library.project(again=True)


def test_only_one_writer_makes_a_map(library: Library) -> None:
    with library.store.writing("mkt index"), pytest.raises(LibraryLocked):
        library.project()


def test_a_map_is_coloured_by_month_tag_and_score(library: Library) -> None:
    library.project()
    folder = library.directory.parent / "photos"
    library.add_tag([folder / "000.png"], "Dog")
    assert library.map_colours("tag:dog").values.tolist() == [255] + [0] * 9
    scores = library.map_colours("score:red").values
    assert scores.argmax() % 4 == 0 and scores.max() == 255 and scores.min() == 0
    months = library.map_colours("month")
    assert (months.values == 1).all() and months.lowest == months.highest  # dates of the files


@pytest.mark.parametrize("by", ["", "year", "tag:", "tag: ", "score:", "month:2", "dog"])
def test_a_map_is_coloured_by_nothing_else(library: Library, by: str) -> None:
    library.project()
    with pytest.raises(QueryError, match="tag:LABEL"):
        library.map_colours(by)


def test_colours_need_a_map(library: Library) -> None:
    with pytest.raises(MapError, match="mkt map"):
        library.map_colours("month")
