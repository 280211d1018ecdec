"""`mkt demo`: the output, and errors with their exit code."""

from pathlib import Path

import pytest
from PIL import Image

from mkt_search.demo.scenes import render
from mkt_search.demo.scenes.world import Scene
from tests.command_line import mkt


@pytest.mark.slow
def test_the_path_of_the_report_is_the_last_line(tmp_path: Path) -> None:
    result = mkt("demo", tmp_path / "demo", "--photos", "50")
    report = (tmp_path / "demo" / "report.html").resolve()
    assert result.stdout.splitlines()[-1] == str(report)
    assert "$ mkt evaluate" in result.stderr


def test_a_file_instead_of_a_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in mkt("demo", tmp_path / "file", code=2).stderr
    assert "not in the range" in mkt("demo", tmp_path / "d", "--photos", "49", code=2).stderr


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "Not a directory" in mkt("demo", tmp_path / "file" / "demo", code=1).stderr


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = iter(range(100))

    def full(scene: Scene, side: int) -> Image.Image:
        if next(count) == 2:
            raise OSError(28, "No space left on device", "scene.jpg")
        return Image.new("RGB", (side, side))

    monkeypatch.setattr(render, "render", full)
    result = mkt("demo", tmp_path / "d", "--photos", "50", code=1)
    assert "No space left on device" in result.stderr
    assert len(list((tmp_path / "d" / "photos").iterdir())) == 2


def test_ctrl_c_ends_the_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(scene: Scene, side: int) -> Image.Image:
        raise KeyboardInterrupt

    monkeypatch.setattr(render, "render", stop)
    result = mkt("demo", tmp_path / "d", "--photos", "50", code=130)
    assert result.stderr.count("interrupted") == 1
    assert "$ mkt" not in result.stderr
