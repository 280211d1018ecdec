"""The arrows of the architecture, as a test: imports point down, foreign libraries stay at home."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What stands on each rung: files, or folders with all that is in them. An import leads to a lower
# rung, to a sibling inside the same folder, or to the same rung where `PEERS` says so.
LADDER: dict[int, tuple[str, ...]] = {
    7: ("mkt_search/cli.py", "mkt_search/__init__.py", "mkt_search/__main__.py"),
    6: ("mkt_search/demo/",),
    5: ("mkt_search/library.py", "mkt_search/commands/", "indexer/", "training/"),
    4: (
        "mkt_search/search/search.py",
        "mkt_search/tagging/bulk.py",
        "mkt_search/evaluation/ann_recall.py",
        "mkt_search/tagging/assign.py",
        "mkt_search/search/score_photo.py",
        "mkt_search/search/boxes.py",
        "mkt_search/search/hits.py",
        "mkt_search/search/label_vectors.py",
        "mkt_search/search/query.py",
        "mkt_search/pages/sheet.py",
        "mkt_search/tagging/export.py",
        "mkt_search/evaluation/metrics.py",
        "mkt_search/evaluation/protocol.py",
        "mkt_search/evaluation/score_dataset.py",
        "mkt_search/evaluation/score_stored.py",
        "mkt_search/evaluation/labels.py",
        "mkt_search/evaluation/report.py",
        "mkt_search/evaluation/entries.py",
        "mkt_search/evaluation/evaluate.py",
        "mkt_search/evaluation/page.py",
        "mkt_search/evaluation/plots.py",
    ),
    3: ("mkt_search/models/", "mkt_search/store/", "mkt_search/datasets/"),
    2: (
        "mkt_search/photos/decode.py",
        "mkt_search/photos/exif.py",
        "mkt_search/photos/formats.py",
        "mkt_search/photos/raw.py",
        "mkt_search/scoring.py",
        "mkt_search/sorting.py",
        "mkt_search/settings/config.py",
        "mkt_search/settings/toml.py",
        "mkt_search/settings/setting.py",
        "mkt_search/terminal/options.py",
        "mkt_search/display.py",
        "mkt_search/paths.py",
        "mkt_search/process.py",
        "mkt_search/evaluation/tables.py",
    ),
    1: ("mkt_search/types.py", "mkt_search/errors.py", "mkt_search/progress.py"),
}
# (importer, imported) on one rung that are meant: a part of one noun in its own file, and the
# commands as thin users of the library.
PEERS = {
    ("mkt_search/commands/", "mkt_search/library.py"),
    ("mkt_search/settings/config.py", "mkt_search/settings/toml.py"),
    ("mkt_search/settings/config.py", "mkt_search/settings/setting.py"),
    ("mkt_search/settings/toml.py", "mkt_search/settings/setting.py"),
    ("mkt_search/terminal/options.py", "mkt_search/settings/config.py"),
    ("mkt_search/display.py", "mkt_search/paths.py"),
    ("mkt_search/photos/decode.py", "mkt_search/photos/exif.py"),
    ("mkt_search/photos/decode.py", "mkt_search/photos/formats.py"),
    ("mkt_search/photos/decode.py", "mkt_search/photos/raw.py"),
    ("mkt_search/photos/raw.py", "mkt_search/photos/formats.py"),
    ("mkt_search/evaluation/ann_recall.py", "mkt_search/search/search.py"),
    ("mkt_search/search/hits.py", "mkt_search/search/boxes.py"),
    ("mkt_search/search/hits.py", "mkt_search/search/search.py"),
    ("mkt_search/tagging/bulk.py", "mkt_search/tagging/assign.py"),
    ("mkt_search/scoring.py", "mkt_search/sorting.py"),
    ("mkt_search/evaluation/protocol.py", "mkt_search/evaluation/metrics.py"),
    ("mkt_search/evaluation/score_dataset.py", "mkt_search/evaluation/protocol.py"),
    ("mkt_search/evaluation/report.py", "mkt_search/evaluation/protocol.py"),
    ("mkt_search/evaluation/labels.py", "mkt_search/evaluation/protocol.py"),
    ("mkt_search/evaluation/entries.py", "mkt_search/evaluation/metrics.py"),
    ("mkt_search/evaluation/entries.py", "mkt_search/evaluation/protocol.py"),
    ("mkt_search/evaluation/entries.py", "mkt_search/evaluation/report.py"),
    ("mkt_search/evaluation/evaluate.py", "mkt_search/evaluation/score_dataset.py"),
    ("mkt_search/evaluation/evaluate.py", "mkt_search/evaluation/score_stored.py"),
    ("mkt_search/evaluation/evaluate.py", "mkt_search/evaluation/labels.py"),
    ("mkt_search/evaluation/evaluate.py", "mkt_search/evaluation/protocol.py"),
    ("mkt_search/evaluation/evaluate.py", "mkt_search/evaluation/entries.py"),
    ("mkt_search/evaluation/evaluate.py", "mkt_search/evaluation/report.py"),
    ("mkt_search/evaluation/page.py", "mkt_search/evaluation/report.py"),
    ("mkt_search/evaluation/page.py", "mkt_search/pages/sheet.py"),
    ("mkt_search/evaluation/plots.py", "mkt_search/evaluation/protocol.py"),
    ("mkt_search/evaluation/plots.py", "mkt_search/evaluation/report.py"),
}
# package -> the parts of the project it never names, whatever their rung
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "mkt_search": ("indexer", "training"),
    "indexer": (
        "training",
        "mkt_search.search.search",
        "mkt_search.library",
        "mkt_search.commands",
        "mkt_search.cli",
    ),
    "training": (
        "indexer",
        "mkt_search.store",
        "mkt_search.search.search",
        "mkt_search.library",
        "mkt_search.commands",
        "mkt_search.cli",
    ),
    "migrations": ("mkt_search", "indexer", "training"),
}
# the roof, and a guest who lives on what all three packages offer
SEES_ALL = ("mkt_search/cli.py", "mkt_search/demo/")
# foreign library -> the only places that name it
HOMES: dict[str, tuple[str, ...]] = {
    "faiss": ("mkt_search/store/ann/exact_scan.py", "mkt_search/store/ann/pq_index.py"),
    "sqlalchemy": ("mkt_search/store/", "migrations/"),
    "alembic": ("mkt_search/store/sql/upgrade.py", "migrations/"),
    "timm": (
        "mkt_search/models/student.py",
        "mkt_search/models/conv_vit.py",
        "training/augment.py",
    ),
    "open_clip": (
        "mkt_search/models/clip.py",
        "mkt_search/models/clip_student.py",
        "mkt_search/models/text.py",
        "mkt_search/models/towers.py",
        "mkt_search/demo/clip.py",  # trains such a model
    ),
    "PIL": (
        "mkt_search/photos/decode.py",
        "mkt_search/photos/exif.py",
        "mkt_search/photos/formats.py",
        "mkt_search/photos/raw.py",
        "training/augment.py",
        "mkt_search/demo/render.py",  # these paint, and read no photo
        "mkt_search/demo/places.py",
    ),
    "pillow_heif": ("mkt_search/photos/formats.py",),
    "rawpy": ("mkt_search/photos/raw.py",),
    "click": (
        "mkt_search/cli.py",
        "mkt_search/terminal/options.py",
        "mkt_search/commands/",
        "indexer/cli.py",
        "training/cli.py",
        "mkt_search/demo/cli.py",
    ),
    "rich": ("mkt_search/commands/", "indexer/", "training/"),
    "filelock": ("mkt_search/store/lock.py",),
    "safetensors": ("mkt_search/models/", "mkt_search/store/segments/files.py", "training/"),
    "jinja2": ("mkt_search/pages/sheet.py",),
    "matplotlib": ("mkt_search/evaluation/plots.py",),
    "pyarrow": ("mkt_search/tagging/export.py",),
    "h5py": ("mkt_search/datasets/nus_wide.py",),
}
SOURCES = sorted(path for package in FORBIDDEN for path in (ROOT / package).rglob("*.py"))
every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path, *, at_run: bool = False) -> Iterator[str]:
    """Every dotted name a file imports; `at_run` leaves out what only the type checker reads."""
    tree = ast.parse(path.read_text())
    unread = set()
    for node in ast.walk(tree) if at_run else ():
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            unread.update(node.body)
    for node in ast.walk(tree):
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name_of(path)}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> str | None:
    """The project's file a dotted name leads to: the module, or the module an attribute is in."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        place = "/".join(parts[:length])
        for file in (f"{place}.py", f"{place}/__init__.py"):
            if (ROOT / file).is_file():
                return file
    return None


