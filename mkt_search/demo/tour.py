"""The demo: render scenes, then index, search, tag and evaluate them with the commands of `mkt`."""

import json
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mkt_search.demo.folder import is_ours
from mkt_search.demo.report import Findings, Search, Step, TaggedPhoto, Tagging, render
from mkt_search.demo.scenes.photos import LIBRARY_SEED, seeds_in, write_photos
from mkt_search.demo.scenes.world import LABELS, PLACES, THINGS, unseen_shown, unseen_things
from mkt_search.display import printable
from mkt_search.errors import StoreError
from mkt_search.files import write_atomically
from mkt_search.library import Library
from mkt_search.models.build import DEMO, DEMO_TEACHER, open_model
from mkt_search.pages.picture import Row, hits_as_png
from mkt_search.progress import ProgressCallback

Shown = Mapping[str, Sequence[str]]

PHOTO_SIDE = 320  # pixels
HITS_PER_SEARCH = 8
UNSEEN_SEARCHES, SEEN_SEARCHES = 4, 2
MAX_TAGS = 6  # per photo: a place and five things
TAG_THRESHOLD = 0.35  # lowest score that becomes a tag; most such tags are right
TAGGED_PHOTOS = 12  # in the report
REPORT = "report.html"
PICTURE = "hits.png"
PICTURE_SEARCHES, PICTURE_HITS = 3, 4
MARK = "demo.txt"
ABOUT = """Made by `mkt demo`; run it again to continue.

photos/           scenes drawn by rules; labels.json has the labels of each
labels.txt        every label; unseen.txt has those that the student was never trained on
report.html       the results, to open in a browser
hits.png          the best photos of three searches, with boxes
evaluation.json   the numbers of `mkt evaluate`
.mkt, mkt.toml    a library like any other
"""


