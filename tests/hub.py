"""A hub of weights on this machine, which can cut downloads half way."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

COMMIT = "c0ffee" * 6 + "beef"
FAIL = -1  # instead of the bytes after which a download ends
CHUNK = 1_000  # bytes that the hub's library reads at a time


class Hub:
    """Serves files as the Hugging Face hub does.

    `files` maps "OWNER/NAME/FILE" to bytes. `cuts` says after how many bytes each of the next
    downloads ends, or `FAIL` for one that is refused. `ranges` are the first bytes that downloads
    asked for. Names in `damaged` are announced with the hash of other bytes, those in `tags` with
    another tag.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.ranges: list[int] = []
        self.damaged: set[str] = set()
        self.tags: dict[str, str] = {}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request for "/OWNER/NAME/resolve/main/FILE"."""
        name = re.sub(r"/resolve/[^/]+/", "/", request.path).removeprefix("/")
        content = self.files.get(name)
        if content is None:
            request.send_response(404)
            request.send_header("X-Error-Code", "EntryNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        is_download = request.command == "GET"
        cut = self.cuts.pop(0) if self.cuts and is_download else len(content)
        if is_download:
            self.ranges.append(first)
        if cut == FAIL:
            request.send_error(403)
            return
        request.send_response(206 if wanted else 200)
        announced = b"other bytes" if name in self.damaged else content
        tag = self.tags.get(name, hashlib.sha256(announced).hexdigest())
        request.send_header("ETag", f'"{tag}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", str(len(content) - first))
        if wanted:
            request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if is_download:
            request.wfile.write(content[first : first + cut])
            request.close_connection = True


@contextmanager
def local_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a hub, and let the hub's library ask it and keep what it gets in `cache`."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    settings = {
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(cache),
        "DOWNLOAD_CHUNK_SIZE": CHUNK,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in settings.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
