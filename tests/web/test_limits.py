"""Requests that are too large, too slow or too many."""

from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from mkt_search.web.limits import Bounds, Bucket, Limits
from tests.web.client import BEARER, ask, request_head, running

LARGE = b"x" * 2_000_000


def test_a_huge_body_is_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/photos/1/tags", content=LARGE)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "The body is larger than 1,048,576 bytes."


def test_a_huge_body_without_a_length_is_refused(library: Path) -> None:
    with running(library) as address:
        lines = {"Host": "localhost", **BEARER, "Transfer-Encoding": "chunked"}
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        request = request_head("/api/v1/photos/1/tags", lines, "POST") + chunk * 17
        answer = ask(address, request)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 400])
def test_an_impossible_length_is_refused(library: Path, length: str) -> None:
    with running(library) as address:
        lines = {"Host": "localhost", **BEARER, "Connection": "close", "Content-Length": length}
        answer = ask(address, request_head("/api/v1/photos/1/tags", lines, "POST"))
        assert answer.split(b" ")[1] in (b"400", b"413")


def test_a_huge_head_is_refused(library: Path) -> None:
    with running(library) as address:
        lines = {"Host": "localhost", "X": "x" * 200_000}
        answer = ask(address, request_head("/", lines))
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


async def _echo(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await request.body())


def limited(bounds: Bounds) -> Limits:
    return Limits(Starlette(routes=[Route("/", _echo, methods=["GET", "POST"])]), bounds)


def test_a_body_that_never_ends_times_out() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        if not sent:
            await anyio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def ask_slowly() -> None:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
        await limited(Bounds(body_seconds=0.05))(scope, receive, send)

    anyio.run(ask_slowly)
    assert sent[0]["status"] == 408
    assert b"did not arrive within 0.05 s" in sent[1]["body"]


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=40))
def test_the_app_gets_the_body_as_it_was_sent(body: bytes) -> None:
    answer = TestClient(limited(Bounds(body_bytes=20))).post("/", content=body)
    if len(body) <= 20:
        assert (answer.status_code, answer.content) == (200, body)
    else:
        assert answer.status_code == 413


def test_too_many_requests_are_refused_for_a_while() -> None:
    client = TestClient(limited(Bounds(burst=3, per_second=0.001)))
    codes = [client.get("/").status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    assert client.get("/").headers["retry-after"] == "1"


def test_a_bucket_fills_again_with_time() -> None:
    now = 0.0
    bucket = Bucket(2, 3, lambda: now)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    now = 1.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now = 100.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
