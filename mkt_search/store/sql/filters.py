"""Conditions on photos as SQL."""

from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import aliased

from mkt_search.paths import path_to_text
from mkt_search.spelling import label_key, path_key
from mkt_search.store.sql.path_keys import PathKey
from mkt_search.store.sql.schema import HandTagRow, LabelRow, Photo, Root, TagRow
from mkt_search.types import Filters

AnySelect = TypeVar("AnySelect", bound="Select[*tuple[Any, ...]]")

_COPY = aliased(Photo)
HAS_COPY = exists().where(
    _COPY.content_id == Photo.content_id, _COPY.state != "missing", _COPY.id != Photo.id
)
"""There is another photo of the same bytes, and it is not missing."""

SHOWS_WORDS = or_(Photo.state != "missing", ~HAS_COPY)
"""A missing photo shows what a person said of its content only if the picture is nowhere else."""


def filtered(query: AnySelect, filters: Filters) -> AnySelect:
    """Add conditions to a query over photo and root."""
    if filters.path is not None:
        whole = Root.path + "/" + Photo.path
        pattern = like_pattern(filters.path)
        query = query.where(
            PathKey(Photo.path).ilike(pattern, escape="\\")
            | PathKey(whole).ilike(pattern, escape="\\")
        )
    if filters.after is not None:
        query = query.where(Photo.taken_at >= filters.after)
    if filters.before is not None:
        query = query.where(Photo.taken_at < filters.before)
    if filters.camera is not None:
        pattern = f"%{_escaped(path_key(filters.camera))}%"
        query = query.where(PathKey(Photo.camera).ilike(pattern, escape="\\"))
    if filters.min_width is not None:
        query = query.where(Photo.width >= filters.min_width)
    if filters.min_height is not None:
        query = query.where(Photo.height >= filters.min_height)
    if filters.tag is not None:
        tagged = (
            select(TagRow.photo_id)
            .join(LabelRow, LabelRow.id == TagRow.label_id)
            .where(LabelRow.key == label_key(filters.tag), TagRow.superseded_by.is_(None))
        )
        tagged_by_hand = (
            select(HandTagRow.content_id)
            .join(LabelRow, LabelRow.id == HandTagRow.label_id)
            .where(LabelRow.key == label_key(filters.tag))
        )
        query = query.where(Photo.id.in_(tagged) | Photo.content_id.in_(tagged_by_hand))
    return query


def like_pattern(glob: str) -> str:
    """Return a path pattern with `*` and `?` for LIKE; one without either is any part of a path."""
    escaped = _escaped(path_key(path_to_text(Path(glob)) if glob not in ("", ".") else glob))
    if "*" not in glob and "?" not in glob:
        return f"%{escaped}%"
    return escaped.replace("*", "%").replace("?", "_")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
