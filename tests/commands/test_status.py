"""`mkt status`: what the library holds, and what could not be read."""

import json
from pathlib import Path

from tests.command_line import columns, mkt


def test_counts_are_beside_their_names(library: Path) -> None:
    data = dict(columns(mkt("status", "--library", library)))
    assert data["photos"] == "6 indexed, 1 failed, 0 missing, 1 duplicate"
    assert data["tags"] == "none"
    assert data["library"] == str(library / ".mkt")
    assert str(library / "student") in data["checkpoint"]
    assert data["stored"].startswith("16 local vectors a photo (cover, int8, 8 dimensions)")
    assert data["folder"] == f"{library / 'photos'} (7 photos)"
    assert "1 segment" in data["size"]


def test_json_has_numbers(library: Path) -> None:
    data = json.loads(mkt("status", "--json", "--library", library).stdout)
    assert data["photos"] == {"indexed": 6, "failed": 1}
    assert data["duplicates"] == 1
    assert data["encoding"]["pooling"] == "cover"
    assert data["candidate_index"] is None
    assert data["roots"][0]["exists"] is True
    assert data["writer"] is None


def test_failed_photos_are_listed_with_their_reason(library: Path) -> None:
    result = mkt("status", "--failed", "--library", library)
    ((path, reason),) = columns(result)
    assert path == str(library / "photos" / "broken.jpg")
    assert reason
    assert "1 photo cannot be read; `mkt index --retry` tries again." in result.stderr
    data = json.loads(mkt("status", "--failed", "--json", "--library", library).stdout)
    assert data == [{"path": path, "reason": reason}]


def test_what_was_left_out_is_listed_with_the_reason(own_library: Path) -> None:
    notes = own_library / "photos" / "trip" / "notes.txt"
    notes.write_text("milk")
    result = mkt("status", "--left-out", "--library", own_library)
    assert columns(result) == [[str(notes), "not a photo"]]
    assert result.stderr == "1 file or folder left out.\n"
    data = json.loads(mkt("status", "--left-out", "--json", "--library", own_library).stdout)
    assert data == [{"path": str(notes), "reason": "not a photo"}]
    notes.unlink()
    mkt("status", "--left-out", "--failed", "--library", own_library, code=2)


def test_new_library_is_empty(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    data = dict(columns(mkt("status", "--library", tmp_path)))
    assert data["photos"] == "0 indexed, 0 failed, 0 missing, 0 duplicates"
    assert data["checkpoint"] == "none"
    assert "Every photo can be read." in mkt("status", "--failed", "--library", tmp_path).stderr


def test_a_wrong_url_is_a_sentence_and_makes_no_database(tmp_path: Path) -> None:
    mkt("init", tmp_path / "home", "--database", f"sqlite:///{tmp_path / 'a.db'}")
    (tmp_path / "a.db").unlink()
    said = mkt("status", "--library", tmp_path / "home", code=1).stderr
    assert "a.db. Correct the URL under [library] in mkt.toml" in said
    assert not (tmp_path / "a.db").exists()


def test_without_a_library_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    result = mkt("status", "--library", tmp_path, code=1)
    assert result.stderr == (
        f"Error: no library in {tmp_path}. Run `mkt init {tmp_path}` to create one.\n"
    )
