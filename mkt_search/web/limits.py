"""Bounds on requests: the size of a body, the time it may take to arrive, and how many come."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mkt_search.web.problems import ProblemResponse


@dataclass(frozen=True)
class Bounds:
    """The bounds.

    Args:
        body_bytes: the largest body.
        body_seconds: within which a body must have arrived.
        per_second: requests that may come on average; a page of a grid asks for 100 thumbnails.
        burst: requests that may come at once.
    """

    body_bytes: int = 1 << 20
    body_seconds: float = 20.0
    per_second: float = 500.0
    burst: int = 2_000


class Bucket:
    """Counts requests: `burst` at once, then `per_second`."""

    def __init__(
        self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = per_second, burst, clock
        self._left, self._at = float(burst), clock()

    def take(self) -> bool:
        """Count a request; return whether it may come now."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Limits:
    """Refuses requests that are too large, too slow or too many.

    The body is read before the app sees the request, so that the app never waits for it.
    """

    def __init__(self, app: ASGIApp, bounds: Bounds | None = None) -> None:
        self.app = app
        self.bounds = bounds or Bounds()
        self.bucket = Bucket(self.bounds.per_second, self.bounds.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not self.bucket.take():
            problem = ProblemResponse(
                429, "There are too many requests; wait a second.", headers={"Retry-After": "1"}
            )
            await problem(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        body: bytes | None = None
        try:
            if length.isdecimal() and int(length) <= self.bounds.body_bytes:
                async with asyncio.timeout(self.bounds.body_seconds):
                    body = await self._body(receive)
        except TimeoutError:
            problem = ProblemResponse(
                408,
                f"The body did not arrive within {self.bounds.body_seconds:g} s.",
                headers={"Connection": "close"},
            )
            await problem(scope, receive, send)
            return
        if body is None:
            problem = ProblemResponse(
                413,
                f"The body is larger than {self.bounds.body_bytes:,} bytes.",
                headers={"Connection": "close"},
            )
            await problem(scope, receive, send)
            return
        given = iter([body])

        async def replay() -> Message:
            for part in given:
                return {"type": "http.request", "body": part, "more_body": False}
            return await receive()

        await self.app(scope, replay, send)

    async def _body(self, receive: Receive) -> bytes | None:
        """Return the whole body, None if it is too large."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone; nobody reads the answer
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self.bounds.body_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)
