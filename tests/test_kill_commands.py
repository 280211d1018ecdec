"""A command that is killed at any time loses no word of a person, and ends as if undisturbed.

A round starts from a copy of a library. The command is killed again and again, until once it
ends. After each kill the library is sound and has every tag of a person; at the end, all that the
library holds equals what an undisturbed run left, bit for bit.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mkt_search import Library
from mkt_search.errors import SchemaOutdated
from tests.index_process import Commands
from tests.test_old_libraries import unpack
from tests.tiny import LABELS, paint, tiny_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
]

PHOTOS = 280
TAGGED = range(0, 60, 3)  # photos with a person's tag
REFUSED = range(1, 60, 9)  # photos from which a person removed a label
JUDGED = range(2, 60, 9)  # photos that a person judged
NEWLY_JUDGED = range(4, 60, 9)
TAG_RUN = 2
QUERIES = ("red", "blue + green - red")
NAMES = ("index", "rebuild", "optimize", "tag", "untag", "prune", "repair", "migrate", "feedback")
DONE = f"Error: Run {TAG_RUN} was taken back already.\n"  # by a command killed after its commit
FEW_KILLS, MANY_KILLS = 2, 63  # of each command, in `make test` and in `make soak`


@dataclass(frozen=True)
class Job:
    """A command, the library that it begins with, and that library's model."""

    begins_with: Path
    model: Path
    arguments: tuple[str, ...]

    def copy(self, folder: Path) -> Path:
        """Copy the library, and return the copy."""
        shutil.rmtree(folder, ignore_errors=True)
        return Path(shutil.copytree(self.begins_with, folder / ".mkt"))


def name(number: int, note: str = "") -> str:
    """Return the path of a photo in the folder; it begins with the number of the picture."""
    return f"{number % 2}/{number:03}{note}.png"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> dict[str, Job]:
    """Make a library, tag its photos by hand and by a run, and index changes of the folder."""
    home = tmp_path_factory.mktemp("world")
    photos, student = home / "photos", tiny_checkpoint(home / "student")
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        colours = [tuple(rng.integers(0, 256, 3).tolist()) for _ in range(3)]
        patches = dict(zip([(0, number % 4), (2, 1)], colours[1:], strict=True))
        paint(photos / name(number), colours[0], patches, size=(32, 32))
    labels = home / "labels.txt"
    labels.write_text("\n".join(LABELS))

    def run(*arguments: str) -> None:
        code = commands.run([*arguments, "--library", str(home / "base")], home / "log")
        assert code == 0, (home / "log").read_text()

    def keep(state: str) -> Path:
        return Path(shutil.copytree(home / "base" / ".mkt", home / state))

    index = ("index", str(photos), "--model", str(student), "--batch-size", "16", "--workers", "2")

    Library.create(home / "base").close()
    run(*index)
    run("tag", "--vocabulary", str(labels), "--top", "3")
    with Library.open(home / "base") as library:
        assert library.runs()[-1].id == TAG_RUN
        library.add_tag([photos / name(number) for number in TAGGED], "mine")
        for number in REFUSED:
            library.remove_tag([photos / name(number)], LABELS[0])
        shown = [photos / name(number) for number in JUDGED]
        library.add_feedback(LABELS[0], yes=shown[1:], no=shown[0])
    before = keep("before")
    change_folder(photos)
    run(*index)
    indexed = keep("indexed")
    damage_a_segment(home / "base" / ".mkt")
    damaged = keep("damaged")
    old = unpack("schema_0004", home / "old")
    newly = [str(photos / name(number)) for number in NEWLY_JUDGED]
    rebuild = ("--rebuild", "--pooling", "cover", "--m", "4")
    return {
        "index": Job(before, student, index),
        "rebuild": Job(indexed, student, (*index, *rebuild)),
        "optimize": Job(indexed, student, ("optimize",)),
        "tag": Job(indexed, student, ("tag", "--vocabulary", str(labels), "--top", "2")),
        "untag": Job(indexed, student, ("untag", "--run", str(TAG_RUN))),
        "prune": Job(indexed, student, ("prune",)),
        "repair": Job(damaged, student, ("repair",)),
        "migrate": Job(old / "library", old / "student", ("migrate",)),
        "feedback": Job(
            indexed, student, ("feedback", LABELS[0], "--yes", *newly[1:], "--no", newly[0])
        ),
    }


