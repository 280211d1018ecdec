"""What a command does not need it does not import: help, a known label, an unchanged library."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mkt_search import Library
from mkt_search.cli import COMMANDS
from tests.tiny import paint, tiny_clip_folder

HEAVY = {
    *("torch", "timm", "open_clip", "faiss", "sqlalchemy", "alembic", "PIL"),
    *("rich", "jinja2", "numpy", "pyarrow", "safetensors", "h5py", "matplotlib"),
}
MODEL = {"torch", "timm", "open_clip", "torchvision", "transformers"}
LOADED = "import sys; print(*{name.split('.')[0] for name in sys.modules})"


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


def test_command_line_imports_nothing_heavy() -> None:
    assert not loaded_after("import mkt_search.cli") & HEAVY


def loaded_by(*arguments: str) -> set[str]:
    """Return what `mkt` with some arguments loads."""
    call = f"from mkt_search.cli import main\nmain({list(arguments)}, standalone_mode=False)"
    return loaded_after(call)


@pytest.mark.parametrize(
    "arguments", [[], *([name] for name in COMMANDS), ["evaluate", "ann"]], ids=str
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert not loaded_by(*arguments, "--help") & HEAVY


def test_naming_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import mkt_search") & HEAVY


def test_help_takes_a_moment_at_most() -> None:
    def once() -> float:
        before = time.perf_counter()
        call = "from mkt_search.cli import main; main(['--help'])"
        subprocess.run([sys.executable, "-c", call], capture_output=True, check=True)
        return time.perf_counter() - before

    assert min(once() for _ in range(5)) < 1.0  # 0.3 s on an idle machine; others share this one


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose model is a CLIP with a text tower; it remembers "a known label"."""
    home = tmp_path_factory.mktemp("home")
    model = tiny_clip_folder(home / "model")
    for number, colour in enumerate(("red", "green", "blue")):
        paint(home / "photos" / f"{number}.png", colour, size=(40, 40))
    with Library.create(home) as library:
        library.index(home / "photos", model=model)
        library.search("a known label")
    return home


@pytest.mark.slow
def test_a_search_for_a_known_label_does_not_load_the_model(home: Path) -> None:
    loaded = loaded_by("search", "a known label", "--library", str(home), "--json")
    assert not loaded & (MODEL | {"alembic", "rich", "jinja2", "safetensors.torch"})
    assert "faiss" in loaded


def test_the_tables_of_a_library_do_not_load_the_dialect_of_postgresql() -> None:
    modules = "import mkt_search.store.sql.schema, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True)
    assert "sqlalchemy" in done.stdout and "dialects.postgresql" not in done.stdout


@pytest.mark.slow
def test_a_search_for_a_new_label_loads_the_model_once(home: Path) -> None:
    search = ("search", "a new label", "--library", str(home))
    assert MODEL & loaded_by(*search)
    assert not MODEL & loaded_by(*search)


@pytest.mark.slow
def test_indexing_an_unchanged_library_does_not_load_the_model(home: Path) -> None:
    assert not loaded_by("index", "--library", str(home)) & MODEL
    (home / "photos" / "0.png").touch()  # its bytes are hashed and found unchanged
    assert not loaded_by("index", "--library", str(home)) & MODEL
    assert not loaded_by("index", "--dry-run", "--library", str(home)) & MODEL


@pytest.mark.slow
def test_repairing_a_sound_library_does_not_load_the_model(home: Path) -> None:
    assert not loaded_by("repair", "--library", str(home)) & MODEL


@pytest.mark.slow
def test_indexing_a_new_photo_loads_the_model(home: Path) -> None:
    paint(home / "photos" / "new.png", "yellow", size=(40, 40))
    assert loaded_by("index", "--library", str(home)) & MODEL
