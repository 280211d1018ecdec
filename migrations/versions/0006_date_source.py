"""Where the date of a photo comes from; the dates there are were read from EXIF."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column."""
    op.add_column("photo", sa.Column("date_source", sa.String))
    op.execute("UPDATE photo SET date_source = 'exif' WHERE taken_at IS NOT NULL")


def downgrade() -> None:
    """Drop the column; dates that are not from EXIF go with it."""
    op.execute("UPDATE photo SET taken_at = NULL WHERE date_source <> 'exif'")
    op.drop_column("photo", "date_source")
