"""The public face: every name of `mkt_search` is listed, loaded when used, and documented."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mkt_search
from mkt_search import errors

SOURCE = Path(mkt_search.__file__ or "")


def imported_for_type_checkers() -> set[str]:
    """Names that the TYPE_CHECKING block of the package imports."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in imports for alias in node.names}


def test_type_checkers_see_what_is_exported() -> None:
    assert imported_for_type_checkers() == set(mkt_search.__all__)


def test_the_list_is_sorted_and_has_every_name_once() -> None:
    assert mkt_search.__all__ == sorted(set(mkt_search.__all__))
    assert set(dir(mkt_search)) == {*mkt_search.__all__, "__version__"}


@pytest.mark.parametrize("name", mkt_search.__all__)
def test_every_public_name_is_there_and_explains_itself(name: str) -> None:
    value = getattr(mkt_search, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value), f"{name} has no docstring"


@pytest.mark.parametrize("name", mkt_search.__all__)
def test_every_member_of_a_public_class_explains_itself(name: str) -> None:
    value = getattr(mkt_search, name)
    ours = [base for base in getattr(value, "__mro__", ()) if base.__module__.startswith("mkt_")]
    for member, found in (item for base in ours for item in vars(base).items()):
        is_method = inspect.isfunction(found) or isinstance(found, property | classmethod)
        if is_method and not member.startswith("_"):
            assert inspect.getdoc(found), f"{name}.{member} has no docstring"


def test_the_python_guide_lists_every_public_name() -> None:
    guide = (SOURCE.parent.parent / "docs" / "python.md").read_text(encoding="utf-8")
    assert [name for name in mkt_search.__all__ if f"`{name}`" not in guide] == []


def test_every_error_is_exported() -> None:
    found = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and name[0] != "_"
    }
    assert found <= set(mkt_search.__all__)
    assert all(issubclass(getattr(mkt_search, name), mkt_search.MktError) for name in found)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="mkt_search"):
        mkt_search.Libary  # noqa: B018


def test_star_import_gives_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from mkt_search import *", names)
    assert set(mkt_search.__all__) <= set(names)


@pytest.mark.parametrize("package", ["mkt_search", "indexer", "training"])
def test_a_package_marks_its_types(package: str) -> None:
    folder = Path(importlib.import_module(package).__file__ or "").parent
    assert (folder / "py.typed").is_file()


@pytest.mark.slow
def test_the_packages_are_imported_where_there_is_no_fcntl() -> None:
    """As on Windows: every module can be imported without it."""
    code = (
        "import sys, pkgutil, importlib; sys.modules['fcntl'] = None\n"
        "import mkt_search, indexer, training\n"
        "for package in (mkt_search, indexer, training):\n"
        "    for found in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if not found.name.endswith('__main__'):\n"
        "            importlib.import_module(found.name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
