"""Fixtures of many test files, and those that take too long to make for each of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.index_process import Commands


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an indexed library, for tests that only read."""
    from tests.command_line import make_library

    return make_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def library_and_backup(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    from tests.command_line import make_library

    home = make_library(tmp_path_factory.mktemp("own_library"))
    backup = tmp_path_factory.mktemp("backup") / "home"
    shutil.copytree(home, backup)
    return home, backup


@pytest.fixture
def own_library(library_and_backup: tuple[Path, Path]) -> Path:
    """A folder with an indexed library, for one test to change."""
    home, backup = library_and_backup
    shutil.rmtree(home)
    shutil.copytree(backup, home)
    return home


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Starts `mkt` commands that a test may kill."""
    with Commands() as running:
        yield running


@pytest.fixture(scope="session")
def demo_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo models were trained by the small recipe; only read it.

    `log.txt` beside it has every remark and epoch.
    """
    from training.demo.build import SMALL, build_demo
    from training.runs.report import epoch_line

    folder = tmp_path_factory.mktemp("demo") / "build"
    log: list[str] = []
    build_demo(
        folder,
        SMALL,
        progress=lambda event: log.append(event.message),
        on_epoch=lambda epoch: log.append(epoch_line(epoch)),
    )
    (folder.parent / "log.txt").write_text("\n".join(log))
    return folder
