"""How a run chooses tags: what a person asks for, and what is done if nothing is asked."""

from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.calibration.file import FILE, Found, save
from mkt_search.errors import QueryError
from mkt_search.tagging.choice import DEFAULT_PRECISION, TagRequest
from tests.calibration.made import calibrator_of, fitted

COLOURS = ["red", "green", "blue"]


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        (TagRequest(top=-1, threshold=0.5), ["a"]),
        (TagRequest(top=3), []),
        (TagRequest(top=3, threshold=1.5), ["a"]),
        (TagRequest(threshold=float("nan")), ["a"]),
        (TagRequest(min_p=0.0), ["a"]),
        (TagRequest(precision=1.1), ["a"]),
        (TagRequest(min_p=0.5, threshold=0.1), ["a"]),
    ],
)
def test_what_would_tag_nothing_or_contradicts_itself_is_refused(asked, labels) -> None:
    with pytest.raises(QueryError):
        asked.check(labels)


def test_the_default_is_a_precision_only_where_nothing_is_asked_and_p_can_tell() -> None:
    can_tell, cannot = Found(fitted()), Found(fitted(strength=0))
    assert TagRequest().or_default(can_tell) == TagRequest(precision=DEFAULT_PRECISION)
    for found in (cannot, Found(None)):
        assert TagRequest().or_default(found) == TagRequest()
    for asked in (
        TagRequest(top=1),
        TagRequest(threshold=0.1),
        TagRequest(min_p=0.5),
        TagRequest(precision=0.9),
    ):
        assert asked.or_default(can_tell) == asked


def test_with_a_calibrator_a_run_without_settings_asks_for_the_default(own_library: Path) -> None:
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
        default = library.tag(COLOURS, dry_run=True)
        asked = library.tag(COLOURS, precision=DEFAULT_PRECISION, dry_run=True)
    assert default == asked and default.added > 0
    assert default.rule == "any number a photo, expected precision of each label 0.8"


def test_every_tag_has_the_probability_that_is_asked_of_each(own_library: Path) -> None:
    with Library.open(own_library) as library:
        save(calibrator_of(library), library.directory / FILE)
        library.tag(COLOURS, min_p=0.5)
        some = {(tag.path, tag.label) for tag in library.tags()}
        library.tag(COLOURS, threshold=-1.0)
        likely = {(tag.path, tag.label) for tag in library.tags() if (tag.p or 0) >= 0.5}
    assert some == likely and some


def test_few_photos_and_no_words_are_no_ground_to_choose_labels_on(own_library: Path) -> None:
    with Library.open(own_library) as library, pytest.raises(QueryError, match="--top N"):
        library.tag(COLOURS)


@pytest.mark.parametrize("rule", [{}, {"top": 2}, {"threshold": 0.0}])
def test_a_library_whose_photos_are_gone_gets_no_tags(
    own_library: Path, rule: dict[str, float]
) -> None:
    for photo in (own_library / "photos").rglob("*.*"):
        photo.unlink()
    with Library.open(own_library) as library:
        library.index()
        library.prune()
        assert not len(library)
        if rule:
            assert library.tag(COLOURS, **rule).added == 0  # type: ignore[arg-type]
        else:
            with pytest.raises(QueryError, match="0 photos are too few"):
                library.tag(COLOURS)
