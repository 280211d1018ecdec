"""Judgements from Python: given, listed, replaced and taken back."""

from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from mkt_search.errors import LibraryLocked, QueryError, UnknownLabel
from mkt_search.types import Hit
from tests.calibration.made import calibrator_of
from tests.tiny import paint, tiny_checkpoint

Found = list[tuple[str, float, float | None]]


def found(hits: list[Hit]) -> Found:
    return [(hit.path.name, hit.score, hit.p) for hit in hits]


def answers(library: Library) -> dict[str, bool]:
    return {one.path.name: one.is_yes for one in library.judgements()}


def test_judgements_say_who_gave_them_and_by_which_model(own_library: Path) -> None:
    photos = own_library / "photos"
    with Library.open(own_library) as library:
        given = library.add_feedback(
            "Red", yes=photos / "red.png", no=[photos / "blue.png"], person="Ann"
        )
        assert (given.yes, given.no, given.used, given.offset) == (1, 1, 2, None)
        assert given.turned > 0
        assert answers(library) == {"red.png": True, "copy.png": True, "blue.png": False}
        checkpoint = library.snapshot().facts.encoding.checkpoint
        assert {(one.person, one.model) for one in library.judgements("red")} == {
            ("Ann", checkpoint)
        }
        assert list(library.judgements("blue")) == []


def test_taking_all_back_restores_every_search_to_the_bit(own_library: Path) -> None:
    photos = own_library / "photos"
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
        before = found(library.search("red - blue", k=10)), found(library.search("red", k=10))
        library.add_feedback("red", yes=photos / "blue.png", no=photos / "red.png")
        library.add_feedback("blue", no=photos / "blue.png")
        assert found(library.search("red", k=10)) != before[1]
        assert library.remove_feedback("red", photos / "blue.png") == 1
        assert library.remove_feedback("red") == library.remove_feedback("blue") == 1
        assert library.remove_feedback("red") == 0
        after = found(library.search("red - blue", k=10)), found(library.search("red", k=10))
        assert after == before


def test_the_last_judgement_of_a_picture_counts(own_library: Path) -> None:
    photos = own_library / "photos"
    with Library.open(own_library) as library:
        library.add_feedback("red", yes=photos / "red.png")
        library.add_feedback("red", no=photos / "trip" / "copy.png")
        assert answers(library) == {"red.png": False, "copy.png": False}


def test_judgements_that_make_no_picture_clear_are_refused(own_library: Path) -> None:
    photos = own_library / "photos"
    red, copy = photos / "red.png", photos / "trip" / "copy.png"
    with Library.open(own_library) as library:
        with pytest.raises(QueryError, match=r"copy\.png is judged both yes and no"):
            library.add_feedback("red", yes=red, no=copy)
        with pytest.raises(QueryError, match="No photo is named"):
            library.add_feedback("red")
        with pytest.raises(QueryError, match=r"new\.png is not in the library"):
            library.add_feedback("red", yes=[red, photos / "new.png"])
        with pytest.raises(QueryError, match="label is empty"):
            library.add_feedback(" ", yes=red)
        with pytest.raises(UnknownLabel):
            library.add_feedback("qwertyuiop", yes=red)
        paint(red, "yellow", size=(64, 64))
        with pytest.raises(QueryError, match="has changed"):
            library.add_feedback("red", yes=red)
        assert answers(library) == {}


def test_a_library_that_another_process_writes_is_not_judged(own_library: Path) -> None:
    red = own_library / "photos" / "red.png"
    with Library.open(own_library) as one, Library.open(own_library) as other:
        with one.store.writing("mkt index"):
            with pytest.raises(LibraryLocked, match="mkt index"):
                other.add_feedback("red", no=red)
            with pytest.raises(LibraryLocked):
                other.remove_feedback("red")
        other.add_feedback("red", no=red)
        assert "red.png" not in [name for name, _, _ in found(one.search("red"))]


def test_judgements_outlive_a_photo_that_is_pruned_and_comes_back(own_library: Path) -> None:
    blue = own_library / "photos" / "blue.png"
    with Library.open(own_library) as library:
        library.add_feedback("red", no=blue)
        pixels = blue.read_bytes()
        blue.unlink()
        library.index()
        library.prune()
        assert answers(library) == {} and library.feedback("red").no == 1
        assert library.feedback("red").used == 0
        assert len(library.search("red", k=10)) == 4
        blue.with_name("again.png").write_bytes(pixels)
        library.index()
        assert answers(library) == {"again.png": False}
        assert "again.png" not in [name for name, _, _ in found(library.search("red", k=10))]


def test_another_model_keeps_judgements_and_computes_their_effect_anew(own_library: Path) -> None:
    photos = own_library / "photos"
    with Library.open(own_library) as library:
        library.add_feedback("red", yes=photos / "yellow.jpg", no=photos / "blue.png")
        before = library.feedback("red")
        library.index(rebuild=True, model=tiny_checkpoint(own_library / "other"))
        after = library.feedback("red")
        assert (after.yes, after.no, after.used) == (1, 1, 2)
        assert before.turned != after.turned > 0
        stamps = {one.model for one in library.judgements()}
        assert stamps and library.snapshot().facts.encoding.checkpoint not in stamps
