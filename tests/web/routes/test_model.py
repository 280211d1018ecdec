"""The model over HTTP."""

from pathlib import Path

from starlette.testclient import TestClient


def test_the_model_is_described(client: TestClient, library: Path) -> None:
    found = client.get("/api/v1/model").json()
    assert found["model"] == str(library / "student")
    assert found["encoding"]["grid"] == [4, 4]
    assert (found["calibrator"], found["problem"], found["evaluations"]) == (None, None, [])
