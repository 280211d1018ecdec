"""Errors as problems: the status of each kind, and the sentence in `detail`."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from mkt_search import errors
from mkt_search.errors import MktError
from mkt_search.web.problems import Refused, answer_with_problems, status_of


def test_every_error_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.__name__: status_of(kind("a sentence.")) for kind in kinds}
    assert codes["PhotoNotFound"] == 404
    assert codes["LibraryLocked"] == codes["LibraryNotFound"] == 409
    assert codes["QueryError"] == codes["UnknownLabel"] == 400
    assert codes["SchemaOutdated"] == codes["StoreError"] == 503
    assert all(400 <= code < 600 for code in codes.values())


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Refused(418, "No."), 418, "No."),
        (MktError("Do this."), 500, "Do this."),
        (ZeroDivisionError("secret"), 500, "The server failed; its terminal shows where."),
    ],
)
def test_an_error_is_a_problem_with_its_sentence(
    error: Exception, status: int, detail: str
) -> None:
    app = FastAPI()
    answer_with_problems(app)

    @app.get("/")
    def fail() -> None:
        raise error

    answer = TestClient(app, raise_server_exceptions=False).get("/")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == answer.status_code == status
    assert answer.json()["detail"] == detail


def test_parameters_are_named_and_an_unknown_address_is_said(client: TestClient) -> None:
    answer = client.get("/api/v1/search", params={"q": "red", "k": 0, "precision": 2})
    assert answer.status_code == 422
    assert answer.json()["detail"] == (
        "k: Input should be greater than or equal to 1; "
        "precision: Input should be less than or equal to 1."
    )
    assert client.get("/api/v1/x").json()["detail"] == "There is nothing at /api/v1/x."
    wrong = client.post("/api/v1/status")
    assert wrong.status_code == 405 and wrong.headers["allow"] == "GET"
    assert client.post("/api/v1/photos/1/tags", content="{").status_code == 422
    assert client.put("/api/v1/tags").headers["allow"] == "GET, POST"
