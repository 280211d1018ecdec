"""What Windows refuses: renames over open files, deletes of mapped ones, syncs of folders."""

import os
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import pytest

from mkt_search.portable import leads_out, remove, replace, sync

NO_WAIT = (0.0, 0.0, 0.0)


def refusing(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> list[object]:
    """Make a function of os refuse some times, as Windows does while a file is open."""
    real, calls = getattr(os, name), list[object]()

    def refuse(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) <= times:
            raise PermissionError(13, "The process cannot access the file")
        return real(*arguments)

    monkeypatch.setattr(os, name, refuse)
    return calls


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new")
    old.write_text("old")
    return new, old


def test_a_rename_waits_until_a_reader_is_done(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = refusing(monkeypatch, "replace", 3)
    replace(*files, waits=NO_WAIT)
    assert files[1].read_text() == "new" and len(calls) == 4


def test_a_rename_that_is_always_refused_is_an_error(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = refusing(monkeypatch, "replace", 99)
    with pytest.raises(PermissionError):
        replace(*files, waits=NO_WAIT)
    assert len(calls) == 4 and [file.read_text() for file in files] == ["new", "old"]


@pytest.mark.skipif(os.name == "nt", reason="Windows waits")
def test_elsewhere_a_refusal_is_final(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = refusing(monkeypatch, "replace", 1)
    with pytest.raises(PermissionError):
        replace(*files)
    assert len(calls) == 1


def test_a_file_in_use_is_kept_where_the_system_keeps_it(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, "unlink", 2)
    assert not remove(files[0], may_be_kept=True) and files[0].exists()
    with pytest.raises(PermissionError):
        remove(files[0], may_be_kept=False)
    assert remove(files[0]) and not files[0].exists()
    assert remove(files[0], may_be_kept=True)  # is gone already


def test_a_file_and_a_folder_are_synced(files: tuple[Path, Path]) -> None:
    sync(files[0])
    sync(files[0].parent)
    assert files[0].read_text() == "new"
    with pytest.raises(FileNotFoundError):
        sync(files[0].with_name("none"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PurePosixPath("trip/a.jpg"), False),
        (PurePosixPath("12:30 C:a\\..\\b.jpg"), False),
        (PurePosixPath("trip/../../a.jpg"), True),
        (PurePosixPath("/etc/passwd"), True),
        (PureWindowsPath("trip/a.jpg"), False),
        (PureWindowsPath("trip\\..\\..\\a.jpg"), True),
        (PureWindowsPath("C:a.jpg"), True),
        (PureWindowsPath("C:/a.jpg"), True),
        (PureWindowsPath("/a.jpg"), True),
        (PureWindowsPath("//server/share/a.jpg"), True),
    ],
    ids=str,
)
def test_a_path_stays_in_its_folder_or_leads_out(path: PurePath, expected: bool) -> None:
    assert leads_out(path) == expected
