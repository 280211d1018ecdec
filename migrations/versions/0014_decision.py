"""What a person decided in a review, and what was there before: so that it can be taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the table; what was decided before it cannot be taken back."""
    op.create_table(
        "decision",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("content_id", sa.Integer, nullable=False),
        sa.Column("label_id", sa.Integer, nullable=False),
        sa.Column("run_id", sa.Integer),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("before", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("undone_at", sa.DateTime),
        sa.Column("checksum", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_decision"),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["content.id"],
            name="fk_decision_content_id_content",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["label_id"], ["label.id"], name="fk_decision_label_id_label", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_decision_run_id_run"),
    )
    op.create_index("ix_decision_batch", "decision", ["batch"])
    op.create_index("ix_decision_label_id", "decision", ["label_id"])
    op.create_index("ix_decision_content_id_label_id", "decision", ["content_id", "label_id"])


def downgrade() -> None:
    """Drop the table; the tags and refusals that came of decisions stay."""
    op.drop_table("decision")
