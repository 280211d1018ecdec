"""`mkt verify`, `mkt prune`, `mkt root`, `mkt migrate`."""

import json
from pathlib import Path

from tests.command_line import columns, mkt, paths


def index(home: Path) -> None:
    mkt("index", home / "photos", "--model", home / "student", "--library", home)


def test_sound_library_is_called_sound(library: Path) -> None:
    result = mkt("verify", "--library", library)
    assert (result.stdout, result.stderr) == ("", "The library is sound.\n")
    assert json.loads(mkt("verify", "--json", "--library", library).stdout) == []


def test_damaged_segment_is_found_and_named(own_library: Path) -> None:
    (segment,) = (own_library / ".mkt" / "segments").iterdir()
    data = bytearray(segment.read_bytes())
    data[-1] ^= 0xFF
    segment.chmod(0o644)
    segment.write_bytes(data)
    result = mkt("verify", "--library", own_library, code=1)
    ((where, what, way_out),) = columns(result)
    assert (where, what) == (segment.name, "a segment's bytes have changed")
    assert "mkt repair" in way_out
    assert "1 problem found." in result.stderr
    data = json.loads(mkt("verify", "--json", "--library", own_library, code=1).stdout)
    assert [problem["where"] for problem in data] == [segment.name]


def test_prune_forgets_what_is_missing(own_library: Path) -> None:
    (own_library / "photos" / "green.png").unlink()
    index(own_library)
    tried = mkt("prune", "--dry-run", "--library", own_library)
    assert "would remove 1 missing photo, 0 tags" in tried.stderr
    assert "removed 1 missing photo, 0 tags" in mkt("prune", "--library", own_library).stderr
    again = json.loads(mkt("prune", "--json", "--library", own_library).stdout)
    assert set(again.values()) == {0}
    mkt("verify", "--library", own_library)


def test_prune_keeps_what_a_person_tagged_unless_asked(own_library: Path) -> None:
    mkt("tag", own_library / "photos" / "green.png", "--add", "lawn", "--library", own_library)
    (own_library / "photos" / "green.png").unlink()
    index(own_library)
    kept = mkt("prune", "--library", own_library).stderr
    assert "removed 0 missing photos" in kept
    assert "kept 1 missing photo that you tagged; --tagged removes" in kept
    listed = mkt("tags", "--source", "human", "--library", own_library).stdout
    assert "green.png (missing)\tlawn" in listed
    removed = mkt("prune", "--tagged", "--library", own_library).stderr
    assert "removed 1 missing photo, 1 tag" in removed and "kept" not in removed
    mkt("verify", "--library", own_library)


def test_roots_are_listed(library: Path) -> None:
    assert columns(mkt("root", "--library", library)) == [["7", "yes", str(library / "photos")]]
    data = json.loads(mkt("root", "--json", "--library", library).stdout)
    assert data == [{"photos": 7, "exists": True, "path": str(library / "photos")}]


def test_a_moved_folder_that_is_indexed_again_is_offered_by_name(own_library: Path) -> None:
    old, new = own_library / "photos", own_library / "disk"
    mkt("tag", old / "green.png", "--add", "lawn", "--library", own_library)
    old.rename(new)
    offered = mkt("index", new, "--library", own_library).stderr
    assert f"run `mkt root {old} {new}`" in offered
    (hit,) = json.loads(
        mkt("search", "green", "-k", "1", "--json", "--library", own_library).stdout
    )
    assert hit["path"] == str(new / "green.png") and hit["copies"] == [str(old / "green.png")]
    assert "7 photos moved with it" in mkt("root", old, new, "--library", own_library).stderr
    assert columns(mkt("root", "--library", own_library)) == [["7", "yes", str(new)]]
    listed = mkt("tags", "--source", "human", "--library", own_library).stdout
    assert listed.startswith(f"{new / 'green.png'}\tlawn")
    assert "run `mkt root" not in mkt("index", "--library", own_library).stderr
    mkt("verify", "--library", own_library)


def test_moved_folder_is_one_command_away(own_library: Path) -> None:
    (own_library / "photos").rename(own_library / "disk")
    assert columns(mkt("root", "--library", own_library))[0][1] == "no"
    old, new = own_library / "photos", own_library / "disk"
    result = mkt("root", old, new, "--library", own_library)
    assert f"{old} is now {new}: 7 photos moved with it." in result.stderr
    found = mkt("search", "green", "-k", "1", "--paths", "--library", own_library)
    assert paths(own_library, found.stdout.splitlines()) == ["../disk/green.png"]


def test_one_folder_alone_is_a_usage_error(library: Path) -> None:
    assert "mkt root OLD NEW" in mkt("root", "x", "--library", library, code=2).stderr


def test_unknown_folder_names_the_known(library: Path) -> None:
    result = mkt("root", "/x", library, "--library", library, code=1)
    assert str(library / "photos") in result.stderr


def test_empty_library_has_no_folder(tmp_path: Path) -> None:
    mkt("init", tmp_path)
    assert "No folder yet" in mkt("root", "--library", tmp_path).stderr


def test_migrate_of_a_library_up_to_date_does_nothing(library: Path) -> None:
    assert mkt("migrate", "--library", library).stderr == f"{library / '.mkt'} is up to date.\n"


def test_old_folder_may_be_named_by_a_winding_way(own_library: Path) -> None:
    (own_library / "photos").rename(own_library / "moved")
    old = own_library / "student" / ".." / "photos"
    result = mkt("root", old, own_library / "moved", "--library", own_library)
    assert "7 photos moved with it." in result.stderr
