"""Rules that a reader counts on: tests mirror the sources and use public names."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("mkt_search", "indexer", "training")
SOURCES = [path for top in PACKAGES for path in sorted((ROOT / top).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def mirrored(source: Path) -> Path:
    """Return where a source file's tests are: mkt_search/a/b.py -> tests/a/test_b.py.

    The contract tests what every database must do: store/sql/b.py -> store/contract/test_b.py.
    """
    parts = source.relative_to(ROOT).parts
    folder = parts[1:-1] if parts[0] == "mkt_search" else parts[:-1]
    in_contract = ROOT / "tests" / "store" / "contract" / f"test_{parts[-1]}"
    if folder == ("store", "sql") and in_contract.is_file():
        return in_contract
    return ROOT.joinpath("tests", *folder, f"test_{parts[-1]}")


def does_something(source: Path) -> bool:
    """Return True if some function does more than declare itself, as those of a protocol do."""
    functions = [node for node in nodes(source) if isinstance(node, ast.FunctionDef)]
    return any(len(function.body) > 1 or not ast.get_docstring(function) for function in functions)


def test_every_source_file_has_a_test_file() -> None:
    sources = [path for path in SOURCES if path.name[0] != "_" and does_something(path)]
    assert not [name_of(path) for path in map(mirrored, sources) if not path.is_file()]


def our_imports(path: Path) -> list[ast.alias]:
    """Return what a file imports from the packages."""
    found = [node for node in nodes(path) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if (node.module or "").split(".")[0] in PACKAGES]
    return [alias for node in ours for alias in node.names]


def our_names(path: Path) -> set[str]:
    return {alias.asname or alias.name for alias in our_imports(path)}


def private_names(path: Path) -> Iterator[str]:
    """Yield the private names of the packages that a file imports or reads."""
    yield from (alias.name for alias in our_imports(path) if is_private(alias.name))
    ours = our_names(path)
    for node in nodes(path):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if isinstance(node.value, ast.Name) and node.value.id in ours:
                yield f"{node.value.id}.{node.attr}"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def test_tests_use_public_names_only() -> None:
    assert not [f"{name_of(path)}: {name}" for path in TESTS for name in private_names(path)]


def patched_constants(path: Path) -> Iterator[str]:
    """Yield the constants of our modules that a test file sets by monkeypatch."""
    ours = our_names(path)
    for node in nodes(path):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "setattr" and node.args:
            target, *rest = node.args
            is_ours = isinstance(target, ast.Constant) or ast.unparse(target).split(".")[0] in ours
            named = [str(arg.value) for arg in (target, *rest) if isinstance(arg, ast.Constant)]
            yield from (name for name in named if is_ours and name.split(".")[-1].isupper())


def test_tests_pass_a_policy_instead_of_patching_constants() -> None:
    assert not [f"{name_of(path)}: {name}" for path in TESTS for name in patched_constants(path)]
