"""A head that does not arrive: the connection is closed, and others are answered meanwhile."""

import socket
from pathlib import Path

import pytest

from mkt_search.web.slow_requests import PatientProtocol
from tests.web.client import ask, head, running


class Impatient(PatientProtocol):
    """Waits only a moment for the head of a request."""

    head_seconds = 0.2


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: loc"])
def test_a_head_that_does_not_end_is_cut_off(library: Path, begun: bytes) -> None:
    with running(library, protocol=Impatient) as address:
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(begun)
            assert ask(address, head("/api/v1/status", address[1])).startswith(b"HTTP/1.1 200 ")
            assert connection.recv(100) == b""


def test_a_second_head_on_a_connection_has_a_bound_too(library: Path) -> None:
    with running(library, protocol=Impatient) as address:
        with socket.create_connection(address, timeout=10) as connection:
            lines = head("/api/v1/status", address[1], Connection="keep-alive")
            connection.sendall(lines)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"GET /api")
            while connection.recv(65_536):  # what is left of the first answer, then the end
                pass
