"""The id of the library that a database belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table; the library's folder enters its id."""
    op.create_table(
        "library",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("identity", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_library"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("library")
