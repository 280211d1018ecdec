"""The state of the library over HTTP: that of `mkt status --json`, and how it is served."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from mkt_search import Library
from mkt_search.calibration.file import FILE, save
from tests.calibration.made import calibrator_of
from tests.command_line import mkt
from tests.web.client import client_of

OWN = ("read_only", "version", "calibrator", "problem")


def test_the_status_is_that_of_the_command(client: TestClient, library: Path) -> None:
    found = client.get("/api/v1/status").json()
    own = {name: found.pop(name) for name in OWN}
    assert found == json.loads(mkt("status", "--json", "--library", library).stdout)
    assert (own["read_only"], own["calibrator"], own["problem"]) == (False, None, None)


def test_the_quality_of_a_calibrator_is_part_of_it(own_library: Path) -> None:
    with Library.open(own_library) as opened:
        save(calibrator_of(opened), own_library / ".mkt" / FILE)
    with client_of(own_library) as found:
        quality = found.get("/api/v1/status").json()["calibrator"]
        assert quality["auroc"] == 1.0
        model = found.get("/api/v1/model").json()
        assert model["calibrator"]["quality"] == quality
        assert [point["p"] for point in model["calibrator"]["curve"]] == pytest.approx([0, 1])


def test_a_library_without_photos_is_served(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    with client_of(tmp_path) as empty:
        found = empty.get("/api/v1/status").json()
        assert (found["photos"], found["model"], found["problem"]) == ({}, None, None)
        answer = empty.get("/api/v1/search?q=red")
        assert answer.status_code == 409
        assert "has no photos yet. Run `mkt index FOLDER`" in answer.json()["detail"]
        assert empty.get("/api/v1/model").json()["encoding"] is None
        assert empty.get("/api/v1/labels?prefix=do").json()


def test_a_missing_model_is_a_problem_of_the_status(own_library: Path) -> None:
    (own_library / "student").rename(own_library / "moved")
    with client_of(own_library) as found:
        assert "student" in found.get("/api/v1/status").json()["problem"]
        answer = found.get("/api/v1/search?q=red")
        assert answer.status_code == 503
        assert "student" in answer.json()["detail"]