def change_folder(photos: Path) -> None:
    """Rename, copy, edit, remove and add photos; no picture with a person's word is lost."""
    for number in (0, 3, 100):
        (photos / name(number)).rename(photos / name(number, "-renamed"))
    for number in (110, 111):
        shutil.copy2(photos / name(number), photos / name(number, "-copy"))
    for number in (120, 121):
        paint(photos / name(number), "orange", {(1, 1): "blue"}, size=(64, 32))
    for number in (*range(130, 140), *range(200, 210)):
        (photos / name(number)).unlink()
    for number in range(PHOTOS, PHOTOS + 40):
        paint(photos / name(number), (number % 256, 255 - number % 200, 7), size=(32, 32))
    (photos / name(PHOTOS + 40)).write_bytes(b"broken")


def damage_a_segment(library: Path) -> None:
    """Flip a bit in the largest segment."""
    segment = max((library / "segments").iterdir(), key=lambda file: (file.stat().st_size, file))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 4
    segment.chmod(0o644)
    segment.write_bytes(data)


def words(library: Library) -> set[tuple[str, str, str]]:
    """Return what a person said of which picture."""
    said = {(tag.path.name[:3], "is", tag.label) for tag in library.tags(source="human")}
    said |= {(one.path.name[:3], "is not", one.label) for one in library.refusals()}
    judged = library.judgements()
    return said | {(one.path.name[:3], f"judged {one.is_yes}", one.label) for one in judged}


def contents(library: Library) -> dict[str, Any]:
    """Return all that a user could miss: photos, tags, hits with scores and boxes, vectors."""
    photos = list(library.photos())
    snapshot = library.snapshot()
    ids = library.store.catalog.content_ids_of({p.content for p in photos if p.content})
    vectors = {}
    for photo in photos:
        if photo.state == "indexed":
            stored = snapshot.vectors(np.array([ids[photo.content or ""]]))
            vectors[photo.relative] = stored.vectors.tobytes() + stored.counts.tobytes()
    return {
        "photos": {p.relative: (p.content, p.state, p.error, p.size, p.facts) for p in photos},
        "tags": {(tag.path, tag.label, tag.score, tag.source) for tag in library.tags()},
        "words": words(library),
        "hits": [
            {(hit.path, hit.score, hit.boxes) for hit in library.search(query, k=1_000)}
            for query in QUERIES
        ],
        "vectors": vectors,
    }


def open_library(folder: Path, job: Job) -> Library:
    return Library.open(folder, model=job.model)


def check(folder: Path, job: Job, said: Sequence[set[tuple[str, str, str]]]) -> None:
    """Check a library after a kill: it is sound, and has the words, with new ones or without."""
    try:
        library = open_library(folder, job)
    except SchemaOutdated:
        assert job.arguments == ("migrate",)
        return
    with library:
        assert words(library) in said
        problems = [] if job.arguments == ("repair",) else library.verify()
        assert problems == []
        assert library.search(QUERIES[0], k=5) or problems


@pytest.mark.parametrize(
    "wanted", [FEW_KILLS, pytest.param(MANY_KILLS, marks=pytest.mark.soak)], ids=["few", "many"]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_command_loses_no_word_and_ends_as_if_undisturbed(
    jobs: dict[str, Job], commands: Commands, tmp_path: Path, name: str, wanted: int
) -> None:
    job, log = jobs[name], tmp_path / "log"

    def whole_command(folder: Path) -> list[str]:
        return [*job.arguments, "--library", str(folder)]

    undisturbed = job.copy(tmp_path / "undisturbed")
    started = time.monotonic()
    assert commands.run(whole_command(undisturbed), log) == 0, log.read_text()
    whole = time.monotonic() - started
    with open_library(undisturbed, job) as library:
        expected = contents(library)
        assert library.verify() == []
    assert expected["words"] and expected["tags"]
    said = [expected["words"]]
    if name == "feedback":
        with open_library(job.copy(tmp_path / "before"), job) as library:
            said.append(words(library))

    chance = random.Random(name)
    kills = 0
    while kills < wanted:
        folder = job.copy(tmp_path / "killed")
        while True:
            delay = chance.uniform(0, 1.1) * whole
            code = commands.kill_after(delay, whole_command(folder), log)
            check(folder, job, said)
            if code != -signal.SIGKILL:
                break
            kills += 1
        assert code == 0 or log.read_text() == DONE, log.read_text()
        with open_library(folder, job) as library:
            assert contents(library) == expected
            assert library.verify() == []
    print(f"{name}: {kills} kills")
