"""`mkt serve`: what it prints, how it stops, and what it says of bad input."""

import os
import signal
import socket
import sqlite3
import time
import urllib.request
from pathlib import Path

import pytest

from tests.command_line import mkt
from tests.index_process import Commands


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "photos.lan"])
def test_other_machines_are_let_in_only_with_a_token_file(library: Path, host: str) -> None:
    said = mkt("serve", "--host", host, "--library", library, code=2).stderr
    assert "whoever has the token can see and tag all photos" in " ".join(said.split())
    assert "not encrypted" in said and "--token-file FILE" in said


def test_a_token_file_must_hold_a_token(library: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")
    result = mkt("serve", "--token-file", tmp_path / "token", "--library", library, code=1)
    assert "has no usable token: write at least 16" in result.stderr


def test_a_port_in_use_is_a_sentence(library: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = mkt("serve", "--port", port, "--library", library, code=1).stderr
    assert f"The server cannot listen on port {port} of 127.0.0.1" in said
    assert "name another port with --port N." in said


def test_without_a_library_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    assert "Run `mkt init" in mkt("serve", "--library", tmp_path, code=1).stderr


def test_a_library_of_an_older_schema_is_refused(own_library: Path) -> None:
    with sqlite3.connect(own_library / ".mkt" / "mkt.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    assert "mkt migrate" in mkt("serve", "--library", own_library, code=1).stderr


def started(log: Path) -> str:
    """Wait for the address that the server prints, and return it."""
    for _ in range(600):
        if log.exists() and (lines := log.read_text().splitlines()):
            for line in lines:
                if line.startswith("http://"):
                    return line
        time.sleep(0.05)
    raise AssertionError(log.read_text() if log.exists() else "nothing was printed")


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_the_address_opens_the_app_until_the_server_is_stopped(
    library: Path, commands: Commands, tmp_path: Path, by: signal.Signals
) -> None:
    log = tmp_path / "log"
    pid = commands.start(["serve", "--port", "0", "--library", str(library)], log)
    address = started(log)
    base, _, token = address.partition("/?token=")
    assert base.startswith("http://127.0.0.1:")
    asked = urllib.request.Request(
        f"{base}/api/v1/search?q=red&k=1", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        assert b"red.png" in answer.read()
    os.kill(pid, by)
    code = commands.wait(pid)
    said = log.read_text()
    assert "Traceback" not in said
    if by == signal.SIGINT:
        assert code == 0
        assert "The server has stopped." in said
    else:
        assert code in (0, -signal.SIGTERM)
