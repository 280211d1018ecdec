"""The tables. Queries are in the files beside this one, changes of the tables in `migrations/`.

root ──< photo >── content ──< vector >── segment >── encoding ── candidate_index
          │           ├──< hand_tag, refusal, judgement >── label      label_vector
          └──< tag >── label      tag >── run ──< evaluation   miniature, change, revision, library
"""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ForeignKey, Index, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from mkt_search.store.sql.columns import (
    Big,
    Bytes,
    BytewiseText,
    Data,
    DataOrNull,
    FileName,
    FolderPath,
    Miniature,
    Number,
    PathBelow,
    Sha256,
    Side,
    Text,
    Time,
    Whole,
)

HEAD = "0014"
"""The migration that this code needs; a database at another one is refused."""


class Base(DeclarativeBase):
    """Gives every constraint a name, so that a migration can change it in any database.

    Every type of a column checks what it reads, see `columns`. Every table has a `checksum` of the
    other columns; `checksums` says how it is kept.
    """

    checksum: Mapped[int | None] = mapped_column(Big, sort_order=99)

    type_annotation_map: ClassVar = {
        **{int: Whole, float: Number, str: Text, bytes: Bytes, datetime: Time},
        dict[str, Any]: Data,
    }

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class LibraryRow(Base):
    """One row: the library that the database belongs to; none while it belongs to no one."""

    __tablename__ = "library"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    identity: Mapped[str]


class Root(Base):
    """A registered folder. Photo paths are relative to it, so a moved disk is one update."""

    __tablename__ = "root"
    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(FolderPath, unique=True)


class Content(Base):
    """The bytes of a file, known by their SHA-256. Vectors belong to contents, paths to photos."""

    __tablename__ = "content"
    id: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[bytes] = mapped_column(Sha256, unique=True)


class MiniatureRow(Base):
    """What tells an edit of a content from another picture; see `photos.miniature`."""

    __tablename__ = "miniature"
    content_id: Mapped[int] = mapped_column(ForeignKey("content.id"), primary_key=True)
    miniature: Mapped[bytes] = mapped_column(Miniature)


