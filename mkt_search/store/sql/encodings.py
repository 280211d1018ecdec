"""Queries about encodings: what the stored vectors are, and which model made them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, get_args

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.sql.checksums import checked, is_sound
from mkt_search.store.sql.columns import impossible
from mkt_search.store.sql.schema import EncodingRow
from mkt_search.store.sql.statements import now
from mkt_search.types import Encoding, ImageSpec, ModelRecord, Pooling


def listed(session: Session) -> list[StoredEncoding]:
    """Return every encoding, oldest first. Raises LibraryDamaged."""
    query = select(EncodingRow, is_sound(EncodingRow.__table__)).order_by(EncodingRow.id)
    return [
        _stored(checked(row, sound, "how vectors are coded"))
        for row, sound in session.execute(query)
    ]


def add(session: Session, encoding: Encoding, *, model: str, state: str) -> StoredEncoding:
    """Add an encoding without vectors."""
    row = EncodingRow(
        fingerprint=encoding.fingerprint,
        settings=encoding.as_settings(),
        model=model,
        state=state,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    return _stored(row)


def exists(session: Session, encoding_id: int) -> bool:
    """Return True if there is such an encoding."""
    return session.get(EncodingRow, encoding_id) is not None


def set_state(session: Session, encoding_id: int, state: str) -> None:
    """Make an encoding active or building."""
    session.execute(update(EncodingRow).where(EncodingRow.id == encoding_id).values(state=state))


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


def delete_encoding(session: Session, encoding_id: int) -> None:
    """Delete an encoding that no segment and no candidate index belongs to any more."""
    session.execute(delete(EncodingRow).where(EncodingRow.id == encoding_id))


def retired_form(settings: Mapping[str, Any]) -> str:
    """Name what this version no longer reads of the vectors made by `settings`; "" for nothing."""
    pooling, precision = settings["local"], settings["precision"]
    if settings["scale"] != "cosine":
        return f"scale {settings['scale']}"
    if pooling not in get_args(Pooling):
        return f"pooling {pooling}"
    return f"{pooling} in fp16" if precision == "fp16" and pooling != "all" else ""


def _stored(row: EncodingRow) -> StoredEncoding:
    try:
        return StoredEncoding(
            id=row.id,
            encoding=Encoding.from_settings(row.settings),
            model=row.model,
            state=row.state,
            retired=retired_form(row.settings),
            record=_model_record(row),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise impossible(f"settings of an encoding: {error}") from error


def _model_record(row: EncodingRow) -> ModelRecord | None:
    """Return what is recorded of the model; None if that is incomplete or damaged."""
    if row.model_stamp is None or row.label_encoder is None or row.image is None:
        return None
    try:
        image: dict[str, Any] = dict(row.image)
        image["mean"], image["std"] = tuple(image["mean"]), tuple(image["std"])
        return ModelRecord(row.model_stamp, row.label_encoder, ImageSpec(**image))
    except (TypeError, ValueError, KeyError):
        return None
