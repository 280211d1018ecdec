"""Fixtures that are too slow to make for each test file: one small training of the demo models."""

from pathlib import Path

import pytest


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
