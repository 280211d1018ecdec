"""The real server: its token, its socket, its address, and how it starts and stops."""

import socket
from pathlib import Path

import pytest

from mkt_search.errors import ConfigError
from mkt_search.web.server import address_of, is_loopback, listen, new_token, read_token
from mkt_search.web.serving import Options
from tests.web.client import ask, head, running


def test_the_server_answers_over_a_socket_and_does_not_name_itself(library: Path) -> None:
    with running(library) as address:
        answer = ask(address, head("/api/v1/status", address[1]))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nserver:" not in answer.lower()


def test_a_port_in_use_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"listen on port {port} of 127.0.0.1 .*--port N"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no such host", "a..b", "203.0.113.1"])
def test_a_host_that_is_not_this_machine_is_a_sentence(host: str) -> None:
    with pytest.raises(ConfigError, match="cannot listen on port 0 of"):
        listen(host, 0)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/?token=t"),
        ("::1", "http://[::1]:80/?token=t"),
        ("0.0.0.0", "http://127.0.0.1:80/?token=t"),
        ("photos.lan", "http://photos.lan:80/?token=t"),
    ],
)
def test_the_address_can_be_opened(host: str, address: str) -> None:
    assert address_of(Options("t", port=80, host=host)) == address


def test_only_the_names_of_the_loopback_stay_on_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "LOCALHOST", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "photos.lan", "")))


def test_tokens_are_long_and_never_the_same() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 43


def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  0123456789abcdef-._~\n")
    assert read_token(file) == "0123456789abcdef-._~"


@pytest.mark.parametrize("text", ["", "short", "0123456789 abcdef", "0123456789abcdé", "x" * 9_999])
def test_a_token_that_is_short_or_odd_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="token"):
        read_token(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(tmp_path / "none")
