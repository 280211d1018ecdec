"""A client of the real app on a small library, and a real server of it."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from starlette.testclient import TestClient

from mkt_search import Library
from mkt_search.web.app import create_app
from mkt_search.web.server import listen, server_of
from mkt_search.web.serving import Options
from mkt_search.web.slow_requests import PatientProtocol

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ADDRESS = "http://127.0.0.1:8765"


@contextmanager
def client_of(
    home: Path, *, token: str | None = TOKEN, read_only: bool = False, host: str = "127.0.0.1"
) -> Iterator[TestClient]:
    """Serve the library in a folder; without a token the client is a stranger."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with Library.open(home) as library:
        app = create_app(library, Options(TOKEN, read_only=read_only, host=host))
        with TestClient(
            app, ADDRESS, headers=headers, follow_redirects=False, raise_server_exceptions=False
        ) as client:
            yield client


@contextmanager
def running(
    home: Path, *, protocol: type[PatientProtocol] = PatientProtocol
) -> Iterator[tuple[str, int]]:
    """Run a real server of the library in a folder; give its host and port."""
    with Library.open(home) as library, listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        server = server_of(library, Options(TOKEN, port=port), protocol=protocol)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield "127.0.0.1", port
        finally:
            server.should_exit = True
            thread.join()


def ask(address: tuple[str, int], request: bytes, *, seconds: float = 10) -> bytes:
    """Send bytes and return all that comes back until the server closes the connection."""
    with socket.create_connection(address, timeout=seconds) as connection:
        answer = b""
        with suppress(ConnectionError):  # the server may close before it has read everything
            connection.sendall(request)
            while part := connection.recv(65_536):
                answer += part
    return answer


def head(path: str, port: int, **headers: str) -> bytes:
    """Return a request with the token, as its bytes."""
    lines = {"Host": f"127.0.0.1:{port}", **BEARER, "Connection": "close", **headers}
    return request_head(path, lines)


def request_head(path: str, lines: Mapping[str, Any], method: str = "GET") -> bytes:
    """Return the head of a request."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()
