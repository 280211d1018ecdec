"""The architecture as a test: imports point down, and each foreign library has one home."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Floors from the roof down, of the house and inside the store. Folders end with "/"; the longest
# entry that fits is a module's room. A module imports from its own room and from lower floors.
HOUSE: tuple[tuple[str, ...], ...] = (
    ("mkt_search/cli.py", "mkt_search/__main__.py", "mkt_search/__init__.py"),
    ("mkt_search/demo/",),
    ("mkt_search/commands/",),
    ("mkt_search/library.py",),
    ("indexer/", "training/"),
    ("mkt_search/evaluation/",),
    ("mkt_search/search/", "mkt_search/tagging/", "mkt_search/pages/"),
    ("mkt_search/store/", "mkt_search/models/", "mkt_search/datasets/", "mkt_search/demo/scenes/"),
    ("mkt_search/terminal/",),
    ("mkt_search/photos/", "mkt_search/settings/"),
    ("mkt_search/",),
)
STORE: tuple[tuple[str, ...], ...] = (
    ("mkt_search/store/",),
    ("mkt_search/store/candidates/",),
    ("mkt_search/store/sql/",),
    ("mkt_search/store/ann/",),
    ("mkt_search/store/segments/",),
    ("mkt_search/store/catalog.py",),
    ("mkt_search/store/spill.py",),
    (
        "mkt_search/store/disk.py",
        "mkt_search/store/records.py",
        "mkt_search/store/recall_curve.py",
    ),
)
# Foreign library -> the only rooms that may name it.
HOMES: dict[str, tuple[str, ...]] = {
    "faiss": ("mkt_search/store/ann/",),
    "sqlalchemy": ("mkt_search/store/", "migrations/"),
    "alembic": ("mkt_search/store/sql/upgrade.py", "migrations/"),
    "timm": ("mkt_search/models/", "training/"),
    "open_clip": ("mkt_search/models/", "training/demo/"),
    "PIL": (
        "mkt_search/photos/",
        "mkt_search/pages/picture.py",
        "mkt_search/demo/scenes/",
        "training/data/",
    ),
    "pillow_heif": ("mkt_search/photos/formats.py",),
    "rawpy": ("mkt_search/photos/raw.py",),
    "click": (
        "mkt_search/cli.py",
        "mkt_search/terminal/",
        "mkt_search/commands/",
        "mkt_search/demo/cli.py",
        "training/cli.py",
    ),
    "rich": ("mkt_search/terminal/",),
    "filelock": ("mkt_search/locks.py",),
    "safetensors": ("mkt_search/models/", "mkt_search/store/segments/", "training/"),
    "jinja2": ("mkt_search/pages/",),
    "matplotlib": ("mkt_search/evaluation/plots.py",),
    "pyarrow": ("mkt_search/tagging/export.py",),
    "h5py": ("mkt_search/datasets/nus_wide.py",),
}
SOURCES = sorted(
    path for top in ("mkt_search", "indexer", "training") for path in (ROOT / top).rglob("*.py")
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


def imports(path: Path, *, at_run_time: bool = False) -> Iterator[str]:
    """Yield every dotted name that a file imports; `at_run_time` skips TYPE_CHECKING blocks."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        child
        for node in ast.walk(tree)
        if at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> str | None:
    """Return the project file that a dotted name leads to; None for a foreign module."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for file in ("/".join(parts[:length]) + ".py", "/".join([*parts[:length], "__init__.py"])):
            if (ROOT / file).is_file():
                return file
    return None


def room_of(file: str, floors: tuple[tuple[str, ...], ...]) -> tuple[int, str] | None:
    """Return the floor (0 is the roof) and the room of a file; None if no room holds it."""
    holding = [
        (room, n) for n, rooms in enumerate(floors) for room in rooms if file.startswith(room)
    ]
    room, floor = max(holding, key=lambda item: len(item[0]), default=("", -1))
    return (floor, room) if room else None


@every_source
@pytest.mark.parametrize("floors", [HOUSE, STORE], ids=["house", "store"])
def test_imports_point_down(path: Path, floors: tuple[tuple[str, ...], ...]) -> None:
    here = room_of(name_of(path), floors)
    for module in imports(path):
        target = file_of(module)
        there = room_of(target, floors) if target else None
        if here and there and there[1] != here[1]:
            assert there[0] > here[0], f"{name_of(path)} imports {module}"


@every_source
def test_only_the_roof_of_the_core_knows_indexer_and_training(path: Path) -> None:
    roof = {"mkt_search/library.py", "mkt_search/cli.py"}
    if name_of(path).startswith("mkt_search/") and name_of(path) not in roof:
        found = [name for name in imports(path) if name.split(".")[0] in ("indexer", "training")]
        assert not found, f"{name_of(path)} imports {found}"


@every_source
def test_sql_stays_inside_the_store(path: Path) -> None:
    if not name_of(path).startswith("mkt_search/store/"):
        found = [name for name in imports(path) if name.startswith("mkt_search.store.sql")]
        assert not found, f"{name_of(path)} imports {found}; use `store.catalog`"


@every_source
def test_indexer_and_training_do_not_know_each_other(path: Path) -> None:
    strangers = {"indexer": ("training",), "training": ("indexer", "mkt_search.store")}
    for module in imports(path):
        for stranger in strangers.get(name_of(path).split("/")[0], ()):
            assert not f"{module}.".startswith(f"{stranger}."), f"{name_of(path)} imports {module}"


@every_source
def test_a_foreign_library_is_imported_only_at_home(path: Path) -> None:
    for module in imports(path, at_run_time=True):
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or name_of(path).startswith(homes), f"{name_of(path)} imports {module}"


def test_migrations_import_nothing_of_the_project() -> None:
    for path in (ROOT / "migrations").rglob("*.py"):
        assert not [module for module in imports(path) if file_of(module)]


def test_training_is_our_package() -> None:
    import training

    assert training.__file__ is not None
    assert Path(training.__file__).is_relative_to(ROOT)
