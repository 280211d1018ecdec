"""Generations, and one index on photos in the place of two that led searches astray."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table; constraint names follow the convention of the first tables."""
    op.drop_index("ix_photo_state", "photo")
    op.drop_index("ix_photo_content_id", "photo")
    op.create_index("ix_photo_content_id_state", "photo", ["content_id", "state"])
    op.create_table(
        "generation",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("encoding_id", sa.Integer, nullable=False),
        sa.Column("file", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("photos", sa.Integer, nullable=False),
        sa.Column("newest_content", sa.Integer, nullable=False),
        sa.Column("curve", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_generation"),
        sa.ForeignKeyConstraint(
            ["encoding_id"], ["encoding.id"], name="fk_generation_encoding_id_encoding"
        ),
        sa.UniqueConstraint("encoding_id", name="uq_generation_encoding_id"),
        sa.UniqueConstraint("file", name="uq_generation_file"),
    )


def downgrade() -> None:
    """Drop the table and bring the old indexes back."""
    op.drop_table("generation")
    op.drop_index("ix_photo_content_id_state", "photo")
    op.create_index("ix_photo_content_id", "photo", ["content_id"])
    op.create_index("ix_photo_state", "photo", ["state"])
