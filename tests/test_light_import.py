"""`mkt --help` answers at once: the command line loads no heavy library."""

import subprocess
import sys
import time

import pytest

from mkt_search.cli import COMMANDS

HEAVY = {
    *("torch", "timm", "open_clip", "faiss", "sqlalchemy", "alembic", "PIL"),
    *("rich", "jinja2", "numpy", "pyarrow", "safetensors", "h5py", "matplotlib"),
}
LOADED = "import sys; print(*{name.split('.')[0] for name in sys.modules})"


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("\n")[-2].split())


def test_command_line_imports_nothing_heavy() -> None:
    assert not loaded_after("import mkt_search.cli") & HEAVY


@pytest.mark.parametrize(
    "arguments", [[], *([name] for name in COMMANDS), ["evaluate", "ann"]], ids=str
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    call = f"from mkt_search.cli import main\nmain({[*arguments, '--help']}, standalone_mode=False)"
    assert not loaded_after(call) & HEAVY


def test_naming_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import mkt_search") & HEAVY


def test_help_takes_a_moment_at_most() -> None:
    def once() -> float:
        before = time.perf_counter()
        call = "from mkt_search.cli import main; main(['--help'])"
        subprocess.run([sys.executable, "-c", call], capture_output=True, check=True)
        return time.perf_counter() - before

    assert min(once() for _ in range(5)) < 1.0  # 0.3 s on an idle machine; others share this one
