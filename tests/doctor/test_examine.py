"""Everything at once: whatever is broken is a line of the report."""

from pathlib import Path

import pytest

from mkt_search.doctor import packages
from mkt_search.doctor.examine import examine
from mkt_search.doctor.packages import Probed


@pytest.fixture(autouse=True)
def _packages_are_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import nothing; that takes some seconds of processor time."""
    monkeypatch.setattr(packages, "probe", lambda modules: Probed({}))


def test_a_damaged_database_is_a_finding(own_library: Path) -> None:
    (own_library / ".mkt" / "mkt.db").write_bytes(b"no database" * 1000)
    problems = [one for one in examine(own_library) if one.state == "problem"]
    assert [one.what for one in problems] == ["library"]


def test_a_machine_without_the_usual_is_a_finding(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("odd machine")

    for name in ("shutil.which", "shutil.disk_usage", "pathlib.Path.home", "os.cpu_count"):
        monkeypatch.setattr(name, broken)
    problems = {one.what for one in examine(library) if one.state == "problem"}
    assert {"system", "exiftool", "disk"} <= problems
