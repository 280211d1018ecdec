"""What a person judged of a picture and a label: it shows it, or not."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the table; nobody judged before it."""
    op.create_table(
        "judgement",
        sa.Column("content_id", sa.Integer, nullable=False),
        sa.Column("label_id", sa.Integer, nullable=False),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("checksum", sa.BigInteger),
        sa.PrimaryKeyConstraint("content_id", "label_id", name="pk_judgement"),
        sa.ForeignKeyConstraint(
            ["content_id"], ["content.id"], name="fk_judgement_content_id_content"
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_judgement_label_id_label"),
    )
    op.create_index("ix_judgement_label_id", "judgement", ["label_id"])


def downgrade() -> None:
    """Drop every judgement."""
    op.drop_table("judgement")
