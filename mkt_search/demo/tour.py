"""The demo: a library of scenes, made, indexed, searched, tagged and evaluated by `mkt` itself."""

import json
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

Shown = Mapping[str, Sequence[str]]

SIDE = 320  # pixels of a photo
HITS = 8  # photos shown of each search
UNSEEN_SEARCHES, SEEN_SEARCHES = 4, 2
TAGS = 6  # labels a photo gets at most: a place and five things
THRESHOLD = 0.35  # lowest score that becomes a tag: right far more often than wrong
TAGGED = 12  # photos whose tags are shown
BETWEEN_LINES = 250  # scenes rendered
REPORT = "report.html"
PICTURE = "hits.png"
PICTURE_SEARCHES, PICTURE_HITS = 3, 4
MARK = "demo.txt"
ABOUT = """Made by `mkt demo`, which may be run again: it goes on with what is here.

photos/           scenes made by rules; labels.json tells what each of them shows
labels.txt        every label there is; unseen.txt those here that no student was trained on
report.html       what the tour found, to open in a browser
hits.png          the best photos of three searches, with boxes
evaluation.json   the numbers of `mkt evaluate`
.mkt, mkt.toml    a library like any other
"""


@dataclass
class Tour:
    """Everything `mkt` does, in one folder.

    Args:
        folder: where photos, library and report go: a new one, or that of an earlier tour, whose
            photos are kept.
        photos: how many scenes, at least.
        mkt: runs one command of the program, given as its words.
        say: tells the user what happens.
    """

    folder: Path
    photos: int
    mkt: Callable[[list[str]], None]
    say: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)

    def go(self) -> Path:
        """Take the whole tour and return the report's path.

        Raises:
            StoreError: the folder has other things in it than a tour left there.
            MktError: a command of the program refused.
        """
        folder, at = self.folder, ("--library", str(self.folder))
        photos, found = str(folder / "photos"), folder / "evaluation.json"
        self._prepare()
        shown = self._render()
        self._run("init", str(folder))
        self._run("index", photos, "--model", DEMO, *at)
        with Library.open(folder) as library:
            searches = self._search(library, shown)
        self._draw(searches)
        self._run(
            *("tag", "--vocabulary", str(folder / "labels.txt"), *at),
            *("--top", str(TAGS), "--threshold", str(THRESHOLD)),
        )
        self._run(
            *("evaluate", "--photos", photos, "--labels", str(folder / "labels.json")),
            *("--unseen", str(folder / "unseen.txt"), "--only", "all", *at),
            *("--model", DEMO_TEACHER, "--model", DEMO, "--json", str(found)),
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
        """Refuse what cannot go well before there is any work in it, and mark the folder."""
        if not is_ours(self.folder, MARK):
            raise StoreError(
                f"{printable(self.folder)} has other things in it; name a new folder: `mkt demo "
                "DIR`."
            )
        open_model(DEMO)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / MARK, ABOUT)

    def _render(self) -> Shown:
        """Paint the photos, write beside them what they show, and return that."""
        folder, there = self.folder / "photos", seeds_in(self.folder / "photos")
        seeds = sorted({*range(LIBRARY_SEED, LIBRARY_SEED + self.photos), *there})
        missing = len(seeds) - len(there)
        if there:
            self.say(f"{len(there):,} scenes are there already, and all of them take part")
        with self._timed(f"render {missing:,} scenes of {SIDE} x {SIDE} pixels"):
            shown = write_photos(folder, seeds, side=SIDE, progress=self._say_rendered)
        files = {
            "labels.json": json.dumps(shown, indent=0),
            "labels.txt": "\n".join(LABELS),
            "unseen.txt": "\n".join(unseen_shown(shown.values())),
        }
        for name, text in files.items():
            write_atomically(self.folder / name, text)
        return shown

    def _say_rendered(self, done: int, total: int) -> None:
        if done % BETWEEN_LINES == 0 or done == total:
            self.say(f"rendered {done:,} of {total:,} scenes")

    def _draw(self, searches: Sequence[Search]) -> None:
        """Write a picture of the first searches, with the boxes of their hits."""
        rows = [Row(one.query, one.hits[:PICTURE_HITS]) for one in searches[:PICTURE_SEARCHES]]
        write_atomically(self.folder / PICTURE, hits_as_png(rows))

    def _search(self, library: Library, shown: Shown) -> list[Search]:
        """Ask for labels that some photos show: unseen ones, seen ones, and a thing in a place."""
        hidden = set(unseen_things())
        common = sorted(THINGS, key=lambda label: -sum(label in s for s in shown.values()))
        unseen = [label for label in common if label in hidden][:UNSEEN_SEARCHES]
        seen = [label for label in common if label not in hidden][:SEEN_SEARCHES]
        asked = [(label, "unseen") for label in unseen] + [(label, "seen") for label in seen]
        pair = most_common_pair(shown)
        searches = [(query, kind, {query}) for query, kind in asked]
        searches.append((" + ".join(pair), "mixed", set(pair)))
        made = []
        for query, kind, wanted in searches:
            with self._shown("search", query, "-k", str(HITS), "--library", str(self.folder)):
                hits = library.search(query, k=HITS)
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
        """Show a command before it runs, and keep how long it took."""
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
    """Return the thing and the place that stand together on most photos."""
    count: dict[tuple[str, str], int] = defaultdict(int)
    for labels in shown.values():
        places = [label for label in labels if label in PLACES]
        for thing in set(labels).difference(PLACES):
            for place in places:
                count[thing, place] += 1
    return max(sorted(count), key=lambda pair: count[pair])


def tags_of(library: Library, shown: Shown) -> Tagging:
    """Compare the tags that a run gave with what the photos show."""
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
        for name in sorted(given)[:TAGGED]
    ]
    return Tagging(
        tags=count,
        precision=right / max(count, 1),
        recall=right / sum(len(labels) for labels in shown.values()),
        photos=photos,
    )
