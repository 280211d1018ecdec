"""The journal of changed contents, and where the vectors stood when a generation was built."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the journal; generations go, for they are only a cache and lack the new columns."""
    op.create_table(
        "change",
        sa.Column("content_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("content_id", name="pk_change"),
    )
    op.create_index("ix_change_revision", "change", ["revision"])
    op.execute("DELETE FROM generation")
    with op.batch_alter_table("generation") as table:
        table.add_column(sa.Column("revision", sa.BigInteger, nullable=False))
        table.add_column(sa.Column("places_file", sa.String, nullable=False))
        table.add_column(sa.Column("places_size", sa.BigInteger, nullable=False))
        table.add_column(sa.Column("places_sha256", sa.LargeBinary(32), nullable=False))
        table.create_unique_constraint("uq_generation_places_file", ["places_file"])
    op.add_column(
        "revision", sa.Column("since", sa.BigInteger, nullable=False, server_default=sa.text("0"))
    )
    op.execute("UPDATE revision SET since = number")


def downgrade() -> None:
    """Drop what was added; generations go here too."""
    op.execute("DELETE FROM generation")
    with op.batch_alter_table("generation") as table:
        table.drop_constraint("uq_generation_places_file", type_="unique")
        for column in ("revision", "places_file", "places_size", "places_sha256"):
            table.drop_column(column)
    op.drop_column("revision", "since")
    op.drop_table("change")
