"""A library, photos and a student for every test; what can be shared is made once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkt_search.models.encoder import PhotoEncoder
from mkt_search.store.store import Store
from tests.indexer.indexed import COLOURS, SPEC
from tests.tiny import paint, tiny_student


@pytest.fixture(scope="session")
def encoder() -> PhotoEncoder:
    """The tiny student."""
    return PhotoEncoder(tiny_student(), SPEC, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def empty_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new library, to copy: creating one runs every migration."""
    folder = tmp_path_factory.mktemp("empty") / ".mkt"
    Store.create(folder).close()
    return folder


@pytest.fixture
def store(tmp_path: Path, empty_library: Path) -> Iterator[Store]:
    """An empty library."""
    store = Store.open(shutil.copytree(empty_library, tmp_path / "library" / ".mkt"))
    yield store
    store.close()


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos in two folders, to copy."""
    folder = tmp_path_factory.mktemp("painted") / "photos"
    for number, colour in enumerate(COLOURS):
        paint(folder / f"{'ab'[number % 2]}" / f"{number:02}.png", colour, size=(40, 40))
    return folder


@pytest.fixture
def folder(tmp_path: Path, painted: Path) -> Path:
    """Twelve photos in two folders, for one test to change."""
    return shutil.copytree(painted, tmp_path / "photos")
