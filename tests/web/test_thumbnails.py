"""Thumbnails are made once, kept within bounds, and never of other bytes than their address."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Event, Lock

import pytest
from PIL import Image

from mkt_search import Library
from mkt_search.photos import decode
from mkt_search.web.problems import Refused
from mkt_search.web.thumbnails import DECODED_AT_ONCE, Cache, Colours, Thumbnails
from tests.made import sha
from tests.tiny import paint

WEBP = b"RIFF\x0c\x00\x00\x00WEBPVP8 rest"
WAIT = 60  # seconds


@pytest.fixture
def opened(own_library: Path) -> Iterator[Library]:
    with Library.open(own_library) as library:
        yield library


@pytest.fixture
def thumbnails(opened: Library) -> Iterator[Thumbnails]:
    found = Thumbnails(opened)
    yield found
    found.close()


def content_of(library: Library, name: str) -> str:
    record = library.photo(library.directory.parent / "photos" / name)
    assert record.content is not None
    return record.content


def made(thumbnails: Thumbnails, content: str, side: int = 256) -> bytes:
    return thumbnails.make(thumbnails.photos(content), side).result(WAIT)


def counted(monkeypatch: pytest.MonkeyPatch, before: Callable[[], object]) -> list[str]:
    """Return the names of the photos that are decoded from now on."""
    names: list[str] = []
    original = decode.decode

    def counting(data: bytes, *, name: str, **rest: int) -> decode.Decoded:
        names.append(name)
        before()
        return original(data, name=name, **rest)

    monkeypatch.setattr(decode, "decode", counting)
    return names


def test_a_thumbnail_is_kept_and_its_colour_with_it(
    thumbnails: Thumbnails, opened: Library
) -> None:
    red = content_of(opened, "red.png")
    assert thumbnails.kept(red, 256) is None and thumbnails.colours.of(red) is None
    data = made(thumbnails, red)
    assert Image.open(io.BytesIO(data)).size == (128, 128)  # never enlarged
    assert thumbnails.kept(red, 256) == data and thumbnails.kept(red, 512) is None
    assert thumbnails.colours.of(red) == "#ff0000"
    assert Thumbnails(opened).colours.of(red) == "#ff0000"


def test_a_photo_that_many_ask_for_is_decoded_once(
    thumbnails: Thumbnails, opened: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = Event()
    names = counted(monkeypatch, lambda: go.wait(WAIT))
    photos = thumbnails.photos(content_of(opened, "green.png"))
    futures = [thumbnails.make(photos, 256) for _ in range(20)]
    go.set()
    assert len({future.result(WAIT) for future in futures}) == 1
    made(thumbnails, content_of(opened, "green.png"))
    assert names == ["green.png"]


def test_two_photos_are_decoded_at_once_and_no_more(
    thumbnails: Thumbnails, opened: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    two, running, most, lock = Barrier(2), 0, 0, Lock()

    def enter() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        two.wait(WAIT)
        with lock:
            running -= 1

    counted(monkeypatch, enter)
    names = ("red.png", "green.png", "blue.png", "yellow.jpg")
    photos = [thumbnails.photos(content_of(opened, name)) for name in names]
    try:
        for future in [thumbnails.make(of, 256) for of in photos]:
            future.result(WAIT)
    except BrokenBarrierError:
        pytest.fail("only one photo was decoded at a time")
    assert most == DECODED_AT_ONCE == 2


def test_a_copy_serves_when_a_photo_has_changed(thumbnails: Thumbnails, opened: Library) -> None:
    photos = opened.directory.parent / "photos"
    red = content_of(opened, "red.png")
    paint(photos / "red.png", "green")
    made(thumbnails, red)
    (photos / "trip" / "copy.png").unlink()
    with pytest.raises(Refused, match=r"red\.png has changed since it was indexed"):
        made(thumbnails, red, 512)
    (photos / "red.png").unlink()
    with pytest.raises(Refused, match=r"cannot be read: the file is gone"):
        made(thumbnails, red, 512)


def test_bytes_that_no_photo_has_now_have_no_thumbnail(thumbnails: Thumbnails) -> None:
    with pytest.raises(Refused, match="no photo with these bytes now"):
        thumbnails.photos(sha("anything"))


def test_where_nothing_can_be_written_thumbnails_are_served_all_the_same(
    opened: Library, caplog: pytest.LogCaptureFixture
) -> None:
    (opened.directory / "thumbnails").write_bytes(b"in the way")
    thumbnails = Thumbnails(opened)
    for side in (256, 512, 512):
        assert made(thumbnails, content_of(opened, "blue.png"), side)
    assert thumbnails.kept(content_of(opened, "blue.png"), 512) is None
    assert thumbnails.colours.of(content_of(opened, "blue.png")) == "#0000ff"
    assert caplog.text.count("thumbnails are not kept") == 1
    thumbnails.close()


def name(number: int) -> str:
    return f"{sha(str(number))}-256.webp"


def test_the_least_recently_used_go_first_also_after_a_restart(tmp_path: Path) -> None:
    size = 3 * len(WEBP)
    cache = Cache(tmp_path / "thumbnails", size)
    for number in range(3):
        cache.add(name(number), WEBP)
        os.utime(tmp_path / "thumbnails" / name(number), (number, number))
    assert cache.get(name(0)) == WEBP
    cache.add(name(3), WEBP)
    assert [cache.get(name(number)) is not None for number in range(4)] == [1, 0, 1, 1]
    for number in (2, 3, 0):
        os.utime(tmp_path / "thumbnails" / name(number), (number + 9, number + 9))
    again = Cache(tmp_path / "thumbnails", size)
    again.add(name(4), WEBP)
    assert [again.get(name(number)) is not None for number in range(5)] == [0, 0, 1, 1, 1]


def test_a_file_that_was_cut_or_linked_is_not_served(tmp_path: Path) -> None:
    folder = tmp_path / "thumbnails"
    cache = Cache(folder, 10**6)
    cache.add(name(0), WEBP)
    (folder / name(0)).write_bytes(WEBP[:-1])
    assert cache.get(name(0)) is None
    (tmp_path / "elsewhere").write_bytes(WEBP)
    (folder / name(1)).symlink_to(tmp_path / "elsewhere")
    assert cache.get(name(1)) is None


def test_what_a_crash_left_half_written_is_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "thumbnails"
    folder.mkdir()
    (folder / f"{name(0)}.tmp").write_bytes(WEBP[:4])
    (folder / "mine.txt").write_text("not a thumbnail")
    Cache(folder, 1).add(name(1), WEBP)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.txt"]


def test_a_torn_line_of_colours_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "thumbnails" / "colours.txt"
    colours = Colours(file)
    for number in range(2):
        colours.add(sha(str(number)), (number, 2, 255))
        colours.add(sha(str(number)), (9, 9, 9))
    file.write_bytes(file.read_bytes()[:-3])
    again = Colours(file)
    assert again.of(sha("0")) == "#0002ff" and again.of(sha("1")) is None
    again.add(sha("1"), (3, 3, 3))
    assert Colours(file).of(sha("1")) == "#030303" and Colours(file).of(None) is None
    shutil.rmtree(file.parent)
    assert Colours(file).of(sha("0")) is None
