"""A real `mkt serve` process that a test may kill, and pages of it in a real browser."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

TOKEN = "a-token-of-the-browser-tests"
PATIENCE = 60  # seconds; starting Python and torch takes some
DRIVER = "GL Driver Message"  # what a graphics driver says of its own speed
NARROW = {"width": 390, "height": 844}
WIDE = {"width": 1280, "height": 800}


class Served:
    """The server of the library in a folder; it has the same address after each start."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self._options = options
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._token = home / "token"
        self._token.write_text(TOKEN)
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """The address without the token."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process and wait until it answers."""
        command = [sys.executable, "-m", "mkt_search", "serve", "--library", str(self.home)]
        command += ["--port", str(self.port), "--token-file", str(self._token), *self._options]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self._process.poll() is None, self._process.communicate()[0]
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise TimeoutError("the server does not start")

    def new_token(self) -> str:
        """Ask for another token from the next start on; return it."""
        self._token.write_text(TOKEN + "-another")
        return self._token.read_text()

    def kill(self, how: int = signal.SIGKILL) -> None:
        """End the process at once, as `kill -9` does."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, how)
        if self._process is not None:
            self._process.communicate(timeout=PATIENCE)


@dataclass
class Visit:
    """A page in a browser that has the token, and what its console said."""

    served: Served
    page: Page
    errors: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Show a page of the app."""
        self.page.goto(self.served.address + path)
        return self.page

    def tab(self) -> Page:
        """Open another tab with the same cookie."""
        page = self.page.context.new_page()
        self.listen(page)
        return page

    def listen(self, page: Page) -> None:
        """Note the errors of a page."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda said: (
                self.errors.append(f"{said.text} {said.location}")
                if said.type in ("error", "warning") and DRIVER not in said.text
                else None
            ),
        )


@contextmanager
def visit(browser: Browser, served: Served, **context: Any) -> Iterator[Visit]:
    """Open the app as the address with the token does, with settings of the browser's context."""
    opened: BrowserContext = browser.new_context(**{"viewport": WIDE, **context})
    opened.set_default_timeout(20_000)
    found = Visit(served, opened.new_page())
    found.listen(found.page)
    try:
        found.page.goto(f"{served.address}/?token={TOKEN}")
        assert "token" not in found.page.url
        yield found
    finally:
        opened.close()


def number(text: str | None) -> int:
    """Return the first number of a text."""
    found = re.search(r"\d+", text or "")
    assert found, text
    return int(found[0])