class Photo(Base):
    """A file of the user. `state` is indexed, failed (see `error`) or missing.

    `date_source` says where `taken_at` comes from; NULL if nothing has a date.

    `replaced` is 0 for the photo at its path. A picture that a person tagged stays as a missing
    photo when another picture takes its path; `replaced` is then the id of its row.

    No index begins with `state`: SQLite would take it for selective, and read all indexed photos to
    find a few.
    """

    __tablename__ = "photo"
    __table_args__ = (
        Index(None, "root_id", "path", "replaced", unique=True),
        Index("ix_photo_content_id_state", "content_id", "state"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    root_id: Mapped[int] = mapped_column(ForeignKey("root.id"))
    path: Mapped[str] = mapped_column(PathBelow)
    size: Mapped[int] = mapped_column(Big)
    mtime_ns: Mapped[int] = mapped_column(Big)
    content_id: Mapped[int | None] = mapped_column(ForeignKey("content.id"))
    state: Mapped[str]
    error: Mapped[str | None]
    replaced: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    width: Mapped[int | None] = mapped_column(Side)
    height: Mapped[int | None] = mapped_column(Side)
    format: Mapped[str | None]
    orientation: Mapped[int | None]
    taken_at: Mapped[datetime | None] = mapped_column(index=True)
    camera: Mapped[str | None] = mapped_column(BytewiseText)
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    date_source: Mapped[str | None]


class EncodingRow(Base):
    """One `Encoding`. `state` is active (searched) or building (a rebuild is filling it).

    The last three columns record the model, so that a search need not open it; all NULL if unknown.
    """

    __tablename__ = "encoding"
    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    settings: Mapped[dict[str, Any]]
    model: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[datetime]
    label_encoder: Mapped[str | None]
    image: Mapped[dict[str, Any] | None] = mapped_column(DataOrNull)
    model_stamp: Mapped[str | None]


class SegmentRow(Base):
    """An immutable file of `count` photos' vectors; its row is added when it is whole on disk."""

    __tablename__ = "segment"
    id: Mapped[int] = mapped_column(primary_key=True)
    encoding_id: Mapped[int] = mapped_column(ForeignKey("encoding.id"), index=True)
    file: Mapped[str] = mapped_column(FileName, unique=True)
    count: Mapped[int]
    size: Mapped[int] = mapped_column(Big)
    sha256: Mapped[bytes] = mapped_column(Sha256)
    created_at: Mapped[datetime]


class VectorRow(Base):
    """The row of a segment that has a content's vectors under an encoding."""

    __tablename__ = "vector"
    encoding_id: Mapped[int] = mapped_column(ForeignKey("encoding.id"), primary_key=True)
    content_id: Mapped[int] = mapped_column(ForeignKey("content.id"), primary_key=True)
    segment_id: Mapped[int] = mapped_column(ForeignKey("segment.id"), index=True)
    row: Mapped[int]


class CandidateIndexRow(Base):
    """The candidate index of an encoding: two files about `photos` contents, replaced together.

    `pq_file` is the PQ index; `rowmap_file` lists the vector rows as they were at `revision`.
    """

    __tablename__ = "candidate_index"
    id: Mapped[int] = mapped_column(primary_key=True)
    encoding_id: Mapped[int] = mapped_column(ForeignKey("encoding.id"), unique=True)
    pq_file: Mapped[str] = mapped_column(FileName, unique=True)
    pq_size: Mapped[int] = mapped_column(Big)
    pq_sha256: Mapped[bytes] = mapped_column(Sha256)
    rowmap_file: Mapped[str] = mapped_column(FileName, unique=True)
    rowmap_size: Mapped[int] = mapped_column(Big)
    rowmap_sha256: Mapped[bytes] = mapped_column(Sha256)
    photos: Mapped[int]
    revision: Mapped[int] = mapped_column(Big)
    recall_curve: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class LabelRow(Base):
    """A label that a person or a run gave, in its first spelling; `key` is that of all."""

    __tablename__ = "label"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(BytewiseText, unique=True)
    key: Mapped[str] = mapped_column(index=True, unique=True, server_default="")


class RunRow(Base):
    """A job with its settings. `outcome` is running, done, failed, interrupted or reverted."""

    __tablename__ = "run"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    settings: Mapped[dict[str, Any]]
    summary: Mapped[dict[str, Any] | None]
    outcome: Mapped[str]
    process: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class EvaluationRow(Base):
    """What one model reached on labeled photos; `dataset_fingerprint` is of photos and labels."""

    __tablename__ = "evaluation"
    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    model: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(index=True)
    dataset: Mapped[str]
    dataset_fingerprint: Mapped[str] = mapped_column(index=True)
    protocol: Mapped[str]
    settings: Mapped[dict[str, Any]]
    results: Mapped[dict[str, Any]]


class HandTagRow(Base):
    """A label that a person gave to a picture. It belongs to the content, wherever its files are.

    Only a person removes one; new bytes at a path get those of the old bytes if they are an edit.
    """

    __tablename__ = "hand_tag"
    content_id: Mapped[int] = mapped_column(ForeignKey("content.id"), primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"), primary_key=True, index=True)
    source: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class TagRow(Base):
    """A label that a run gave to a photo.

    One that a later run replaced is kept until that run is reverted.

    No index begins with `superseded_by` of current tags: SQLite would take it for selective, and
    read every current tag to find those of a few photos or labels. The indexes are partial in
    PostgreSQL too, by the migrations: its option here would load its dialect in every search.
    """

    __tablename__ = "tag"
    __table_args__ = (
        *(
            Index(
                f"ix_tag_superseded_by_{column}",
                "superseded_by",
                column,
                sqlite_where=text("superseded_by IS NOT NULL"),
            )
            for column in ("photo_id", "label_id")
        ),
        Index(
            "uq_tag_current",
            "photo_id",
            "label_id",
            "source",
            unique=True,
            sqlite_where=text("superseded_by IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    photo_id: Mapped[int] = mapped_column(ForeignKey("photo.id", ondelete="CASCADE"), index=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"), index=True)
    source: Mapped[str]
    score: Mapped[float | None]
    p: Mapped[float | None]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"), index=True)
    superseded_by: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    created_at: Mapped[datetime]


class RefusalRow(Base):
    """A label that a person removed from a picture: no run gives it to the content again."""

    __tablename__ = "refusal"
    content_id: Mapped[int] = mapped_column(ForeignKey("content.id"), primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"), primary_key=True, index=True)
    created_at: Mapped[datetime]


class JudgementRow(Base):
    """What a person judged of a picture that a search showed: `answer` is yes or no.

    `person` judged it, and `model` is the fingerprint of the checkpoint by whose scores. What comes
    of judgements is computed from them whenever the label is searched for.
    """

    __tablename__ = "judgement"
    content_id: Mapped[int] = mapped_column(ForeignKey("content.id"), primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"), primary_key=True, index=True)
    answer: Mapped[str]
    person: Mapped[str] = mapped_column(BytewiseText)
    model: Mapped[str]
    created_at: Mapped[datetime]


class DecisionRow(Base):
    """What a person decided of a proposed tag: `verdict` is accept or reject.

    Decisions that were made together, of one label, share the number `batch`. `before` is what the
    decision replaced (see `decisions`); `run_id` is the run that proposed the tag.
    """

    __tablename__ = "decision"
    __table_args__ = (Index("ix_decision_content_id_label_id", "content_id", "label_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    batch: Mapped[int] = mapped_column(index=True)
    content_id: Mapped[int] = mapped_column(ForeignKey("content.id", ondelete="CASCADE"))
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"))
    verdict: Mapped[str]
    before: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    undone_at: Mapped[datetime | None]


class LabelVectorRow(Base):
    """A remembered label vector, by the fingerprint of its label encoder: little-endian float32."""

    __tablename__ = "label_vector"
    encoder: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    vector: Mapped[bytes]


class Revision(Base):
    """One row. `number` grows with every commit that changes what a search could find.

    The journal has every change after `since`. `newest_content` is the largest content id that was
    ever given: none is given twice.
    """

    __tablename__ = "revision"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Big)
    since: Mapped[int] = mapped_column(Big, server_default=text("0"))
    newest_content: Mapped[int] = mapped_column(Big, server_default=text("0"))


class ChangeRow(Base):
    """The journal: a content, and the revision of its latest change.

    A row may outlive its content, so that readers notice that the content is gone.
    """

    __tablename__ = "change"
    content_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(Big, index=True)