def is_at(file: str, place: str) -> bool:
    return file.startswith(place) if place.endswith("/") else file == place


def standing(file: str) -> tuple[int, str]:
    """The rung of a file and the entry of the ladder that puts it there."""
    found = [(rung, p) for rung, places in LADDER.items() for p in places if is_at(file, p)]
    assert len(found) == 1, f"{file} stands on {len(found)} rungs of LADDER; it needs one"
    return found[0]


@every_source
def test_every_source_file_has_a_rung(path: Path) -> None:
    if not name_of(path).startswith("migrations/"):
        standing(name_of(path))


@every_source
def test_imports_point_down(path: Path) -> None:
    name = name_of(path)
    if name.startswith("migrations/"):
        return
    rung, place = standing(name)
    for module in imported(path):
        target = file_of(module)
        if target is None or rung == max(LADDER) or target == name:
            continue
        below, entry = standing(target)
        is_peer = entry == place or (place, entry) in PEERS
        assert below < rung or (below == rung and is_peer), f"{name} imports {module}"


@every_source
def test_packages_do_not_know_what_is_not_theirs_to_know(path: Path) -> None:
    name = name_of(path)
    if any(is_at(name, place) for place in SEES_ALL):
        return
    for module in imported(path):
        for banned in FORBIDDEN[name.split("/")[0]]:
            assert not f"{module}.".startswith(f"{banned}."), f"{name} imports {module}"


@every_source
def test_foreign_library_is_named_only_at_home(path: Path) -> None:
    name = name_of(path)
    for module in imported(path, at_run=True):
        homes = HOMES.get(module.split(".")[0])
        at_home = homes is None or any(is_at(name, home) for home in homes)
        assert at_home, f"{name} imports {module}; its home is {', '.join(homes or ())}"


def test_the_roof_names_every_package_only_by_text() -> None:
    assert not [m for m in imported(ROOT / "mkt_search/cli.py") if m.startswith(("indexer", "tra"))]


def test_training_is_our_package() -> None:
    import training

    assert training.__file__ is not None
    assert Path(training.__file__).is_relative_to(ROOT)


def test_ladder_names_only_what_is_there() -> None:
    for places in LADDER.values():
        for place in places:
            assert (ROOT / place).exists(), f"{place} is on the ladder but not on disk"
