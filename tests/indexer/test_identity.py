"""A person's tags follow the picture, whatever happens to files between two runs.

A model of a file system with pictures and their edits is changed at random, and any of its folders
is indexed at any time. At the end everything is indexed, and every tag must be on the picture that
it was put on, and nowhere else.
"""

import io
import itertools
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from numpy.typing import NDArray
from PIL import Image

from indexer.index import index
from indexer.pipeline import IndexPolicy
from mkt_search.errors import QueryError
from mkt_search.library import Library
from mkt_search.photos.miniature import is_same_picture, miniature
from mkt_search.store.prune import prune
from mkt_search.store.store import Store
from mkt_search.types import Encoded, Filters, ImageSpec
from tests.indexer.indexed import SPEC, plan

FOLDERS = ("one", "two", "two/below")
NAMES = ("a.png", "b.png", "A.png")
PATHS = [f"{folder}/{name}" for folder in FOLDERS for name in NAMES]
PICTURES = range(5)
LABELS = ("dog", "sea", "mine")
DAMAGED = b"no picture at all"


class Content(NamedTuple):
    """The bytes of a picture, or of an edit of it."""

    picture: int
    version: int


class Encoder:
    """A student that sees nothing; vectors play no part here."""

    spec: ImageSpec = SPEC

    def encode(self, pixels: NDArray[np.uint8]) -> Encoded:
        """Return the same vectors for every photo."""
        n = len(pixels)
        return Encoded(np.ones((n, 16), np.float32), np.ones((n, 16, 16), np.float32))


