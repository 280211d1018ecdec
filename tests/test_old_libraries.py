"""Libraries that earlier versions made: they open, migrate, and find what they found then.

`tests/data/old_libraries/` has the libraries and what the programs that made them printed;
`make.py` there says which commits these were.
"""

import json
import math
import os
import tarfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mkt_search import Library
from mkt_search.errors import SchemaOutdated
from tests.command_line import mkt
from tests.tiny import paint

DATA = Path(__file__).parent / "data" / "old_libraries"
ROOTS = ("photos", "scans")
TAG_COLUMNS = ("path", "label", "score", "source", "run")
BOX = ("left", "top", "right", "bottom")
WHOLE = ("schema_0004", "library")
KEPT = [
    WHOLE,
    pytest.param(("schema_0001", "topk"), marks=pytest.mark.slow),
    pytest.param(("schema_0001", "all"), marks=pytest.mark.slow),
    pytest.param(("pooled_forms", "cover-int4"), marks=pytest.mark.slow),
    pytest.param(("pooled_forms", "topk-int8"), marks=pytest.mark.slow),
    pytest.param(("pooled_forms", "all-fp16"), marks=pytest.mark.slow),
]
RETIRED = [
    ("schema_0001", "kset"),
    ("pooled_forms", "kset-int8"),
    ("pooled_forms", "centroids-int8"),
    ("pooled_forms", "ward-int8"),
    ("pooled_forms", "cover-fp16"),
    ("pooled_forms", "cover-vocabulary"),
]


@cache
def recorded(archive: str) -> dict[str, Any]:
    """Return what the old program printed; "HOME" is for the folder where it ran."""
    found: dict[str, Any] = json.loads((DATA / f"{archive}.json").read_text())
    return found


def unpack(archive: str, folder: Path) -> Path:
    """Unpack photos, checkpoint and libraries, with the times of the files; return the folder."""
    with tarfile.open(DATA / f"{archive}.tar.xz") as file:
        file.extractall(folder, filter="data")
    return folder


class OldLibrary(NamedTuple):
    """An unpacked library, and what the old program printed of it."""

    home: Path
    archive: str
    name: str

    @property
    def expected(self) -> dict[str, Any]:
        """What the old program printed."""
        expected: dict[str, Any] = recorded(self.archive)["libraries"][self.name]
        return expected

    @property
    def model(self) -> Path:
        """The checkpoint."""
        return self.home / "student"

    def run(self, command: str, *arguments: str | Path, code: int = 0) -> Any:
        """Run `mkt` on this library."""
        return mkt(command, *arguments, "--library", self.home / self.name, code=code)

    def read(self, command: str, *arguments: str | Path, code: int = 0) -> Any:
        """Run `mkt` on this library and return the JSON it prints, with "HOME" for the folder."""
        printed = self.run(command, *arguments, code=code).stdout
        for folder in (str(self.home), recorded(self.archive)["home"]):
            printed = printed.replace(folder, "HOME")
        return json.loads(printed)

    def search(self, arguments: list[str], *more: str) -> list[dict[str, Any]]:
        """Return hits as they are recorded."""
        given = [argument.replace("HOME", str(self.home)) for argument in arguments]
        hits: list[dict[str, Any]] = self.read(
            "search", *given, *more, "--model", self.model, "--json"
        )
        for hit in hits:
            del hit["photo"], hit["taken_at"], hit["date_source"]
            hit["boxes"] = [[box[side] for side in BOX] for box in hit["boxes"]]
        return hits

    def tags(self, *arguments: str) -> list[list[Any]]:
        """Return tags as they are recorded."""
        found = self.read("tags", "--json", *arguments)
        return [[tag[name] for name in TAG_COLUMNS] for tag in found]

    @property
    def expected_tags(self) -> list[list[Any]]:
        """What the old program printed, and a person's tags on every copy: its bytes have them."""
        tags: list[list[Any]] = self.expected["tags"]
        roots = [self.home / root["path"].removeprefix("HOME/") for root in self.roots]
        files = [file for root in roots for file in root.rglob("*") if file.is_file()]
        copies: dict[bytes, list[str]] = {}
        for file in files:
            name = f"HOME/{file.relative_to(self.home).as_posix()}"
            copies.setdefault(file.read_bytes(), []).append(name)
        of_path = {path: paths for paths in copies.values() for path in paths}
        by_hand = [
            [copy, *rest]
            for path, *rest in tags
            if rest[2] != "auto"
            for copy in of_path.get(path, [path])
        ]
        found = [*(tag for tag in tags if tag[3] == "auto"), *by_hand]
        return sorted(found, key=lambda t: (t[0], -math.inf if t[2] is None else -t[2], t[1]))

    @property
    def roots(self) -> list[dict[str, Any]]:
        """The folders of the library when it was recorded."""
        roots: list[dict[str, Any]] = self.expected["status"]["roots"]
        return roots

    def move_roots(self) -> None:
        """Say where the photos are now; the library holds the folders of the machine it is from."""
        for root in ROOTS:
            if (self.home / root).exists():
                self.run("root", f"{recorded(self.archive)['home']}/{root}", self.home / root)


