"""Time `--path`: how long a library needs to name the photos that a path pattern leaves.

    python benchmarks/path_filter.py                      100,000 photos
    python benchmarks/path_filter.py --photos 20000       a quick look

Names are ASCII, as cameras write them, or have letters beyond it (accents, composed or not, as
macOS and Windows write them). The floor is the same query with a filter by width. One thread,
SQLite; the fastest of some rounds in turns counts.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from results import Results, add_json_option

from mkt_search.store.records import Batch, NewPhoto
from mkt_search.store.store import Store
from mkt_search.types import Encoding, Filters, PhotoFacts, PhotoFile, PhotoVectors

PART = 10_000  # photos of one commit
DIM, PATCHES = 8, 4  # as small as can be: only the catalog is measured
FILTERS = {
    "--min-width 9999": Filters(min_width=9999),
    "--path berlin": Filters(path="berlin"),
    "--path '*/2021/*.jpg'": Filters(path="*/2021/*.jpg"),
    "--path 'cafe\u0301'": Filters(path="cafe\u0301"),
}
NAMES = {
    "ASCII": "{year}/Berlin trip/IMG_{number:06}.jpg",
    "composed accents": "{year}/Caf\u00e9 am Meer/IMG_{number:06}.jpg",
    "separate accents": "{year}/Cafe\u0301 am Meer/IMG_{number:06}.jpg",
}


def fill(store: Store, form: str, count: int) -> None:
    """Store photos whose paths have a form."""
    encoding = Encoding("benchmark", DIM, (2, 2), "cover", 1, 1, "int8")
    facts = PhotoFacts(640, 480, "JPEG")
    root = store.directory / "photos"
    root.mkdir()
    with store.writing("benchmark"):
        stored = store.begin_encoding(encoding, model="benchmark")
        location = store.catalog.record_scan(store.catalog.locate(root), [], [])
        for start in range(0, count, PART):
            numbers = range(start, min(start + PART, count))
            vectors = PhotoVectors(
                np.full((len(numbers), DIM), 0.1, np.float32),
                np.full((len(numbers), 1, DIM), 0.1, np.float32),
                np.ones((len(numbers), 1, PATCHES), np.bool_),
            )
            photos = [
                NewPhoto(
                    PhotoFile(root, form.format(year=2000 + n % 25, number=n), root, 1, 1),
                    f"{n:064x}",
                    facts,
                    n - start,
                )
                for n in numbers
            ]
            store.add(location, stored, Batch(photos, (), vectors))


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    columns = {"filter": "", **{f"{name}, ms": ".0f" for name in NAMES}}
    times: dict[str, list[float]] = {shown: [] for shown in FILTERS}
    for form in NAMES.values():
        with tempfile.TemporaryDirectory() as folder:
            store = Store.create(Path(folder) / ".mkt")
            fill(store, form, arguments.photos)
            rounds: dict[str, list[float]] = {shown: [] for shown in FILTERS}
            for _ in range(arguments.rounds):
                for shown, filters in FILTERS.items():
                    started = time.process_time()
                    store.catalog.matching_content_ids(filters)
                    rounds[shown].append(1000 * (time.process_time() - started))
            store.close()
        for shown, taken in rounds.items():
            times[shown].append(min(taken))
    table = results.table("times", columns)
    for shown, taken in times.items():
        table.row(shown, *taken)
    results.fact("photos", arguments.photos, ",")
    results.save()


if __name__ == "__main__":
    main()
