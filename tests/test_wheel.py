"""One wheel carries everything; an installed copy works by itself and shows its types."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked, as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(site: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_has_the_three_packages_the_migrations_and_the_settings(site: Path) -> None:
    for file in (
        "mkt_search/cli.py",
        "mkt_search/mkt.toml",
        "mkt_search/migrations/versions/0001_first.py",
        "mkt_search/pages/templates/sheet.html",
        "mkt_search/models/vocabularies/everyday.toml",
        "mkt_search/web/static/app.js",
        "mkt_search/web/static/index.html",
        "mkt_search/demo/scenes/world.py",
        "mkt_search/demo/shipped/checkpoint/calibrator.npz",
        "mkt_search/demo/shipped/checkpoint/student.safetensors",
        "mkt_search/demo/shipped/clip/open_clip_model.safetensors",
        "indexer/pipeline.py",
        "training/cli.py",
        "mkt_search/py.typed",
        "indexer/py.typed",
        "training/py.typed",
    ):
        assert (site / file).is_file(), file
    assert {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")} == {
        "mkt_search",
        "indexer",
        "training",
    }


def test_training_is_ours(site: Path) -> None:
    """Old open_clip installed a top-level package of that name."""
    code = "import training, mkt_search; print(training.__file__, mkt_search.__file__)"
    assert run(site, "-c", code).count(str(site)) == 2


def test_an_installed_copy_makes_and_migrates_a_library(site: Path) -> None:
    run(site, "-m", "mkt_search", "init", "home")
    assert (site.parent / "home" / ".mkt" / "mkt.db").is_file()
    assert (site.parent / "home" / "mkt.toml").is_file()
    run(site, "-m", "mkt_search", "migrate", "--library", "home")
    assert "0" in run(site, "-m", "mkt_search", "status", "--library", "home")


@pytest.fixture(scope="module")
def environment(site: Path) -> Path:
    """The Python of a virtual environment with the wheel installed; other packages are ours."""
    folder = site.parent / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    shutil.copytree(site, packages, dirs_exist_ok=True)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


HEAVY = ("torch", "torchvision", "sqlalchemy", "PIL", "alembic", "rich", "click")
"""Packages whose types no public signature needs; reading them takes most of mypy's time."""


def mypy(program: Path, environment: Path) -> str:
    """Return what `mypy --strict` says to a user of the installed package."""
    config = program.parent / "mypy.ini"
    skipped = (f"[mypy-{name}.*]\nfollow_imports = skip\n" for name in HEAVY)
    config.write_text("[mypy]\n" + "".join(skipped))
    command = [sys.executable, "-m", "mypy", "--strict", f"--config-file={config}", str(program)]
    done = subprocess.run(
        [*command, "--python-executable", str(environment)],
        cwd=program.parent,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="the environment is laid out as on POSIX")
def test_a_strictly_typed_program_sees_the_types(environment: Path, tmp_path: Path) -> None:
    program = Path(shutil.copy(ROOT / "tests" / "typed_user.py", tmp_path))
    assert mypy(program, environment).startswith("Success")
    program.write_text("from mkt_search import Library\n\nLibrary.open().search(3)\n")
    assert 'Argument 1 to "search" of "Library"' in mypy(program, environment)
