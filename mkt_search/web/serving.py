"""What an app serves: a library, how it is served, and the one writer at a time."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from mkt_search.library import Library
from mkt_search.web.jobs import Jobs
from mkt_search.web.problems import Refused
from mkt_search.web.thumbnails import Thumbnails

PACKAGE = "mkt-search"
DEFAULT_PORT = 8765
READ_ONLY = "This server is read-only (--read-only); start it without to change the library."


@dataclass(frozen=True)
class Options:
    """How a library is served.

    Args:
        token: what a browser or script must show; text without spaces.
        port: of the server; it names the cookie.
        host: the name or address that the server listens on.
        read_only: refuse every request that would change the library.
    """

    token: str = field(repr=False)
    port: int = DEFAULT_PORT
    host: str = "127.0.0.1"
    read_only: bool = False


@dataclass(frozen=True)
class Serving:
    """A library and the options of its server, its thumbnails and its jobs."""

    library: Library
    options: Options
    thumbnails: Thumbnails
    jobs: Jobs

    @property
    def writing(self) -> AbstractContextManager[None]:
        """Hold it while a request changes the library. Raises Refused (409) while a job runs."""
        return self.jobs.editing()

    def close(self) -> None:
        """End what still works in other threads."""
        self.jobs.close()
        self.thumbnails.close()


def _serving(request: Request) -> Serving:
    found = request.app.state.serving
    assert isinstance(found, Serving)
    return found


Served = Annotated[Serving, Depends(_serving)]
"""A parameter of a route: what is served."""


def _refuse_if_read_only(serving: Served) -> None:
    if serving.options.read_only:
        raise Refused(403, READ_ONLY)


WRITES = [Depends(_refuse_if_read_only)]
"""The dependencies of a route that changes the library."""