@dataclass
class Tour:
    """A tour of the commands of `mkt`, in one folder.

    Args:
        folder: holds photos, library and report: a new folder, or that of an earlier tour, whose
            photos are kept.
        photos: the least number of scenes.
        mkt: runs a command of the program, given as its words.
        say: prints a sentence for the user.
        show_progress: gives the callback that shows the progress of rendering.
        student: the model of the library.
        teacher: the model to evaluate beside it.
        side: width and height of a photo in pixels.
        threshold: lowest score that becomes a tag.
    """

    folder: Path
    photos: int
    mkt: Callable[[list[str]], None]
    say: Callable[[str], None]
    show_progress: Callable[[], AbstractContextManager[ProgressCallback]]
    student: str = DEMO
    teacher: str = DEMO_TEACHER
    side: int = PHOTO_SIDE
    threshold: float = TAG_THRESHOLD
    steps: list[Step] = field(default_factory=list)

    def go(self) -> Path:
        """Take the whole tour and return the path of the report.

        Raises:
            StoreError: the folder contains other files.
            MktError: a command of the program failed.
        """
        folder, at = self.folder, ("--library", str(self.folder))
        photos, found = str(folder / "photos"), folder / "evaluation.json"
        self._prepare()
        shown = self._render()
        self._run("init", str(folder))
        self._run("index", photos, "--model", self.student, *at)
        with Library.open(folder) as library:
            searches = self._search(library, shown)
        self._draw(searches)
        self._run(
            *("tag", "--vocabulary", str(folder / "labels.txt"), *at),
            *("--top", str(MAX_TAGS), "--threshold", str(self.threshold)),
        )
        self._run(
            *("evaluate", "--photos", photos, "--labels", str(folder / "labels.json")),
            *("--unseen", str(folder / "unseen.txt"), "--only", "all", *at),
            *("--model", self.teacher, "--model", self.student, "--json", str(found)),
        )
        with Library.open(folder) as library:
            tagging = tags_of(library, shown)
        findings = Findings(
            photos=len(shown),
            searches=searches,
            tagging=tagging,
            evaluation=json.loads(found.read_text(encoding="utf-8")),
            steps=self.steps,
            made_at=datetime.now(),
        )
        write_atomically(folder / REPORT, render(findings))
        return (folder / REPORT).resolve()

    def _prepare(self) -> None:
        """Check the folder and the model, and mark the folder as the demo's."""
        if not is_ours(self.folder, MARK):
            raise StoreError(
                f"{printable(self.folder)} contains other files; name a new folder: `mkt demo DIR`."
            )
        open_model(self.student)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / MARK, ABOUT)

    def _render(self) -> Shown:
        """Render the photos, write their labels beside them, and return the labels."""
        folder, there = self.folder / "photos", seeds_in(self.folder / "photos")
        seeds = sorted({*range(LIBRARY_SEED, LIBRARY_SEED + self.photos), *there})
        missing = len(seeds) - len(there)
        if there:
            self.say(f"{len(there):,} scenes of an earlier run are kept")
        what = f"render {missing:,} scenes of {self.side} x {self.side} pixels"
        self.say(what)
        with self._timed(what), self.show_progress() as progress:
            shown = write_photos(folder, seeds, side=self.side, progress=progress)
        files = {
            "labels.json": json.dumps(shown, indent=0),
            "labels.txt": "\n".join(LABELS),
            "unseen.txt": "\n".join(unseen_shown(shown.values())),
        }
        for name, text in files.items():
            write_atomically(self.folder / name, text)
        return shown

    def _draw(self, searches: Sequence[Search]) -> None:
        """Write a picture of the first searches, with the boxes of their hits."""
        rows = [Row(one.query, one.hits[:PICTURE_HITS]) for one in searches[:PICTURE_SEARCHES]]
        write_atomically(self.folder / PICTURE, hits_as_png(rows))

    def _search(self, library: Library, shown: Shown) -> list[Search]:
        """Search for the most common labels: unseen ones, seen ones, and a thing in a place."""
        hidden = set(unseen_things())
        common = sorted(THINGS, key=lambda label: -sum(label in s for s in shown.values()))
        unseen = [label for label in common if label in hidden][:UNSEEN_SEARCHES]
        seen = [label for label in common if label not in hidden][:SEEN_SEARCHES]
        labels = [(label, "unseen") for label in unseen] + [(label, "seen") for label in seen]
        pair = most_common_pair(shown)
        searches = [(label, kind, {label}) for label, kind in labels]
        searches.append((" + ".join(pair), "mixed", set(pair)))
        made = []
        for query, kind, wanted in searches:
            with self._shown(
                "search", query, "-k", str(HITS_PER_SEARCH), "--library", str(self.folder)
            ):
                hits = library.search(query, k=HITS_PER_SEARCH)
            right = [wanted <= set(shown.get(hit.path.name, ())) for hit in hits]
            self.say(f"{sum(right)} of {len(right)} photos show it")
            made.append(Search(query, kind, hits, right))
        return made

    def _run(self, *words: str) -> None:
        """Run a command of the program."""
        with self._shown(*words):
            self.mkt(list(words))

    @contextmanager
    def _shown(self, *words: str) -> Iterator[None]:
        """Print a command before it runs, and record its time."""
        line = shlex.join(("mkt", *words))
        self.say(f"$ {printable(line)}")
        with self._timed(line):
            yield

    @contextmanager
    def _timed(self, command: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.steps.append(Step(command, time.monotonic() - began))


def most_common_pair(shown: Shown) -> tuple[str, str]:
    """Return the thing and the place that most photos show together."""
    count: dict[tuple[str, str], int] = defaultdict(int)
    for labels in shown.values():
        places = [label for label in labels if label in PLACES]
        for thing in set(labels).difference(PLACES):
            for place in places:
                count[thing, place] += 1
    return max(sorted(count), key=lambda pair: count[pair])


def tags_of(library: Library, shown: Shown) -> Tagging:
    """Compare the automatic tags with the labels of the photos."""
    given: dict[str, list[tuple[str, float]]] = defaultdict(list)
    paths: dict[str, Path] = {}
    for tag in library.tags():
        if tag.source == "auto" and tag.path.name in shown:
            given[tag.path.name].append((tag.label, tag.score or 0.0))
            paths[tag.path.name] = tag.path
    right = sum(label in shown[name] for name, tags in given.items() for label, _ in tags)
    count = sum(len(tags) for tags in given.values())
    photos = [
        TaggedPhoto(
            paths[name], sorted(given[name], key=lambda tag: -tag[1]), frozenset(shown[name])
        )
        for name in sorted(given)[:TAGGED_PHOTOS]
    ]
    return Tagging(
        tags=count,
        precision=right / max(count, 1),
        recall=right / sum(len(labels) for labels in shown.values()),
        photos=photos,
    )
