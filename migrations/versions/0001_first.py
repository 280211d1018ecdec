"""The first tables: photos, contents, vectors, tags, runs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def upgrade() -> None:
    """Create every table; constraint names follow the convention above."""
    metadata = sa.MetaData(naming_convention=CONVENTION)
    sa.Table(
        "root",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("path", sa.String, nullable=False, unique=True),
    )
    sa.Table(
        "content",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False, unique=True),
    )
    sa.Table(
        "photo",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("root_id", sa.ForeignKey("root.id"), nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("content_id", sa.ForeignKey("content.id"), index=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("format", sa.String),
        sa.Column("orientation", sa.Integer),
        sa.Column("taken_at", sa.DateTime, index=True),
        sa.Column("camera", sa.String),
        sa.Column("latitude", sa.Double),
        sa.Column("longitude", sa.Double),
        sa.Index(None, "root_id", "path", unique=True),
        sa.Index(None, "state"),
    )
    sa.Table(
        "encoding",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("fingerprint", sa.String, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("vocabulary", sa.LargeBinary),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    sa.Table(
        "segment",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("encoding_id", sa.ForeignKey("encoding.id"), nullable=False, index=True),
        sa.Column("file", sa.String, nullable=False, unique=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
    )
    sa.Table(
        "vector",
        metadata,
        sa.Column("encoding_id", sa.ForeignKey("encoding.id"), primary_key=True),
        sa.Column("content_id", sa.ForeignKey("content.id"), primary_key=True),
        sa.Column("segment_id", sa.ForeignKey("segment.id"), nullable=False, index=True),
        sa.Column("row", sa.Integer, nullable=False),
    )
    sa.Table(
        "label",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
    )
    sa.Table(
        "run",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("summary", sa.JSON),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("process", sa.String, nullable=False),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
    )
    current = sa.text("superseded_by IS NULL")
    sa.Table(
        "tag",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "photo_id", sa.ForeignKey("photo.id", ondelete="CASCADE"), nullable=False, index=True
        ),
        sa.Column("label_id", sa.ForeignKey("label.id"), nullable=False, index=True),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("run_id", sa.ForeignKey("run.id"), index=True),
        sa.Column("superseded_by", sa.ForeignKey("run.id"), index=True),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Index(
            "uq_tag_current",
            "photo_id",
            "label_id",
            "source",
            unique=True,
            sqlite_where=current,
            postgresql_where=current,
        ),
    )
    sa.Table(
        "label_vector",
        metadata,
        sa.Column("encoder", sa.String, primary_key=True),
        sa.Column("label", sa.String, primary_key=True),
        sa.Column("vector", sa.LargeBinary, nullable=False),
    )
    revision_table = sa.Table(
        "revision",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    connection = op.get_bind()
    metadata.create_all(connection)
    connection.execute(revision_table.insert().values(id=1, number=0))


def downgrade() -> None:
    """Drop every table, children first."""
    for table in (
        "revision",
        "label_vector",
        "tag",
        "run",
        "label",
        "vector",
        "segment",
        "encoding",
        "photo",
        "content",
        "root",
    ):
        op.drop_table(table)
