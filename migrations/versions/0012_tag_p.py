"""Tags of runs have a probability."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; p of earlier tags is not known."""
    op.add_column("tag", sa.Column("p", sa.Double))


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("tag", "p")
