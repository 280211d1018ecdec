"""What a page needs to show photos in a grid."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.web.app import create_app
from mkt_search.web.pictures import picture, pictures
from mkt_search.web.serving import Options, Serving


@pytest.fixture
def serving(library: Path) -> Iterator[Serving]:
    with Library.open(library) as opened:
        found: Serving = create_app(opened, Options("a-token-of-the-tests")).state.serving
        yield found
        found.close()


def test_a_photo_has_its_name_its_size_and_where_its_thumbnails_are(
    serving: Serving, library: Path
) -> None:
    record = serving.library.photo(library / "photos" / "trip" / "mixed.png")
    found = picture(serving, record)
    assert (found["name"], found["width"], found["height"]) == ("mixed.png", 128, 128)
    assert found["thumbnail"] == f"/thumbnails/{record.content}"


def test_photos_that_the_library_lost_are_left_out(serving: Serving) -> None:
    assert set(pictures(serving, [1, 9_999])) == {1}
