"""The queries about vectors: encodings, the segments that hold them, and which of them are live."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session

from mkt_search.store.segments.files import Written
from mkt_search.store.sql.photos import now
from mkt_search.store.sql.schema import ChangeRow, EncodingRow, Photo, SegmentRow, VectorRow
from mkt_search.types import Encoding, ImageSpec, ModelRecord, Pooling


def encoding_rows(session: Session) -> list[EncodingRow]:
    """Return every encoding, oldest first."""
    return list(session.scalars(select(EncodingRow).order_by(EncodingRow.id)))


def encoding_of(row: EncodingRow) -> Encoding:
    """Return the settings of an encoding's row."""
    return Encoding.from_settings(row.settings)


def retired_form(settings: Mapping[str, Any]) -> str:
    """Name what this version no longer reads of the vectors made by `settings`; "" for nothing."""
    pooling, precision = settings["local"], settings["precision"]
    if settings["scale"] != "cosine":
        return f"scale {settings['scale']}"
    if pooling not in get_args(Pooling):
        return f"pooling {pooling}"
    return f"{pooling} in fp16" if precision == "fp16" and pooling != "all" else ""


def set_model(session: Session, encoding_id: int, model: str, record: ModelRecord | None) -> None:
    """Record the name of an encoding's model, and what is known of the model."""
    session.execute(
        update(EncodingRow)
        .where(EncodingRow.id == encoding_id)
        .values(
            model=model,
            label_encoder=record.label_encoder if record else None,
            image=asdict(record.image) if record else None,
            model_stamp=record.stamp if record else None,
        )
    )


def model_record_of(row: EncodingRow) -> ModelRecord | None:
    """Return what an encoding's row records of the model; None if that is not complete."""
    if row.model_stamp is None or row.label_encoder is None or row.image is None:
        return None
    image: dict[str, Any] = dict(row.image)
    image["mean"], image["std"] = tuple(image["mean"]), tuple(image["std"])
    return ModelRecord(row.model_stamp, row.label_encoder, ImageSpec(**image))


def add_segment(
    session: Session, encoding_id: int, written: Written, content_ids: Sequence[int]
) -> None:
    """Name a segment that is whole on disk, and the content each of its rows belongs to."""
    segment = SegmentRow(
        encoding_id=encoding_id,
        file=written.file,
        count=len(content_ids),
        size=written.size,
        sha256=written.sha256,
        created_at=now(),
    )
    session.add(segment)
    session.flush()
    fixed = {"encoding_id": encoding_id, "segment_id": segment.id}
    session.execute(
        insert(VectorRow),
        [{**fixed, "content_id": id_, "row": n} for n, id_ in enumerate(content_ids)],
    )


INDEXED = select(Photo.content_id).where(  # a list, made once: no look at the photos by vector
    Photo.state == "indexed", Photo.content_id.is_not(None)
)


PLACES = select(  # plain columns: as objects, a million rows would take seconds
    *(VectorRow.__table__.c[name] for name in ("segment_id", "row", "content_id"))
)


def live_vectors(session: Session, encoding_id: int) -> NDArray[np.int64]:
    """Return (n, 3): segment id, row and content id of every vector some indexed photo has."""
    live = VectorRow.encoding_id == encoding_id, VectorRow.content_id.in_(INDEXED)
    return _places(session, PLACES.where(*live))


def live_vectors_of_changed(session: Session, encoding_id: int, since: int) -> NDArray[np.int64]:
    """Return those of `live_vectors` whose contents changed after a revision."""
    has_photo = exists().where(Photo.content_id == VectorRow.content_id, Photo.state == "indexed")
    changed = VectorRow.content_id.in_(  # no join, for SQLite would go through all the vectors
        select(ChangeRow.content_id).where(ChangeRow.revision > since)
    )
    return _places(session, PLACES.where(VectorRow.encoding_id == encoding_id, changed, has_photo))


def _places(session: Session, query: Select[Any]) -> NDArray[np.int64]:
    numbers = chain.from_iterable(session.connection().execute(query))
    places = np.fromiter(numbers, np.int64).reshape(-1, 3)
    return places[np.lexsort((places[:, 1], places[:, 0]))]


def count_live(session: Session, encoding_id: int) -> int:
    """Count the vectors that `live_vectors` returns; copies of a photo share one."""
    live = VectorRow.encoding_id == encoding_id, VectorRow.content_id.in_(INDEXED)
    return session.scalar(select(func.count()).select_from(VectorRow).where(*live)) or 0


def segment_files(session: Session, encoding_id: int) -> dict[int, str]:
    """Return the file of every segment of an encoding, by segment id."""
    rows = session.execute(
        select(SegmentRow.id, SegmentRow.file)
        .where(SegmentRow.encoding_id == encoding_id)
        .order_by(SegmentRow.id)
    )
    return {id_: file for id_, file in rows}


def unencoded(session: Session, encoding_id: int) -> int:
    """Count the indexed photos without vectors under an encoding."""
    has = exists().where(
        VectorRow.content_id == Photo.content_id, VectorRow.encoding_id == encoding_id
    )
    query = select(func.count()).select_from(Photo).where(Photo.state == "indexed", ~has)
    return session.scalar(query) or 0


def drop_encoding(session: Session, encoding_id: int) -> list[str]:
    """Delete an encoding with its vectors and segments; return the files that are now nobody's."""
    files = list(
        session.scalars(select(SegmentRow.file).where(SegmentRow.encoding_id == encoding_id))
    )
    for table in (VectorRow, SegmentRow):
        session.execute(delete(table).where(table.encoding_id == encoding_id))
    session.execute(delete(EncodingRow).where(EncodingRow.id == encoding_id))
    return files
