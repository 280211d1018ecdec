"""Does the library agree with itself, and what in it is nobody's any more?"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import delete, exists, func, select, text
from sqlalchemy.orm import Session

from mkt_search.errors import LibraryDamaged
from mkt_search.store.segments import segment as segments
from mkt_search.store.segments.files import digest
from mkt_search.store.snapshot import row_map_is_right
from mkt_search.store.sql import candidate_index as generations
from mkt_search.store.sql import changes, encodings, tags
from mkt_search.store.sql.database import reading, transaction
from mkt_search.store.sql.photos import in_pieces
from mkt_search.store.sql.schema import Content, Photo, SegmentRow, VectorRow
from mkt_search.store.store import Store, StoredEncoding


@dataclass(frozen=True)
class Problem:
    """Something wrong with the library: what, where, what to do.

    `segment` names a bad one; `generation` says that the candidate index is bad.
    """

    what: str
    where: str
    fix: str
    segment: int | None = None
    generation: bool = False


@dataclass(frozen=True)
class PruneReport:
    """What pruning removed, or would remove."""

    photos: int = 0
    tags: int = 0
    contents: int = 0
    segments: int = 0
    bytes: int = 0


def verify(store: Store, progress: Callable[[int, int], None] | None = None) -> list[Problem]:
    """Check the database itself, every segment's bytes, and that its rows are those the rows name.

    Reads all segments; `progress` is told (done, total) segments. A file that no row names is no
    problem: it is what an interrupted run leaves behind, and the next writer removes it.
    """
    problems = list(_database_problems(store))
    items = [(item, row) for item in store.encodings() for row in _segment_rows(store, item)]
    for done, (item, row) in enumerate(items):
        found = _segment_problems(store, item, row)
        problems += found if found and _is_named_now(store, row.file) else []
        if progress is not None:
            progress(done + 1, len(items))
    problems += _generation_problems(store)
    problems += _photo_problems(store)
    return problems


def _generation_problems(store: Store) -> Iterator[Problem]:
    for item in store.encodings():
        with reading(store.engine) as session:
            generation = generations.find(session, item.id)
        if generation is None or item.retired:
            continue
        try:
            file = generation.sketch.file
            generations.load_pq_index(store.index_folder, generation, item.encoding)
            file = generation.places.file
            generations.load_places(store.index_folder, generation)
            if not row_map_is_right(store, item):
                raise LibraryDamaged("its places are not those of the rows")
        except LibraryDamaged:
            with reading(store.engine) as session:  # a writer may have switched to another one
                if generations.find(session, item.id) == generation:
                    what = "a file of the candidate index is missing or its bytes have changed"
                    fix = "`mkt repair` makes it anew; searches do without it until then"
                    yield Problem(what, file, fix, generation=True)


def _database_problems(store: Store) -> Iterator[Problem]:
    if store.engine.dialect.name != "sqlite":
        return
    fix = "restore mkt.db from a backup, or index into a new library"
    with reading(store.engine) as session:
        for (found,) in session.execute(text("PRAGMA integrity_check")):
            if found != "ok":
                yield Problem(f"the database is damaged: {found}", "mkt.db", fix)
        for row in session.execute(text("PRAGMA foreign_key_check")):
            yield Problem(f"a row of {row[0]} names one of {row[2]} that is gone", "mkt.db", fix)


def _segment_rows(store: Store, item: StoredEncoding) -> list[SegmentRow]:
    with reading(store.engine) as session:
        query = select(SegmentRow).where(SegmentRow.encoding_id == item.id).order_by(SegmentRow.id)
        return list(session.scalars(query))


def _is_named_now(store: Store, file: str) -> bool:
    """Ask again: a writer may have committed or merged the segment since the rows were read."""
    with reading(store.engine) as session:
        found = session.scalar(select(SegmentRow.id).where(SegmentRow.file == file))
    return found is not None


def _segment_problems(store: Store, item: StoredEncoding, row: SegmentRow) -> list[Problem]:
    fix = "`mkt repair` encodes its photos again"
    path = store.folder / row.file
    if not path.is_file():
        return [Problem("a segment is missing", row.file, fix, row.id)]
    if path.stat().st_size != row.size or digest(path) != row.sha256:
        return [Problem("a segment's bytes have changed", row.file, fix, row.id)]
    if item.retired:
        return []  # no command reads its vectors
    try:
        segment = segments.open_segment(path, item.encoding)
    except LibraryDamaged as error:
        return [Problem(str(error), row.file, fix, row.id)]
    with reading(store.engine) as session:
        vectors = session.execute(
            select(VectorRow.row, Content.sha256)
            .join(Content, Content.id == VectorRow.content_id)
            .where(VectorRow.segment_id == row.id)
        )
        wrong = sum(
            at >= len(segment) or segment.content[at].tobytes() != sha for at, sha in vectors
        )
    if wrong:
        what = f"{wrong} rows name vectors that were made of other bytes"
        return [Problem(what, row.file, fix, row.id)]
    return []


def _photo_problems(store: Store) -> list[Problem]:
    active = store.active
    if active is None:
        return []
    with reading(store.engine) as session:
        lacking = encodings.unencoded(session, active.id)
    if not lacking:
        return []
    what = f"{lacking:,} photos have no vectors and cannot be found"
    return [Problem(what, "mkt.db", "`mkt repair`, or `mkt index` on their folder")]


def prune(store: Store, *, dry_run: bool) -> PruneReport:
    """Forget missing photos with their tags, and whatever no photo needs any more.

    Vectors of bytes no photo has go; a segment goes when its last vector has gone. The files of the
    user are never touched.
    """
    with transaction(store.engine) as session:
        report, files = _prune_rows(session, store)
        if dry_run:
            session.rollback()
            return report
        sketches = generations.drop_reusable(session)
        changes.bump(session, ())  # what goes had no photo that could be found
    store.remove_files(files)
    store.remove_generations(sketches)
    return report


def _prune_rows(session: Session, store: Store) -> tuple[PruneReport, list[str]]:
    gone = list(session.scalars(select(Photo.id).where(Photo.state == "missing")))
    lost_tags = tags.delete_tags_of(session, gone)
    for piece in in_pieces(gone):
        session.execute(delete(Photo).where(Photo.id.in_(piece)))
    unused = ~exists().where(Photo.content_id == Content.id)
    contents = session.scalar(select(func.count()).select_from(Content).where(unused)) or 0
    unused_ids = select(Content.id).where(unused)
    session.execute(delete(VectorRow).where(VectorRow.content_id.in_(unused_ids)))
    session.execute(delete(Content).where(unused))
    empty = ~exists().where(VectorRow.segment_id == SegmentRow.id)
    rows = list(session.scalars(select(SegmentRow).where(empty)))
    session.execute(delete(SegmentRow).where(empty))
    tags.delete_unused_labels(session)
    report = PruneReport(
        photos=len(gone),
        tags=lost_tags,
        contents=contents,
        segments=len(rows),
        bytes=sum(row.size for row in rows),
    )
    return report, [row.file for row in rows]
