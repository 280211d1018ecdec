"""What a person said of a picture and a label: not this one."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table; removals before it were not remembered."""
    op.create_table(
        "refusal",
        sa.Column("content_id", sa.Integer, nullable=False),
        sa.Column("label_id", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.PrimaryKeyConstraint("content_id", "label_id", name="pk_refusal"),
        sa.ForeignKeyConstraint(
            ["content_id"], ["content.id"], name="fk_refusal_content_id_content"
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_refusal_label_id_label"),
    )
    op.create_index("ix_refusal_label_id", "refusal", ["label_id"])


def downgrade() -> None:
    """Drop every refusal."""
    op.drop_table("refusal")
