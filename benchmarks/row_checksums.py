"""Time the checksums of rows: how long a catalog takes to write photos and tags, with and without.

    python benchmarks/row_checksums.py                    20,000 photos, 200,000 tags
    python benchmarks/row_checksums.py --photos 2000      a quick look

Without means without the triggers that compute a row's checksum. Both write by turns in new
libraries; the fastest of some rounds counts. One thread, SQLite, processor time.
"""

import argparse
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from path_filter import NAMES, fill
from results import Results, add_json_option

from mkt_search.progress import no_progress
from mkt_search.store.spill import SpillFile
from mkt_search.store.sql import checksums
from mkt_search.store.store import Store

TAGS, LABELS = 10, 100  # of a photo, in all
MICROSECONDS = 1e6


def write(count: int) -> tuple[float, float]:
    """Write photos, then a run that tags them; return the seconds of each."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / ".mkt")
        started = time.process_time()
        fill(store, NAMES["ASCII"], count)
        written = time.process_time()
        with store.writing("benchmark"):
            tag(store, count)
        store.close()
        return written - started, time.process_time() - written


def tag(store: Store, count: int) -> None:
    """Give the contents 1 to `count` their tags, in one run."""
    labels = [f"label {number}" for number in range(LABELS)]
    contents = np.repeat(np.arange(1, count + 1), TAGS)
    numbers = (7 * np.tile(np.arange(TAGS), count) + contents) % LABELS
    run = store.catalog.start_run("tag", {}, "benchmark")
    with SpillFile(store.directory) as spill:
        spill.add(contents, numbers, np.full(len(contents), 0.5))
        store.catalog.apply_tag_run(run, labels, spill, step="tagging", progress=no_progress)


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    add_json_option(parser)
    arguments = parser.parse_args()
    results = Results(arguments.json)
    count = arguments.photos
    rounds = []
    for _ in range(arguments.rounds):
        checked = write(count)
        with patch.object(checksums, "keep_checksums", lambda connection: None):
            rounds.append((checked, write(count)))
    best = np.min(rounds, axis=0)  # (with and without, photos and tags)
    columns = {"rows": "", "number": ",", "with, s": ".2f", "without, s": ".2f"}
    table = results.table("times", {**columns, "ratio": ".2f", "\u00b5s a row": ".0f"})
    rows_of_photo = 3  # photo, content and vector
    for name, number, (with_, without) in zip(
        ("photos, contents and vectors", "tags"),
        (rows_of_photo * count, TAGS * count),
        best.T,
        strict=True,
    ):
        each = MICROSECONDS * (with_ - without) / number
        table.row(name, number, with_, without, with_ / without, each)
    results.fact("photos", count, ",")
    results.save()


if __name__ == "__main__":
    main()
