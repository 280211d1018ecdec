"""Errors as application/problem+json (RFC 9457), with the sentence that a person can act on."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match
from typing_extensions import TypedDict

from mkt_search.errors import (
    CalibrationError,
    CheckpointMismatch,
    ConfigError,
    LibraryDamaged,
    LibraryLocked,
    LibraryNotFound,
    MapError,
    MktError,
    ModelError,
    PhotoError,
    PhotoNotFound,
    QueryError,
    StoreError,
    UnknownLabel,
)

STATUS: dict[type[MktError], int] = {
    PhotoNotFound: 404,
    LibraryLocked: 409,
    LibraryNotFound: 409,
    CalibrationError: 409,
    CheckpointMismatch: 409,
    PhotoError: 410,
    QueryError: 400,
    UnknownLabel: 400,
    ConfigError: 400,
    LibraryDamaged: 500,
    MapError: 500,
    ModelError: 503,
    StoreError: 503,
}
"""The status of each error; a kind that is not listed has that of the kind above it.

422 is for requests that do not fit the OpenAPI, and 400 for those that do and make no query.
"""

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
UNEXPECTED = "The server failed; its terminal shows where."

log = logging.getLogger(__name__)


class Problem(TypedDict):
    """What is wrong and the way out (`detail`), and the kind of problem."""

    type: str
    title: str
    status: int
    detail: str


class Refused(MktError):
    """A request that cannot be answered, with its status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class ProblemResponse(JSONResponse):
    """A problem as a response."""

    media_type = "application/problem+json"

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        title = HTTPStatus(status).phrase
        problem: Problem = {
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
        }
        super().__init__(problem, status, headers)


RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "The request cannot be answered; `detail` says why."},
    "5XX": {"model": Problem, "description": "The library or the model cannot be used."},
}
"""The error responses that every route declares."""


def status_of(error: MktError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, Refused):
        return error.status
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def answer_with_problems(app: FastAPI) -> None:
    """Answer every error of an app with a problem."""

    @app.exception_handler(MktError)
    def known(_: Request, error: MktError) -> ProblemResponse:
        return ProblemResponse(status_of(error), str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> ProblemResponse:
        return ProblemResponse(422, _sentence(error.errors()))

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> ProblemResponse:
        if error.status_code == 404:
            return ProblemResponse(404, f"There is nothing at {request.url.path}.")
        if error.status_code == 405 and request.url.path.startswith("/api/"):
            allowed = ", ".join(_methods(request))
            return ProblemResponse(405, f"Use {allowed}.", headers={"Allow": allowed})
        return ProblemResponse(error.status_code, error.detail, headers=error.headers)

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> ProblemResponse:
        return ProblemResponse(500, UNEXPECTED)


def _methods(request: Request) -> list[str]:
    """Return the methods of all routes at an address; Starlette names only those of the first."""
    routes = request.app.routes
    scopes = ({**request.scope, "method": method} for method in METHODS)
    return [
        scope["method"]
        for scope in scopes
        if any(route.matches(scope)[0] is Match.FULL for route in routes)
    ]


def _sentence(errors: Sequence[Any]) -> str:
    """Return what is wrong with the parameters of a request, one after the other."""
    parts = []
    for error in errors:
        place = ".".join(map(str, error["loc"][1:])) or "the body"
        parts.append(f"{place}: {error['msg']}")
    return f"{'; '.join(parts)}."
