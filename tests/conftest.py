"""What is too dear to be made for every test file: one small rebuild of the demo checkpoint."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def demo_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo checkpoint was rebuilt by the small recipe; only read it."""
    from training.demo.build import SMALL, rebuild

    folder = tmp_path_factory.mktemp("demo") / "build"
    heard: list[str] = []
    rebuild(folder, SMALL, heard.append)
    (folder.parent / "heard.txt").write_text("\n".join(heard))
    return folder
