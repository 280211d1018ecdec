"""Packages are compared with what the program needs; a broken one is found and named."""

import importlib.util
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mkt_search.doctor.finding import Finding
from mkt_search.doctor.packages import EXTRAS, FAISS, Probed, about, module_of, needs, probe

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LINES = (
    "torch>=2.14",
    'winonly>=1; sys_platform == "nowhere"',
    'faiss-cpu>=1.15; extra == "cpu"',
    'faiss-gpu-cu12>=1.10; extra == "gpu"',
    'fastapi>=0.1; extra == "web"',
    'uvicorn>=0.1; extra == "web"',
    'pytest>=9; extra == "dev"',
)
SOUND = {"torch": "2.14.1", "faiss-cpu": "1.15.1", "fastapi": "0.2", "uvicorn": "0.2"}


def found(errors: Mapping[str, str], installed: Mapping[str, str] = SOUND) -> dict[str, Finding]:
    return {one.what: one for one in about(needs(LINES), Probed(errors), installed)}


def test_every_extra_for_users_says_what_it_gives() -> None:
    assert set(EXTRAS) == set(PROJECT["optional-dependencies"]) - {"dev"}


def test_modules_have_the_names_by_which_packages_are_imported() -> None:
    extras = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for name in EXTRAS for line in extras[name])]
    installed = {need.name: module_of(need.name) for need, _ in needs(lines)}
    assert not [name for name, module in installed.items() if not importlib.util.find_spec(module)]


def test_a_sound_installation_is_three_lines() -> None:
    assert [(one.what, one.state) for one in found({}).values()] == [
        ("packages", "ok"),
        ("extra cpu", "ok"),
        ("extra gpu", "absent"),
        ("extra web", "ok"),
    ]
    assert found({})["packages"].found == "torch 2.14.1"
    assert found({})["extra web"].found == "the app in the browser (fastapi 0.2, uvicorn 0.2)"


@pytest.mark.parametrize(
    ("errors", "changes", "expected"),
    [
        (
            {"torch": "OSError: libcudart.so.13: cannot open shared object file"},
            {},
            ("torch", "2.14.1 cannot be imported: OSError: libcudart", "--force-reinstall torch"),
        ),
        (
            {},
            {"torch": "2.3.0"},
            ("torch", "2.3.0, but >=2.14 is needed", '--upgrade "mkt-search"'),
        ),
        ({"torch": "absent"}, {"torch": ""}, ("torch", "not installed", '"mkt-search"')),
        ({"faiss": "absent"}, {"faiss-cpu": ""}, ("FAISS", "not installed", '"mkt-search[cpu]"')),
        (
            {"faiss": "importing it ended Python (exit code -4)"},
            {},
            ("extra cpu", "faiss-cpu 1.15.1 cannot be imported: importing it ended", "faiss-cpu"),
        ),
        (
            {"uvicorn": "ImportError: h11"},
            {},
            ("extra web", "the app in the browser: uvicorn 0.2 cannot be imported", "uvicorn"),
        ),
    ],
    ids=["broken", "old", "missing", "no faiss", "crash", "broken extra"],
)
def test_what_is_wrong_is_named_with_a_way_out(
    errors: dict[str, str], changes: dict[str, str], expected: tuple[str, str, str]
) -> None:
    installed = {name: version for name, version in {**SOUND, **changes}.items() if version}
    what, words, fix = expected
    problems = [one for one in found(errors, installed).values() if one.state == "problem"]
    assert [one.what for one in problems] == [what]
    assert words in problems[0].found and fix in problems[0].fix


def test_half_of_an_extra_is_as_none() -> None:
    installed = {name: version for name, version in SOUND.items() if name != "uvicorn"}
    extra = found({"uvicorn": "absent"}, installed)["extra web"]
    assert (extra.state, extra.fix) == ("absent", 'pip install "mkt-search[web]"')


def test_one_faiss_is_required_and_both_are_named() -> None:
    assert set(FAISS) <= set(EXTRAS)
    assert {module_of(name) for name in ("faiss-cpu", "faiss-gpu-cu12")} == {"faiss"}


BROKEN = {
    "fine": "print('noise on stdout')",
    "raises": "raise ValueError('a value')",
    "needs": "import nothing_of_that_name",
    "leaves": "import sys; sys.exit(3)",
    "crashes": "import os; os.abort()",
    "hangs": "import time; time.sleep(600)",
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")


@pytest.mark.usefixtures("modules")
def test_modules_that_break_in_every_way_are_told_apart() -> None:
    probed = probe(["fine", "raises", "needs", "leaves", "crashes", "none_such", "json", "fine"])
    assert probed.device == ""
    assert dict(probed.errors) == {
        "fine": "",
        "raises": "ValueError: a value",
        "needs": "No module named 'nothing_of_that_name'",
        "leaves": "SystemExit: 3",
        "crashes": "importing it ended Python (exit code -6)",
        "none_such": "absent",
        "json": "",
    }


@pytest.mark.usefixtures("modules")
def test_a_module_that_hangs_is_given_up() -> None:
    assert probe(["hangs"], seconds=1).errors == {"hangs": "importing it took more than 1 s"}
