"""Run the app: the socket, the token, the address that is printed, and a warm model."""

import logging
import secrets
import socket
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import uvicorn

from mkt_search.errors import ConfigError, MktError
from mkt_search.files import read_text
from mkt_search.library import Library
from mkt_search.web.app import create_app
from mkt_search.web.security import LOOPBACK
from mkt_search.web.serving import Options
from mkt_search.web.slow_requests import PatientProtocol

MIN_TOKEN = 16  # characters
MAX_TOKEN_FILE = 4_096  # bytes
MAX_CONNECTIONS = 200
SECONDS_TO_STOP = 3

log = logging.getLogger(__name__)


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def read_token(file: Path) -> str:
    """Return the token in a file.

    Raises:
        ConfigError: the file cannot be read, or its token is short or could not be in an address.
    """
    token = read_text(file, ConfigError, at_most=MAX_TOKEN_FILE).strip()
    is_plain = token.isascii() and all(sign.isalnum() or sign in "-._~" for sign in token)
    if len(token) < MIN_TOKEN or not is_plain:
        raise ConfigError(
            f"{file} has no usable token: write at least {MIN_TOKEN} letters, digits, - . _ or ~, "
            "for example with `openssl rand -hex 32`."
        )
    return token


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises ConfigError if the address or the port cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"The server cannot listen on port {port} of {host} ({why}). Perhaps another "
            "`mkt serve` runs there; name another port with --port N."
        ) from None


def address_of(options: Options) -> str:
    """Return the address to open, with the token."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{options.port}/?token={options.token}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host."""
    return host.lower() in LOOPBACK


def server_of(
    library: Library, options: Options, *, protocol: type[PatientProtocol] = PatientProtocol
) -> uvicorn.Server:
    """Return the server of a library, for a socket from `listen`."""
    config = uvicorn.Config(
        create_app(library, options),
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_STOP,
    )
    return uvicorn.Server(config)


def run(
    library: Library,
    listening: socket.socket,
    options: Options,
    *,
    announce: Callable[[str], None],
    open_browser: bool = False,
) -> None:
    """Serve a library until the process is interrupted.

    Args:
        library: an open library.
        listening: from `listen`.
        options: how it is served.
        announce: is called with the address, once requests are accepted.
        open_browser: open the address in a browser.
    """
    Thread(target=_warm, args=(library,), daemon=True).start()
    address = address_of(options)
    announce(address)
    if open_browser:
        Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    with suppress(KeyboardInterrupt):  # uvicorn raises it once everything is closed
        server_of(library, options).run(sockets=[listening])


def _warm(library: Library) -> None:
    """Open the vectors and the model, so that the first search does not wait for them."""
    try:
        library.snapshot()
        library.model.label_encoder(library.config.model.templates).encode(["photo"])
    except MktError as error:  # a search says it, too
        log.info("%s", error)
