"""`mkt status`: what the library holds, and what could not be read."""

import json
from pathlib import Path

from tests.command_line import columns, library, mkt

__all__ = ["library"]


def test_counts_stand_beside_their_names(library: Path) -> None:
    told = dict(columns(mkt("status", "--library", library)))
    assert told["photos"] == "6 indexed, 1 failed, 0 missing, 1 duplicate"
    assert told["tags"] == "none"
    assert told["library"] == str(library / ".mkt")
    assert str(library / "student") in told["checkpoint"]
    assert told["stored"].startswith("16 local vectors a photo (cover, int8, 8 dimensions)")
    assert told["folder"] == f"{library / 'photos'} (7 photos)"
    assert "1 segment" in told["size"]


def test_json_has_numbers(library: Path) -> None:
    told = json.loads(mkt("status", "--json", "--library", library).stdout)
    assert told["photos"] == {"indexed": 6, "failed": 1}
    assert told["duplicates"] == 1
    assert told["encoding"]["local"] == "cover"
    assert told["candidate_index"] is None
    assert told["roots"][0]["exists"] is True
    assert told["writer"] is None


def test_failed_photos_are_listed_with_their_reason(library: Path) -> None:
    result = mkt("status", "--failed", "--library", library)
    ((path, reason),) = columns(result)
    assert path == str(library / "photos" / "broken.jpg")
    assert reason
    assert "1 photo cannot be read; `mkt index --retry` tries again." in result.stderr
    told = json.loads(mkt("status", "--failed", "--json", "--library", library).stdout)
    assert told == [{"path": path, "reason": reason}]


def test_new_library_is_empty(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    told = dict(columns(mkt("status", "--library", tmp_path)))
    assert told["photos"] == "0 indexed, 0 failed, 0 missing, 0 duplicates"
    assert told["checkpoint"] == "none"
    assert "Every photo can be read." in mkt("status", "--failed", "--library", tmp_path).stderr


def test_without_a_library_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    result = mkt("status", "--library", tmp_path, code=1)
    assert result.stderr == (
        f"Error: no library in {tmp_path}. Run `mkt init {tmp_path}` to create one.\n"
    )
