"""A browser, and servers of small libraries."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.command_line import mkt
from tests.require import chromium
from tests.web.pages.served import Served, Visit, visit

SECONDS = 30  # that a page has to show something; a busy machine needs some
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder: each needs a process of its own."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """Chromium without a window, for one module: no event loop can start beside Playwright's."""
    path = chromium()
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tagged_library(tmp_path_factory: pytest.TempPathFactory, library: Path) -> Path:
    """A library whose tags red and blue were proposed by run 2; only copy it."""
    home = tmp_path_factory.mktemp("tagged") / "home"
    shutil.copytree(library, home)
    mkt("root", library / "photos", home / "photos", "--library", home)
    (home / "labels.txt").write_text("red\nblue\n")
    mkt("tag", "--vocabulary", home / "labels.txt", "--threshold", "0", "--library", home)
    return home


@contextmanager
def _server(library: Path, folder: Path) -> Iterator[Served]:
    """Serve a copy of a library in a folder."""
    home = folder / "home"
    shutil.copytree(library, home)
    mkt("root", library / "photos", home / "photos", "--library", home)
    found = Served(home)
    found.start()
    try:
        yield found
    finally:
        found.kill()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, tagged_library: Path) -> Iterator[Served]:
    """A server that is only read."""
    with _server(tagged_library, tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture
def own_server(tmp_path: Path, tagged_library: Path) -> Iterator[Served]:
    """A server of a library that the test may change; it may kill it, too."""
    with _server(tagged_library, tmp_path) as found:
        yield found


@pytest.fixture
def seen(chrome: Browser, served: Served) -> Iterator[Visit]:
    """A page of the server that is only read; its console must stay empty."""
    with visit(chrome, served) as found:
        yield found
        assert not found.errors


@pytest.fixture
def own(chrome: Browser, own_server: Served) -> Iterator[Visit]:
    """A page of the server that the test may change."""
    with visit(chrome, own_server) as found:
        yield found
