"""Which files and folders are left out by name."""

from pathlib import Path

import pytest

from indexer.exclude import BY_DEFAULT, BY_FILE, BY_OPTION, IGNORE_FILE, Exclusions
from mkt_search.errors import ConfigError

NONE = Exclusions.of(())


@pytest.mark.parametrize(
    "name",
    (
        *("@eaDir", "#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "lost+found"),
        *("2019.lrdata", ".thumbnails", "System Volume Information"),
    ),
)
def test_folders_of_other_programs_are_left_out_wherever_they_are(name: str) -> None:
    for path in (name, f"2019/{name}"):
        assert NONE.why(path, is_folder=True) == BY_DEFAULT
        assert NONE.why(f"{path}.jpg", is_folder=False) is None


@pytest.mark.parametrize("name", ["lost and found", "eaDir", "recycle", "lrdata", "thumbnails"])
def test_folders_of_the_user_are_not(name: str) -> None:
    assert NONE.why(name, is_folder=True) is None


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "is_left_out"),
    [
        ("*_small.jpg", "a/b_small.jpg", False, True),
        ("*_small.jpg", "a/b.jpg", False, False),
        ("export/", "a/export", True, True),
        ("export/", "a/export", False, False),
        ("/export", "a/export", True, False),
        ("2019/*/raw", "2019/may/raw", True, True),
        ("**/raw/**", "a/raw/b.jpg", False, True),
        ("[ab].jpg", "a.jpg", False, True),
        ("caf\u00e9", "a/cafe\u0301", True, True),
        ("cafe\u0301", "a/caf\u00e9", True, True),
    ],
)
def test_patterns_of_the_option_are_those_of_gitignore(
    pattern: str, path: str, is_folder: bool, is_left_out: bool
) -> None:
    why = Exclusions.of([pattern]).why(path, is_folder=is_folder)
    assert why == (BY_OPTION if is_left_out else None)


def test_the_option_decides_before_a_file_and_a_file_before_the_defaults(tmp_path: Path) -> None:
    (tmp_path / IGNORE_FILE).write_text("a\nb\n!@eaDir\n", "utf-8-sig")
    exclusions = Exclusions.of(["!b", "c"]).with_file("", tmp_path)
    names = ("a", "b", "c", "@eaDir", "lost+found")
    assert [exclusions.why(name, is_folder=True) for name in names] == [
        *(BY_FILE, None, BY_OPTION),
        *(None, BY_DEFAULT),
    ]


def test_a_pattern_that_is_not_valid_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--exclude: .*patterns are those of \.gitignore"):
        Exclusions.of(["!"])


def test_a_pattern_that_takes_minutes_to_compare_is_refused() -> None:
    Exclusions.of(["*_*_*_*.jpg", "a*/*/*/*/*/*", "# * * * * * * *"])
    with pytest.raises(ConfigError, match=r'more than 4 "\*" between slashes: b/\*a\*a'):
        Exclusions.of(["b/*a*a*a*a*a*a"])
