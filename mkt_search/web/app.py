"""The app: the pages, the REST interface below /api/v1, and what protects both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from mkt_search.library import Library
from mkt_search.web.jobs import Jobs
from mkt_search.web.limits import Limits
from mkt_search.web.problems import RESPONSES, ProblemResponse, Refused, answer_with_problems
from mkt_search.web.routes import (
    jobs,
    model,
    photos,
    review,
    runs,
    search,
    status,
    tags,
    thumbnails,
    timeline,
)
from mkt_search.web.routes import map as map_
from mkt_search.web.security import Access, Security
from mkt_search.web.serving import PACKAGE, Options, Serving
from mkt_search.web.thumbnails import Thumbnails

API = "/api/v1"
STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/search", "/library", "/review", "/map", "/models", "/photo/{photo:path}")
"""Addresses of the one page, whose script shows what each of them names."""
UNBUILT = "The pages are not built. Run `make web`, or use the REST interface below /api/v1."
ROUTERS: tuple[APIRouter, ...] = (
    status.router,
    search.router,
    photos.router,
    timeline.router,
    tags.router,
    review.router,
    runs.router,
    jobs.router,
    model.router,
    map_.router,
)


def create_app(library: Library, options: Options) -> FastAPI:
    """Return the ASGI app that serves a library, which stays the caller's to close."""
    app = FastAPI(
        title="MKT search",
        version=version(PACKAGE),
        summary="Find and tag the photos of a library.",
        openapi_url=f"{API}/openapi.json",
        docs_url=None,  # these pages load scripts from another site
        redoc_url=None,
        responses=RESPONSES,
        lifespan=_closing,
    )
    serving = Serving(library, options, Thumbnails(library), Jobs(library))
    app.state.serving = serving
    for router in ROUTERS:
        app.include_router(router, prefix=API)
    app.include_router(thumbnails.router)
    for page in PAGES:
        app.add_api_route(page, _page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False))
    answer_with_problems(app)
    _describe(app)
    app.add_middleware(Limits)
    access = Access(options.token, options.port, options.host)
    app.add_middleware(Security, access=access)
    return app


@asynccontextmanager
async def _closing(app: FastAPI) -> AsyncIterator[None]:
    """Serve, then end what still works in other threads."""
    yield
    await run_in_threadpool(app.state.serving.close)


def _page() -> FileResponse:
    file = STATIC / "index.html"
    if not file.is_file():
        raise Refused(404, UNBUILT)
    return FileResponse(file, headers={"Cache-Control": "no-cache"})


def _describe(app: FastAPI) -> None:
    """Make the OpenAPI of an app say what every route shares: the token and the problems."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = original()
            components = found.setdefault("components", {})
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            found["security"] = [{"token": []}]
            for operation in _operations(found):
                for status_, response in operation["responses"].items():
                    if status_ in RESPONSES:
                        (problem,) = response["content"].values()
                        response["content"] = {ProblemResponse.media_type: problem}
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _operations(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in schema["paths"].values() for operation in path.values()]