@cache
def data_of(content: Content) -> bytes:
    """Return the file of a picture: its version 0, or that toned and cropped."""
    grid = np.random.default_rng(content.picture).integers(0, 255, (16, 16), np.uint8)
    image = Image.fromarray(grid).resize((64, 64), Image.Resampling.BICUBIC)
    if content.version % 3 == 2:
        image = image.crop((3, 4, 60, 61))
    image = image.point(lambda value: value * (100 - content.version) // 100)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_edits_of_these_pictures_are_told_from_other_pictures() -> None:
    contents = [Content(picture, version) for picture in PICTURES for version in range(6)]
    miniatures = {c: miniature(Image.open(io.BytesIO(data_of(c)))) for c in contents}
    for one, other in itertools.combinations(contents, 2):
        is_same = is_same_picture(miniatures[one], miniatures[other])
        assert is_same == (one.picture == other.picture), (one, other)


class Pictures(RuleBasedStateMachine):
    """Files on disk, what the library last saw of them, and which tags pictures must have."""

    empty_library: Path

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.files: dict[str, Content] = {}
        self.damaged: set[str] = set()
        self.seen: dict[str, Content] = {}  # by path, what the library takes to be there
        self.ever: dict[Content, set[str]] = defaultdict(set)  # paths where it was ever indexed
        self.bin: list[Content] = []
        self.versions: dict[int, int] = defaultdict(int)
        self.excluded: set[str] = set()
        self.ever_excluded: set[str] = set()
        self.must: dict[Content, set[str]] = defaultdict(set)  # tags
        self.may: dict[int, set[str]] = defaultdict(set)
        self.must_not: dict[Content, set[str]] = defaultdict(set)  # removed labels
        self.may_not: dict[int, set[str]] = defaultdict(set)
        self.clock = itertools.count(10**18, 10**9)

    @initialize()
    def begin(self) -> None:
        shutil.copytree(self.empty_library, self.home / "library" / ".mkt")
        for folder in FOLDERS:
            (self.home / "photos" / folder).mkdir(parents=True)
        self.store = Store.open(self.home / "library" / ".mkt")

    def teardown(self) -> None:
        try:
            if hasattr(self, "store"):
                self.check_everything()
                self.store.close()
        finally:
            shutil.rmtree(self.home)

    # The file system

    def path(self, name: str) -> Path:
        return self.home / "photos" / name

    def write(self, name: str, data: bytes) -> None:
        self.path(name).write_bytes(data)
        time = next(self.clock)
        os.utime(self.path(name), ns=(time, time))

    def put(self, name: str, content: Content) -> None:
        if name in self.files:
            self.bin.append(self.files[name])
        self.write(name, data_of(content))
        self.files[name] = content
        self.damaged.discard(name)

    def move(self, source: str, target: str) -> None:
        if target in self.files:
            self.bin.append(self.files[target])
        self.path(source).replace(self.path(target))
        self.files[target] = self.files.pop(source)
        self.damaged.discard(target)
        if source in self.damaged:
            self.damaged.remove(source)
            self.damaged.add(target)

    def take(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.files)), "file")

    @rule(name=st.sampled_from(PATHS), picture=st.sampled_from(PICTURES))
    def take_a_photo_or_replace_one(self, name: str, picture: int) -> None:
        self.put(name, Content(picture, 0))

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        name = self.take(data)
        picture = self.files[name].picture
        self.versions[picture] += 1
        self.put(name, Content(picture, self.versions[picture]))

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        name = self.take(data)
        picture, version = self.files[name]
        if version:
            self.put(name, Content(picture, version - 1))

    @precondition(lambda self: self.files)
    @rule(data=st.data(), to=st.sampled_from(PATHS))
    def rename_or_move(self, data: st.DataObject, to: str) -> None:
        source = self.take(data)
        if source != to:
            self.move(source, to)

    @precondition(lambda self: len(self.files) > 1)
    @rule(data=st.data())
    def exchange(self, data: st.DataObject) -> None:
        one, other = self.take(data), self.take(data)
        if one != other:
            spare = self.path("spare")
            self.path(one).replace(spare)
            self.path(other).replace(self.path(one))
            spare.replace(self.path(other))
            self.files[one], self.files[other] = self.files[other], self.files[one]
            turned = {one: other, other: one}
            self.damaged = {turned.get(name, name) for name in self.damaged}

    @precondition(lambda self: self.files)
    @rule(data=st.data(), to=st.sampled_from(PATHS), with_time=st.booleans())
    def copy(self, data: st.DataObject, to: str, with_time: bool) -> None:
        source = self.take(data)
        if source != to and source not in self.damaged:
            about = self.path(source).stat()
            self.put(to, self.files[source])
            if with_time:
                os.utime(self.path(to), ns=(about.st_mtime_ns, about.st_mtime_ns))

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self.take(data)
        self.path(name).unlink()
        self.damaged.discard(name)
        self.bin.append(self.files.pop(name))

    @precondition(lambda self: self.bin)
    @rule(data=st.data(), to=st.sampled_from(PATHS))
    def bring_back(self, data: st.DataObject, to: str) -> None:
        content = data.draw(st.sampled_from(sorted(set(self.bin))), "content")
        self.put(to, content)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def damage_or_mend(self, data: st.DataObject) -> None:
        name = self.take(data)
        if name in self.damaged:
            self.put(name, self.files[name])
        else:
            self.write(name, DAMAGED)
            self.damaged.add(name)

    @rule(name=st.sampled_from(PATHS))
    def exclude_or_take_in(self, name: str) -> None:
        self.set_excluded(self.excluded ^ {name})

    def set_excluded(self, names: set[str]) -> None:
        self.excluded = names
        self.ever_excluded |= names
        for folder in FOLDERS:
            inside = sorted(name for name in names if name.rpartition("/")[0] == folder)
            lines = "".join(f"/{name.rpartition('/')[2]}\n" for name in inside)
            self.path(f"{folder}/.mktignore").write_text(lines)

    # The library

    @rule(folders=st.sets(st.sampled_from(FOLDERS), min_size=1))
    def index(self, folders: set[str]) -> None:
        tops = {name: self.path(name) for name in sorted(folders) if self.is_indexable(name)}
        if not tops:
            return
        policy = IndexPolicy(batch_size=2, workers=1)
        index(self.store, Encoder(), list(tops.values()), plan(), policy=policy)
        inside = [name for name in PATHS if any(name.startswith(f"{top}/") for top in tops)]
        for name in inside:
            before = self.seen.get(name)
            now = self.files.get(name) if name not in self.excluded else None
            if now is None:
                self.seen.pop(name, None)
            elif name not in self.damaged:
                if before is not None and before != now and before.picture == now.picture:
                    if not self.ever[now] - {name}:  # else it may have been moved here
                        self.must[now] |= self.must[before]
                        self.must_not[now] |= self.must_not[before]
                self.seen[name] = now
        for name in inside:
            if name in self.seen:
                self.ever[self.seen[name]].add(name)

    def is_indexable(self, folder: str) -> bool:
        """A folder without photos is refused: its disk may be away."""
        return any(name.startswith(f"{folder}/") for name in self.files.keys() - self.excluded)

    def take_known(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.known())), "file")

    def known(self) -> set[str]:
        """Return the paths of photos that are as the library last saw them."""
        paths = self.seen.keys() & self.files.keys() - self.damaged
        return {path for path in paths if self.seen[path] == self.files[path]}

    @precondition(lambda self: self.known())
    @rule(data=st.data(), label=st.sampled_from(LABELS))
    def tag(self, data: st.DataObject, label: str) -> None:
        name = self.take_known(data)
        content = self.files[name]
        if self.person(name, label, add=True):
            self.must[content].add(label)
            self.may[content.picture].add(label)
            self.of_picture(self.must_not, content.picture, without=label)
            assert label in self.shown(name)
            assert label not in self.refused(name)

    @precondition(lambda self: self.files.keys() - self.known())
    @rule(data=st.data(), label=st.sampled_from(LABELS))
    def tag_what_the_library_has_not_seen(self, data: st.DataObject, label: str) -> None:
        """A tag that went to what was there before would be of another picture."""
        names = sorted(self.files.keys() - self.known() - self.damaged - self.ever_excluded)
        if names:
            assert not self.person(data.draw(st.sampled_from(names)), label, add=True)

    @precondition(lambda self: self.known())
    @rule(data=st.data(), label=st.sampled_from(LABELS))
    def untag(self, data: st.DataObject, label: str) -> None:
        name = self.take_known(data)
        content = self.files[name]
        if self.person(name, label, add=False):
            self.of_picture(self.must, content.picture, without=label)
            self.must_not[content].add(label)
            self.may_not[content.picture].add(label)
            assert label not in self.shown(name)
            assert label in self.refused(name)

    def of_picture(self, words: dict[Content, set[str]], picture: int, *, without: str) -> None:
        """Take a label from every version of a picture: which of them lose it, is not checked."""
        for content, labels in words.items():
            if content.picture == picture:
                labels.discard(without)

    @rule()
    def prune(self) -> None:
        with self.store.writing("test"):
            prune(self.store)

    def person(self, name: str, label: str, *, add: bool) -> bool:
        """Add or remove a tag; return False if the library does not know this file as it is."""
        with Library.open(self.home / "library") as library:
            work = library.add_tag if add else library.remove_tag
            try:
                work(self.path(name), label)
            except QueryError:
                return False
        return True

    def shown(self, name: str) -> set[str]:
        """Return the labels that a photo at a path has."""
        found = self.store.catalog.tags(source="human")
        return {t.label for t in found if t.path == self.path(name) and not t.is_missing}

    def refused(self, name: str) -> set[str]:
        """Return the labels that a person removed from a photo at a path."""
        found = self.store.catalog.refusals(filters=Filters())
        return {r.label for r in found if r.path == self.path(name) and not r.is_missing}

    def check_everything(self) -> None:
        self.set_excluded(set())
        self.index(set(FOLDERS))
        everywhere = [f for f in ("one", "two", "two/below") if self.is_indexable(f)]
        for name, content in self.files.items():
            if name in self.damaged or not everywhere:
                continue
            labels = self.shown(name)
            assert labels >= self.must[content], (name, content, labels, self.must[content])
            assert labels <= self.may[content.picture], (name, content, labels)
            refused = self.refused(name)
            assert self.must_not[content] <= refused <= self.may_not[content.picture]
            assert not labels & refused


@pytest.fixture
def machine(empty_library: Path) -> Iterator[type[Pictures]]:
    Pictures.empty_library = empty_library
    yield Pictures


def run(machine: type[Pictures], examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_tags_stay_with_their_pictures(machine: type[Pictures]) -> None:
    run(machine, 15, 25)


@pytest.mark.soak
def test_tags_stay_with_their_pictures_in_thousands_of_lives(machine: type[Pictures]) -> None:
    run(machine, 2_000, 40)
