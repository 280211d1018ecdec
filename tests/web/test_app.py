"""The app as a whole: its pages, its OpenAPI, and any request that fits that."""

from pathlib import Path

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.testclient import TestClient

from mkt_search import Library
from mkt_search.web.app import create_app
from mkt_search.web.serving import Options
from tests.web.client import BEARER, TOKEN

OPENAPI = "/api/v1/openapi.json"


def test_the_page_is_the_same_at_every_address(client: TestClient) -> None:
    first = client.get("/")
    for path in ("/search", "/library", "/review", "/models", "/photo/1", "/photo/1/x"):
        assert client.get(path).content == first.content


def test_every_operation_says_what_it_answers_and_how_it_fails(client: TestClient) -> None:
    schema = client.get(OPENAPI).json()
    assert schema["security"] == [{"token": []}]
    for path, operations in schema["paths"].items():
        assert path.startswith("/api/v1/") or path.startswith("/thumbnails/")
        for operation in operations.values():
            assert operation["description"]
            for status in ("4XX", "5XX"):
                (kind,) = operation["responses"][status]["content"].items()
                assert kind[0] == "application/problem+json"
                assert kind[1]["schema"] == {"$ref": "#/components/schemas/Problem"}
            done = next(iter(operation["responses"]))
            assert done in ("200", "202")


def test_the_interactive_pages_of_the_framework_are_off(client: TestClient) -> None:
    for path in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(path).status_code == 404


HEADERS = {**BEARER, "Host": "localhost"}
CONFIG = {
    "seed": 1,
    "headers": HEADERS,
    "continue-on-failure": True,
    "generation": {"deterministic": True, "max-examples": 3},
    "phases": {"stateful": {"enabled": False}},
    # 400: it fits the OpenAPI, but is no query, no date or no label that the model knows
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", 400, 404, 409]},
        "negative_data_rejection": {"expected-statuses": [400, 404, 405, 409, 413, 422]},
    },
}


@pytest.mark.slow
def test_any_request_is_answered_as_the_openapi_says(own_library: Path) -> None:
    with Library.open(own_library) as library:
        app = create_app(library, Options(TOKEN))
        config = SchemathesisConfig.from_dict(CONFIG)
        schema = schemathesis.openapi.from_asgi(OPENAPI, app, config=config, headers=HEADERS)
        happened = list(from_schema(schema).execute())
        app.state.serving.close()  # no lifespan ran, and a job may still work
    scenarios = [event for event in happened if isinstance(event, events.ScenarioFinished)]
    assert sum(len(scenario.recorder.cases) for scenario in scenarios) > 100
    assert not [event for event in happened if isinstance(event, events.NonFatalError)]
    assert not [event for event in happened if isinstance(event, events.FatalError)]
    failures = [
        f"{scenario.label}: {found.failure_info.failure.title}: {found.failure_info.code_sample}"
        for scenario in scenarios
        for checks in scenario.recorder.checks.values()
        for found in checks
        if found.failure_info is not None
    ]
    assert failures == []
