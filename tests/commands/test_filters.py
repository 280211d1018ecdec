"""The filter options, as search and tags share them."""

from datetime import datetime
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mkt_search.commands.filters import dates_note, filter_options, take_filters
from mkt_search.types import Filters


def parse(*arguments: str) -> Filters:
    """Return the filters that a command with these arguments gets."""
    taken: list[Filters] = []

    @click.command()
    @filter_options
    def command(**given: Any) -> None:
        taken.append(take_filters(given))
        assert not given

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception:
        raise result.exception
    return taken[0]


def test_no_option_is_no_filter() -> None:
    assert parse().is_empty


def test_every_option_is_a_filter() -> None:
    found = parse(
        *("--path", "trip/*", "--tag", "dog", "--camera", "Pinhole"),
        *("--after", "2024", "--before", "2024-05-17", "--min-width", "100", "--min-height", "50"),
    )
    assert found == Filters(
        path="trip/*",
        tag="dog",
        camera="Pinhole",
        after=datetime(2024, 1, 1),
        before=datetime(2024, 5, 17),
        min_width=100,
        min_height=50,
    )


@pytest.mark.parametrize(
    ("text", "day"),
    [("2024", (2024, 1, 1)), ("2024-05", (2024, 5, 1)), ("2024-05-17", (2024, 5, 17))],
)
def test_a_date_is_a_day_or_the_first_of_a_month_or_year(
    text: str, day: tuple[int, int, int]
) -> None:
    assert parse("--after", text).after == datetime(*day)


@pytest.mark.parametrize("before", ["2023", "2024"])
def test_dates_with_nothing_between_them_are_a_usage_error(before: str) -> None:
    with pytest.raises(click.UsageError, match="No photo was taken on 2024-01-01 or later"):
        parse("--after", "2024", "--before", before)


def test_another_date_is_refused_with_the_formats() -> None:
    with pytest.raises(click.BadParameter, match=r'"17\.5\.2024" is not a date; write 2024'):
        parse("--after", "17.5.2024")


AFTER = Filters(after=datetime(2024, 1, 1))


def test_photos_that_only_their_files_date_are_counted_for_a_filter_by_date() -> None:
    assert dates_note(["exif", "name", "mtime", "name", "xmp", "gps", None], AFTER, "hit") == (
        "Dated only by the file: 3 of 7 hits (2 by its name, 1 by its modification time)."
    )
    assert dates_note(["mtime"], AFTER, "photo") == (
        "Dated only by the file: 1 of 1 photo (1 by its modification time)."
    )
    assert dates_note(["exif", "gps"], AFTER, "hit") == ""
    assert dates_note(["name", "mtime"], Filters(camera="x"), "hit") == ""
    assert dates_note([], AFTER, "hit") == ""


@pytest.mark.parametrize("number", ["99999999999999999999", "2147483648", "0", "-1", "1e3", "x"])
@pytest.mark.parametrize("flag", ["--min-width", "--min-height"])
def test_a_size_that_no_photo_can_have_is_a_usage_error(flag: str, number: str) -> None:
    with pytest.raises(click.UsageError):
        parse(flag, number)
