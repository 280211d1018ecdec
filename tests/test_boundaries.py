"""The architecture as a test: imports point down, and each foreign library has one home."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

# Floors from the roof down: of the house, inside the store, and inside training. Folders end with
# "/"; the longest entry that fits is a module's room. A module imports from its own room and from
# lower floors.
HOUSE: tuple[tuple[str, ...], ...] = (
    ("mkt_search/__main__.py",),
    ("mkt_search/cli.py", "mkt_search/__init__.py"),
    ("mkt_search/demo/",),
    ("mkt_search/commands/",),
    ("mkt_search/web/", "mkt_search/doctor/"),
    ("mkt_search/library.py",),
    ("mkt_search/library_feedback.py", "mkt_search/library_review.py"),
    (
        "mkt_search/library_evaluation.py",
        "mkt_search/library_map.py",
        "mkt_search/library_shards.py",
        "mkt_search/library_tags.py",
    ),
    ("indexer/", "training/"),
    ("mkt_search/evaluation/", "mkt_search/json_forms/"),
    ("mkt_search/search/", "mkt_search/tagging/", "mkt_search/projection/", "mkt_search/pages/"),
    ("mkt_search/calibration/",),
    ("mkt_search/store/", "mkt_search/models/", "mkt_search/datasets/", "mkt_search/demo/scenes/"),
    ("mkt_search/terminal/", "mkt_search/xmp/"),
    ("mkt_search/photos/", "mkt_search/pooling/", "mkt_search/settings/"),
    ("mkt_search/",),
)
STORE: tuple[tuple[str, ...], ...] = (
    ("mkt_search/store/",),
    ("mkt_search/store/candidates/",),
    ("mkt_search/store/sql/",),
    ("mkt_search/store/ann/",),
    ("mkt_search/store/segments/",),
    ("mkt_search/store/catalog.py",),
    ("mkt_search/store/interfaces.py", "mkt_search/store/spill.py"),
    ("mkt_search/store/manifest.py",),
    (
        "mkt_search/store/disk.py",
        "mkt_search/store/records.py",
        "mkt_search/store/recall_curve.py",
        "mkt_search/store/timeline.py",
    ),
)
TRAINING: tuple[tuple[str, ...], ...] = (
    ("training/cli.py",),
    ("training/",),
    ("training/learning/",),
    ("training/data/",),
    ("training/runs/",),
)
# Foreign library -> the only rooms that may name it.
HOMES: dict[str, tuple[str, ...]] = {
    "faiss": ("mkt_search/store/ann/",),
    "sqlalchemy": ("mkt_search/store/sql/", "migrations/"),
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
    "pyarrow": ("mkt_search/tagging/export.py", "indexer/shards/listing.py"),
    "ray": ("indexer/shards/on_ray.py",),
    "fastapi": ("mkt_search/web/",),
    "starlette": ("mkt_search/web/",),
    "uvicorn": ("mkt_search/web/",),
    "h11": ("mkt_search/web/",),
    "pydantic": ("mkt_search/web/",),
    "openTSNE": ("mkt_search/projection/",),
    "sklearn": ("mkt_search/projection/",),
    "lxml": ("mkt_search/xmp/",),
    "packaging": ("mkt_search/doctor/packages.py",),
    "h5py": ("mkt_search/datasets/nus_wide.py",),
}
ROOFS = {
    "mkt_search/__init__.py",
    "mkt_search/library.py",
    "mkt_search/library_shards.py",
    "mkt_search/library_tags.py",
    "mkt_search/cli.py",
}
"""The files of mkt_search that may import `indexer` and `training`."""

STRANGERS = {"indexer": ("training",), "training": ("indexer", "mkt_search.store")}
"""What a package may not import."""


class Source(NamedTuple):
    """A source file: every dotted name that it imports, and those outside TYPE_CHECKING blocks."""

    name: str
    imports: list[str]
    imports_at_run_time: list[str]


def read(path: Path) -> Source:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
    }
    found: list[str] = []
    at_run_time: list[str] = []
    for node in ast.walk(tree):
        names = imported_names(node)
        found += names
        at_run_time += names if node not in for_types else []
    return Source(path.relative_to(ROOT).as_posix(), found, at_run_time)


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


SOURCES = [
    read(path)
    for package in ("mkt_search", "indexer", "training")
    for path in sorted((ROOT / package).rglob("*.py"))
]


@cache
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


def points_down(importing: str, module: str, floors: tuple[tuple[str, ...], ...]) -> bool:
    imported = file_of(module)
    here, there = room_of(importing, floors), room_of(imported, floors) if imported else None
    return not here or not there or here[1] == there[1] or here[0] < there[0]


@pytest.mark.parametrize("floors", [HOUSE, STORE, TRAINING], ids=["house", "store", "training"])
def test_imports_point_down(floors: tuple[tuple[str, ...], ...]) -> None:
    assert not [
        f"{source.name} imports {module}"
        for source in SOURCES
        for module in source.imports
        if not points_down(source.name, module, floors)
    ]


def test_only_the_roof_of_the_core_imports_indexer_and_training() -> None:
    assert not [
        f"{source.name} imports {module}"
        for source in SOURCES
        for module in source.imports
        if source.name.startswith("mkt_search/") and source.name not in ROOFS
        if module.split(".")[0] in ("indexer", "training")
    ]


def test_indexer_and_training_do_not_import_each_other() -> None:
    assert not [
        f"{source.name} imports {module}"
        for source in SOURCES
        for module in source.imports
        for stranger in STRANGERS.get(source.name.split("/")[0], ())
        if f"{module}.".startswith(f"{stranger}.")
    ]


def test_sql_stays_inside_the_store() -> None:
    assert not [
        f"{source.name} imports {module}; use `store.catalog`"
        for source in SOURCES
        for module in source.imports
        if module.startswith("mkt_search.store.sql")
        if not source.name.startswith("mkt_search/store/")
    ]


def test_a_foreign_library_is_imported_only_at_home() -> None:
    assert not [
        f"{source.name} imports {module}"
        for source in SOURCES
        for module in source.imports_at_run_time
        if not source.name.startswith(HOMES.get(module.split(".")[0], ("",)))
    ]


def test_migrations_import_nothing_of_the_project() -> None:
    for path in (ROOT / "migrations").rglob("*.py"):
        assert not [module for module in read(path).imports if file_of(module)]


def test_training_is_our_package() -> None:
    import training

    assert training.__file__ is not None
    assert Path(training.__file__).is_relative_to(ROOT)