def bring_up_to_date(archive: str, name: str, folder: Path) -> OldLibrary:
    """Unpack a library, migrate it and say where its photos are."""
    library = OldLibrary(unpack(archive, folder), archive, name)
    library.run("migrate")
    library.move_roots()
    return library


@pytest.fixture(scope="module", params=KEPT, ids="/".join)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OldLibrary:
    """Each library in turn, for tests that only read."""
    return bring_up_to_date(*request.param, tmp_path_factory.mktemp("old"))


@pytest.fixture(params=KEPT, ids="/".join)
def own_library(request: pytest.FixtureRequest, tmp_path: Path) -> OldLibrary:
    """Each library in turn, for one test to change."""
    return bring_up_to_date(*request.param, tmp_path)


@pytest.fixture
def whole_library(tmp_path: Path) -> OldLibrary:
    """The library with everything in it, for one test to change."""
    return bring_up_to_date(*WHOLE, tmp_path)


def same(found: Any, expected: Any) -> bool:
    """Compare JSON data; numbers may differ by rounding."""
    if isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=0, abs_tol=1e-6)
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected)


def check_searches(library: OldLibrary, *more: str) -> None:
    """Every recorded search finds the same photos, scores, boxes and copies."""
    for search in library.expected["searches"]:
        found = library.search(search["arguments"], *more)
        assert [hit["path"] for hit in found] == [hit["path"] for hit in search["hits"]], search
        assert same(found, search["hits"]), search


@pytest.mark.parametrize("name", ["topk", "all", "kset"])
def test_a_library_of_the_first_schema_asks_to_be_migrated(name: str, tmp_path: Path) -> None:
    library = OldLibrary(unpack("schema_0001", tmp_path), "schema_0001", name)
    for command in ("status", "tags", "verify"):
        assert "Run `mkt migrate`" in library.run(command, code=1).stderr
    refused = library.run("search", "red", "--model", library.model, code=1).stderr
    assert "schema 0001" in refused and "Run `mkt migrate`" in refused
    with pytest.raises(SchemaOutdated, match="Run `mkt migrate`"):
        Library.open(library.home / name)
    library.run("migrate")
    assert "sound" in library.run("verify").stderr


def test_python_migrates_a_library_of_the_first_schema(tmp_path: Path) -> None:
    home = unpack("schema_0001", tmp_path)
    with Library.open(home / "topk", check=False) as library:
        library.migrate()
    with Library.open(home / "topk") as library:
        assert library.verify() == []


def test_searches_find_what_they_found(library: OldLibrary) -> None:
    check_searches(library)


def test_exact_searches_find_what_they_found(library: OldLibrary) -> None:
    check_searches(library, "--exact")


def test_tags_and_runs_are_as_they_were(library: OldLibrary) -> None:
    assert same(library.tags(), library.expected_tags)
    assert same(library.read("tags", "--runs", "--json"), library.expected["runs"])


def test_the_status_is_as_it_was(library: OldLibrary) -> None:
    found, expected = library.read("status", "--json"), library.expected["status"]
    for key in ("photos", "duplicates", "model", "building", "segments", "bytes_segments"):
        assert found[key] == expected[key]
    assert found["tags"] == Counter(tag[3] for tag in library.expected_tags)
    assert found["encoding"]["checkpoint"] == expected["encoding"]["checkpoint"]
    for root, before in zip(found["roots"], library.roots, strict=True):
        assert (root["path"], root["photos"]) == (before["path"], before["photos"])
    assert library.read("status", "--failed", "--json") == library.expected["failed"]


def test_python_reads_what_the_command_line_reads(library: OldLibrary) -> None:
    with Library.open(library.home / library.name, model=str(library.model)) as opened:
        search = library.expected["searches"][0]
        label, _, k = search["arguments"]
        hits = opened.search(label, k=int(k))
        assert [f"{hit.score:.5f}" for hit in hits] == [f"{h['score']:.5f}" for h in search["hits"]]
        found = [os.path.relpath(hit.path, library.home) for hit in hits]
        assert found == [os.path.relpath(hit["path"], "HOME") for hit in search["hits"]]
        by_hand = [tag for tag in library.expected_tags if tag[3] == "human"]
        assert [tag.label for tag in opened.tags(source="human")] == [tag[1] for tag in by_hand]
        assert len(opened.runs()) == len(library.expected["runs"])
        assert opened.status().photos == library.expected["status"]["photos"]
        assert opened.verify() == []


