"""A checksum in every row, and content ids that are never given twice.

The program computes the checksums after the migration.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = (
    *("root", "content", "photo", "encoding", "segment", "vector", "candidate_index", "label"),
    *("run", "evaluation", "tag", "label_vector", "revision", "change", "library"),
    "refusal",
)
NEWEST = (  # every place where a content id may still be known
    "SELECT max(id) AS id FROM content UNION ALL SELECT max(content_id) FROM change"
    " UNION ALL SELECT max(newest_content) FROM candidate_index"
)


def upgrade() -> None:
    """Add the columns; the newest content is the largest id that is known anywhere."""
    for table in TABLES:
        op.add_column(table, sa.Column("checksum", sa.BigInteger))
    op.add_column(
        "revision",
        sa.Column("newest_content", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    )
    op.execute(
        f"UPDATE revision SET newest_content = (SELECT coalesce(max(id), 0) FROM ({NEWEST}) AS ids)"
    )
    op.drop_column("candidate_index", "newest_content")


def downgrade() -> None:
    """Remove the columns; candidate indexes count every content as known."""
    op.add_column(
        "candidate_index",
        sa.Column("newest_content", sa.Integer, nullable=False, server_default=sa.text("0")),
    )
    op.execute("UPDATE candidate_index SET newest_content = (SELECT newest_content FROM revision)")
    op.drop_column("revision", "newest_content")
    for table in TABLES:
        op.drop_column(table, "checksum")
