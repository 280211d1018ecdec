"""Plain names for candidate indexes, the model of an encoding, indexes on replaced tags."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NAMES = {  # old -> new, of the columns that are renamed
    "file": "pq_file",
    "size": "pq_size",
    "sha256": "pq_sha256",
    "places_file": "rowmap_file",
    "places_size": "rowmap_size",
    "places_sha256": "rowmap_sha256",
    "curve": "recall_curve",
}
BYTEWISE = (("root", "path"), ("photo", "path"), ("photo", "camera"), ("label", "name"))
KEPT = ("encoding_id", "photos", "revision", "newest_content", "created_at")


def upgrade() -> None:
    """Copy the rows to a table of the new name; what a model is stays unknown until it is used."""
    _create("candidate_index", NAMES)
    _copy("generation", "candidate_index", NAMES)
    op.drop_table("generation")
    op.add_column("encoding", sa.Column("label_encoder", sa.String))
    op.add_column("encoding", sa.Column("image", sa.JSON))
    op.add_column("encoding", sa.Column("model_stamp", sa.String))
    op.drop_column("encoding", "vocabulary")
    op.drop_index("ix_tag_superseded_by", "tag")
    replaced = sa.text("superseded_by IS NOT NULL")
    for column in ("photo_id", "label_id"):
        op.create_index(
            f"ix_tag_superseded_by_{column}",
            "tag",
            ["superseded_by", column],
            sqlite_where=replaced,
            postgresql_where=replaced,
        )
    if op.get_bind().dialect.name == "postgresql":
        for table, column in BYTEWISE:
            op.execute(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE VARCHAR COLLATE "C"')


def downgrade() -> None:
    """Copy the rows back; candidate indexes stay, vocabularies are gone."""
    for column in ("photo_id", "label_id"):
        op.drop_index(f"ix_tag_superseded_by_{column}", "tag")
    op.create_index("ix_tag_superseded_by", "tag", ["superseded_by"])
    op.add_column("encoding", sa.Column("vocabulary", sa.LargeBinary))
    for column in ("label_encoder", "image", "model_stamp"):
        op.drop_column("encoding", column)
    _create("generation", {old: old for old in NAMES})
    _copy("candidate_index", "generation", {new: old for old, new in NAMES.items()})
    op.drop_table("candidate_index")
    if op.get_bind().dialect.name == "postgresql":
        for table, column in BYTEWISE:
            op.execute(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE VARCHAR COLLATE "default"')


def _create(table: str, names: dict[str, str]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("encoding_id", sa.Integer, nullable=False),
        sa.Column(names["file"], sa.String, nullable=False),
        sa.Column(names["size"], sa.BigInteger, nullable=False),
        sa.Column(names["sha256"], sa.LargeBinary(32), nullable=False),
        sa.Column(names["places_file"], sa.String, nullable=False),
        sa.Column(names["places_size"], sa.BigInteger, nullable=False),
        sa.Column(names["places_sha256"], sa.LargeBinary(32), nullable=False),
        sa.Column("photos", sa.Integer, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("newest_content", sa.Integer, nullable=False),
        sa.Column(names["curve"], sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.ForeignKeyConstraint(
            ["encoding_id"], ["encoding.id"], name=f"fk_{table}_encoding_id_encoding"
        ),
        sa.UniqueConstraint("encoding_id", name=f"uq_{table}_encoding_id"),
        sa.UniqueConstraint(names["file"], name=f"uq_{table}_{names['file']}"),
        sa.UniqueConstraint(names["places_file"], name=f"uq_{table}_{names['places_file']}"),
    )


def _copy(source: str, target: str, names: dict[str, str]) -> None:
    """Copy all rows; ids are given out again."""
    into = ", ".join([*names.values(), *KEPT])
    what = ", ".join([*names, *KEPT])
    op.execute(f"INSERT INTO {target} ({into}) SELECT {what} FROM {source}")
