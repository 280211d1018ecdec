import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer import load
from indexer.load import Failed, Loaded, Loader
from indexer.walk import Walk
from mkt_search.photos import decode as images
from mkt_search.photos.decode import decode, to_views
from mkt_search.types import ImageSpec, PhotoFile

SPEC = ImageSpec(16, 24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def files(folder: Path) -> list[PhotoFile]:
    return list(Walk(folder, folder))


def loader(**changes: object) -> Loader:
    return Loader(SPEC, **{"workers": 3, "ahead": 4, **changes})  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(12):
        paint(tmp_path / f"{number:02}.png", (number * 20, 10, 200 - number * 10))
    return tmp_path


def test_photos_come_in_order_with_their_hash_pixels_and_facts(folder: Path) -> None:
    found = list(loader().load(files(folder)))
    assert [item.file.path for item in found] == [f"{number:02}.png" for number in range(12)]
    for item in found:
        assert isinstance(item, Loaded) and item.views is not None and item.facts is not None
        data = item.file.absolute.read_bytes()
        assert item.content == hashlib.sha256(data).hexdigest()
        np.testing.assert_array_equal(item.views, to_views(decode(data), SPEC))
        assert (item.facts.width, item.facts.height, item.facts.format) == (40, 30, "PNG")


def test_a_bad_photo_is_a_failure_in_its_place(folder: Path) -> None:
    (folder / "05.png").write_bytes(b"not a picture")
    (folder / "06.png").write_bytes(b"")
    found = list(loader().load(files(folder)))
    assert [type(item) for item in found] == [Loaded] * 5 + [Failed] * 2 + [Loaded] * 5
    assert isinstance(found[5], Failed) and found[5].reason
    assert found[5].content == hashlib.sha256(b"not a picture").hexdigest()
    assert isinstance(found[6], Failed) and "empty" in found[6].reason


def test_a_photo_that_vanishes_or_becomes_a_folder_is_a_failure(folder: Path) -> None:
    listed = files(folder)
    (folder / "02.png").unlink()
    (folder / "03.png").unlink()
    (folder / "03.png").mkdir()
    found = list(loader().load(listed))
    assert [item.file.path for item in found if isinstance(item, Failed)] == ["02.png", "03.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and links")
def test_pipes_and_broken_links_are_failures_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    opened: list[Path] = []

    def note(path: Path) -> bytes:
        opened.append(path)
        return images.read(path)

    monkeypatch.setattr(load, "read", note)
    reasons = {item.file.path: item.reason for item in loader().load(files(tmp_path))}  # type: ignore[union-attr]
    assert reasons["pipe.png"] == "not a file but a pipe, a socket or a device"
    assert "dangling link" in reasons["gone.png"] and "link to itself" in reasons["self.png"]
    assert tmp_path / "pipe.png" not in opened


def test_a_photo_that_changes_while_it_is_read_is_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_touch(path: Path) -> bytes:
        data = path.read_bytes()
        if path.name == "04.png":
            path.write_bytes(data + b"more")
        return data

    monkeypatch.setattr(load, "read", read_and_touch)
    found = list(loader().load(files(folder)))
    (failed,) = [item for item in found if isinstance(item, Failed)]
    assert (failed.file.path, failed.reason) == ("04.png", load.CHANGED)


def test_a_photo_that_changed_after_the_walk_is_loaded_as_it_is_now(folder: Path) -> None:
    listed = files(folder)
    paint(folder / "04.png", (9, 9, 9), size=(80, 60))
    item = list(loader().load(listed))[4]
    assert isinstance(item, Loaded) and item.facts is not None
    assert item.facts.width == 80
    assert item.file.size == (folder / "04.png").stat().st_size != listed[4].size


def test_bytes_that_are_stored_are_not_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = hashlib.sha256((folder / "07.png").read_bytes()).hexdigest()
    decoded: list[str] = []
    really = images.decode

    def note(data: bytes, **options: object) -> object:
        decoded.append(str(options["name"]))
        return really(data, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(load, "decode", note)
    found = list(loader(is_stored=lambda content: content == stored).load(files(folder)))
    assert found[7] == Loaded(files(folder)[7], stored, None, None)
    assert len(decoded) == 11 and "07.png" not in decoded


def test_no_more_photos_are_taken_than_may_wait(folder: Path) -> None:
    taken = 0

    def counted() -> Iterator[PhotoFile]:
        nonlocal taken
        for file in files(folder):
            taken += 1
            yield file

    for done, _ in enumerate(loader(ahead=3).load(counted()), start=1):
        assert taken <= done + 3
    assert taken == 12


def test_order_is_kept_when_early_photos_are_slow(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(path: Path) -> bytes:
        if path.name < "04":
            time.sleep(0.02)
        return path.read_bytes()

    monkeypatch.setattr(load, "read", slowly)
    found = list(loader().load(files(folder)))
    assert [item.file.path for item in found] == [f"{number:02}.png" for number in range(12)]


def test_only_one_large_photo_is_decoded_at_a_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most = 0, 0
    lock = threading.Lock()
    really: Callable[..., object] = images.decode

    def watched(data: bytes, **options: object) -> object:
        nonlocal inside, most
        if options["max_pixels"] == 100:
            return really(data, **options)
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.005)
        with lock:
            inside -= 1
        return really(data, **options)

    monkeypatch.setattr(load, "decode", watched)
    found = list(loader(large_pixels=100).load(files(folder)))
    assert all(isinstance(item, Loaded) for item in found)
    assert most == 1


def test_a_photo_above_the_limit_fails_with_its_size(folder: Path) -> None:
    found = list(loader(max_pixels=1000).load(files(folder)))
    assert all(isinstance(item, Failed) for item in found)


def test_the_threads_end_when_the_loading_is_closed(folder: Path) -> None:
    before = set(threading.enumerate())
    loading = loader().load(files(folder))
    next(loading)
    loading.close()  # type: ignore[attr-defined]
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith("load")]
