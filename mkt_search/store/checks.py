"""Verify a library: the database, the files, and whether they agree."""

from collections.abc import Iterator
from dataclasses import dataclass

from mkt_search.errors import LibraryDamaged
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.store.ann.index_files import load_pq_index, load_row_map
from mkt_search.store.manifest import CandidateIndex, SegmentRecord, StoredEncoding
from mkt_search.store.segments.files import digest
from mkt_search.store.segments.segment import open_segment
from mkt_search.store.snapshot import row_map_is_right
from mkt_search.store.sql.damage import REPAIRABLE
from mkt_search.store.store import DATABASE, Store

STEP = "checking segments"


RESTORE = "restore mkt.db from a backup, or index into a new library"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a library: what, where, and how to fix it.

    What `mkt repair` does about it: encode the photos of `segment` again, build the candidate index
    again, delete damaged rows of the database, or encode photos without vectors; if none of these
    is set, it cannot help.
    """

    what: str
    where: str
    fix: str
    segment: int | None = None
    candidate_index: bool = False
    rows: bool = False
    photos: bool = False

    @property
    def is_repairable(self) -> bool:
        """Whether `mkt repair` solves it."""
        return self.segment is not None or self.candidate_index or self.rows or self.photos


def verify(store: Store, progress: ProgressCallback = no_progress) -> list[Problem]:
    """Return every problem of a library; an empty list is a sound library.

    Reads every row of the database and every byte of every segment and candidate index, and
    compares them. A file that nothing names is no problem: an interrupted run left it, and the next
    writer deletes it.
    """
    problems: list[Problem] = []
    for part in (
        _database_problems(store),
        _segment_problems(store, progress),
        _candidate_index_problems(store),
        _photo_problems(store),
    ):
        try:
            problems += part
        except LibraryDamaged as error:  # what is left of this part cannot be read
            what, _, way_out = str(error).partition(". ")
            problems.append(Problem(what, DATABASE, way_out or RESTORE))
    return list(dict.fromkeys(problems))


def _database_problems(store: Store) -> Iterator[Problem]:
    for table, what in store.vectors.integrity_problems():
        if table in REPAIRABLE:
            yield Problem(what, DATABASE, "`mkt repair` makes them again", rows=True)
        else:
            yield Problem(what, DATABASE, RESTORE)


def _segment_problems(store: Store, progress: ProgressCallback) -> Iterator[Problem]:
    segments = [
        (stored, record)
        for stored in store.encodings()
        for record in store.vectors.segments(stored.id)
    ]
    for done, (stored, record) in enumerate(segments):
        found = _segment_problem(store, stored, record)
        if found is not None and _is_still_named(store, record):
            yield found
        progress(Progress(STEP, done + 1, len(segments)))


def _segment_problem(store: Store, stored: StoredEncoding, record: SegmentRecord) -> Problem | None:
    name, path = record.file.name, store.folder / record.file.name
    if path.is_dir():
        fix = "move the folder away, then `mkt repair` encodes the photos again"
        return Problem("a folder is in the place of a segment", name, fix)
    try:
        what = _what_is_wrong(store, stored, record)
    except OSError as error:
        fix = "allow reading it, or put it back from a backup"
        return Problem(f"a segment cannot be read: {error.strerror}", name, fix)
    if not what:
        return None
    return Problem(what, name, "`mkt repair` encodes its photos again", record.id)


def _what_is_wrong(store: Store, stored: StoredEncoding, record: SegmentRecord) -> str:
    """Return what is wrong with a segment, "" for nothing. Raises OSError."""
    path = store.folder / record.file.name
    if path.is_symlink() or not path.is_file():
        return "a segment is missing"
    if path.stat().st_size != record.file.size or digest(path) != record.file.sha256:
        return "a segment's bytes have changed"
    if stored.retired:
        return ""  # no command reads its vectors
    try:
        segment = open_segment(path, stored.encoding)
    except LibraryDamaged as error:
        return str(error)
    if len(segment) != record.photos:
        return f"a segment has {len(segment)} photos, the database says {record.photos}"
    wrong = sum(
        not 0 <= row < len(segment) or segment.content[row].tobytes() != sha
        for row, sha in store.vectors.contents_of_rows(record.id)
    )
    return f"{wrong} rows name vectors that were made of other bytes" if wrong else ""


def _is_still_named(store: Store, record: SegmentRecord) -> bool:
    """Ask again: a writer may have merged the segment since the records were read."""
    return record.file.name in store.vectors.named_files().segments


def _candidate_index_problems(store: Store) -> Iterator[Problem]:
    for stored in store.encodings():
        index = store.candidate_index(stored)
        if index is None or stored.retired:
            continue
        try:
            file = _bad_index_file(store, stored, index)
        except LibraryDamaged:
            if store.candidate_index(stored) == index:
                raise
            continue  # a rebuild has replaced the vectors since
        # a writer may have replaced the index since
        if file and store.candidate_index(stored) == index:
            what = "a file of the candidate index is missing or its bytes have changed"
            fix = "`mkt repair` builds it again; searches do without it until then"
            yield Problem(what, file, fix, candidate_index=True)


def _bad_index_file(store: Store, stored: StoredEncoding, index: CandidateIndex) -> str:
    """Return the name of a file that is damaged or disagrees with the database; "" for none."""
    try:
        load_pq_index(store.index_folder, index, stored.encoding)
    except LibraryDamaged:
        return index.pq.name
    try:
        load_row_map(store.index_folder, index)
    except LibraryDamaged:
        return index.row_map.name
    return "" if row_map_is_right(store, stored) else index.row_map.name


def _photo_problems(store: Store) -> Iterator[Problem]:
    if lacking := store.catalog.count_unencoded():
        what = f"{lacking:,} photos have no vectors and cannot be found"
        fix = "`mkt repair`, or `mkt index` on their folder"
        yield Problem(what, DATABASE, fix, photos=True)