def test_the_library_is_sound(library: OldLibrary) -> None:
    assert "sound" in library.run("verify").stderr


def test_the_candidate_index_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    library = bring_up_to_date(*WHOLE, tmp_path_factory.mktemp("old"))
    index = library.read("status", "--json")["candidate_index"]
    assert index == library.expected["status"]["candidate_index"]
    explained = library.run("search", "red", "-k", "8", "--explain", "--model", library.model)
    assert "candidates" in explained.stderr


def test_evaluations_are_kept(whole_library: OldLibrary) -> None:
    found = whole_library.read("evaluate", "--list", "--json", "-")
    assert same(found, whole_library.expected["evaluations"])


def test_photos_of_an_earlier_decoder_are_searched_and_indexed_only_by_a_rebuild(
    own_library: OldLibrary,
) -> None:
    refused = own_library.run("index", "--model", own_library.model, code=1).stderr
    assert "made by an earlier version" in refused and "`mkt index --rebuild`" in refused
    assert same(own_library.tags(), own_library.expected_tags)
    check_searches(own_library)


def test_a_rebuild_finds_new_photos_and_keeps_the_tags(own_library: OldLibrary) -> None:
    before = len(own_library.search(["red", "-k", "1000"]))
    paint(own_library.home / "photos" / "sunset.png", "red")
    own_library.run("index", "--rebuild", "--model", own_library.model)
    assert same(own_library.tags(), own_library.expected_tags)
    hits = own_library.search(["red", "-k", "1000"])
    assert len(hits) == before + 1
    assert hits[0]["path"] == "HOME/photos/sunset.png"
    assert hits[0]["score"] == pytest.approx(1, abs=0.01)
    assert "sound" in own_library.run("verify").stderr


def test_pruning_changes_no_hit(own_library: OldLibrary) -> None:
    own_library.run("prune")
    status = own_library.read("status", "--json")
    assert status["photos"].get("missing", 0) == 0
    assert status["segments"] == 1
    check_searches(own_library)
    by_hand = [tag for tag in own_library.expected_tags if tag[3] == "human"]
    assert same(own_library.tags("--source", "human"), by_hand)
    assert "sound" in own_library.run("verify").stderr


@pytest.mark.slow
def test_a_new_candidate_index_changes_no_hit(whole_library: OldLibrary) -> None:
    whole_library.run("optimize")
    found = whole_library.read("status", "--json")["candidate_index"]
    assert found["photos"] == 275
    check_searches(whole_library)
    assert "sound" in whole_library.run("verify").stderr


def test_a_run_can_still_be_taken_back(whole_library: OldLibrary) -> None:
    untag = whole_library.expected["untag"]
    whole_library.run("untag", "--run", str(untag["run"]))
    assert same(whole_library.tags("--label", "red", "--source", "auto"), untag["red"])
    runs = whole_library.read("tags", "--runs", "--json")
    assert {run["run"]: run["outcome"] for run in runs}[untag["run"]] == "reverted"


@pytest.mark.slow
@pytest.mark.parametrize("which", RETIRED, ids="/".join)
def test_tags_survive_the_rebuild_of_a_retired_form(which: tuple[str, str], tmp_path: Path) -> None:
    library = bring_up_to_date(*which, tmp_path)
    labels = tmp_path / "labels.txt"
    labels.write_text("red\nblue\n")
    for command in (
        ("search", "red"),
        ("tag", "--vocabulary", labels, "--top", "1", "--dry-run"),
        ("index",),
        ("index", "--dry-run"),
    ):
        refused = library.run(*command, "--model", library.model, code=1).stderr
        assert refused.count("\n") == 1 and "run `mkt index --rebuild`" in refused
    for command in (("optimize",), ("repair",)):
        assert "run `mkt index --rebuild`" in library.run(*command, code=1).stderr
    assert library.read("status", "--json")["retired"]
    assert "no longer read; run `mkt index --rebuild`" in library.run("status").stdout
    assert same(library.tags(), library.expected_tags)
    assert "sound" in library.run("verify").stderr
    library.run("index", "--rebuild", "--model", library.model)
    assert same(library.tags(), library.expected_tags)
    runs = library.read("tags", "--runs", "--json")
    assert same(runs[: len(library.expected["runs"])], library.expected["runs"])
    assert len(library.search(["red", "-k", "4"])) == 4
    assert "sound" in library.run("verify").stderr


def test_pruning_leaves_vectors_of_a_retired_form_as_they_are(tmp_path: Path) -> None:
    library = bring_up_to_date("pooled_forms", "cover-fp16", tmp_path)
    library.run("prune")
    assert "sound" in library.run("verify").stderr


def test_the_form_of_the_status_has_no_retired_part_otherwise(whole_library: OldLibrary) -> None:
    assert whole_library.read("status", "--json")["retired"] is None
    assert "retired" not in whole_library.run("status").stdout
