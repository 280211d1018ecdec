"""`mkt serve`: the web app and the REST interface, on this machine."""

import importlib.util
from pathlib import Path
from typing import Any

import click

from mkt_search.commands.open_library import open_library
from mkt_search.errors import MktError
from mkt_search.terminal.options import (
    TEXT,
    Command,
    advanced_option,
    library_option,
    setting_option,
    take_settings,
)
from mkt_search.terminal.output import say


@click.command(cls=Command, short_help="Show the library in a browser.")
@click.option(
    "--port",
    metavar="N",
    type=click.IntRange(0, 65_535),
    default=8765,
    show_default=True,
    help="The port; 0 takes a free one.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the address in a browser.")
@click.option(
    "--read-only", is_flag=True, help="Refuse every change of tags, and every job that writes."
)
@advanced_option(
    "--host",
    metavar="NAME",
    type=TEXT,
    default="127.0.0.1",
    show_default=True,
    help="Where to listen. Other than on this machine, whoever has the token can see and tag all "
    "photos, and the connection is not encrypted; it needs --token-file.",
)
@advanced_option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the token from FILE, so that it stays the same; by default a new one each time.",
)
@setting_option("model.checkpoint", advanced=True)
@setting_option("model.device")
@library_option
def serve(
    port: int,
    open_browser: bool,
    read_only: bool,
    host: str,
    token_file: Path | None,
    directory: Path | None,
    **given: Any,
) -> None:
    """Serve the library to a browser on this machine: search, review, browse.

    Open the address that it prints; it has a token that gives the browser a cookie. Programs send
    the token as `Authorization: Bearer TOKEN` to /api/v1. Press Ctrl-C to stop.

    \b
    Examples:
      mkt serve --open
      mkt serve --read-only --library ~/Pictures
    """
    flags = take_settings(given)
    if importlib.util.find_spec("fastapi") is None or importlib.util.find_spec("uvicorn") is None:
        raise MktError(
            "The web app needs FastAPI and uvicorn, which are not installed: run `pip install "
            '"mkt-search[web]"`.'
        )
    from mkt_search.web import server
    from mkt_search.web.serving import Options

    if not server.is_loopback(host) and token_file is None:
        raise click.UsageError(
            f"--host {host} lets other machines in: whoever has the token can see and tag all "
            "photos, and the connection is not encrypted. Keep a token in a file that only you "
            "can read, and give --token-file FILE."
        )
    token = server.new_token() if token_file is None else server.read_token(token_file)
    with open_library(directory, flags) as library, server.listen(host, port) as listening:
        port = listening.getsockname()[1]
        options = Options(token, port=port, host=host, read_only=read_only)
        server.run(library, listening, options, announce=_announce, open_browser=open_browser)
    say("The server has stopped.")


def _announce(address: str) -> None:
    click.echo(address)
    say("Open this address in a browser; Ctrl-C stops the server.")
