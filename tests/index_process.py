"""A warm process that forks real `mkt` processes, each of which a test may kill at any time.

Importing torch takes seconds, so it is done once: `Commands` starts this file as a program, and
every command runs in a fork of it.
"""

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import indexer
import mkt_search

ROOT = Path(__file__).parent.parent
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


class Commands:
    """Runs `mkt` commands, each in a process of its own."""

    def __enter__(self) -> Self:
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.index_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
        )
        assert self._read() == "ready"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._parent.stdin is not None and self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.stdout.close()
        self._parent.wait()

    def start(self, arguments: Sequence[str], log: Path) -> int:
        """Start a command whose output goes to `log`; return its pid."""
        return int(self._ask([list(arguments), str(log)]))

    def wait(self, pid: int) -> int:
        """Wait for the command; return its exit code, or minus the signal that killed it."""
        return int(self._ask(pid))

    def run(self, arguments: Sequence[str], log: Path) -> int:
        """Run a command to its end; return as `wait` does."""
        return self.wait(self.start(arguments, log))

    def kill_after(self, seconds: float, arguments: Sequence[str], log: Path) -> int:
        """Start a command and kill it with SIGKILL after some seconds; return as `wait` does."""
        pid = self.start(arguments, log)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)  # one that has ended keeps its pid until `wait`
        return self.wait(pid)

    def _ask(self, what: object) -> str:
        assert self._parent.stdin is not None
        print(json.dumps(what), file=self._parent.stdin, flush=True)
        return self._read()

    def _read(self) -> str:
        assert self._parent.stdout is not None
        line = self._parent.stdout.readline()
        if not line:
            raise RuntimeError("the process that forks commands has died")
        return line.strip()


def _serve() -> None:
    """Read requests from stdin: fork a command and print its pid, or print its exit code."""
    import faiss  # noqa: F401
    import torch

    for package in (indexer, mkt_search):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith(("__main__", "migrations.env")):
                importlib.import_module(module.name)
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            _, status = os.waitpid(asked, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child == 0:
            _run(*asked)
        print(child, flush=True)


def _run(arguments: list[str], log: str) -> None:
    from mkt_search.cli import main

    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    code = 99
    try:
        main(arguments, prog_name="mkt")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
