"""Tags that a person set belong to contents; miniatures tell an edit from another picture."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Move tags set by hand from photos to their contents; copies share them from now on."""
    op.create_table(
        "miniature",
        sa.Column("content_id", sa.Integer, nullable=False),
        sa.Column("miniature", sa.LargeBinary, nullable=False),
        sa.Column("checksum", sa.BigInteger),
        sa.PrimaryKeyConstraint("content_id", name="pk_miniature"),
        sa.ForeignKeyConstraint(
            ["content_id"], ["content.id"], name="fk_miniature_content_id_content"
        ),
    )
    op.create_table(
        "hand_tag",
        sa.Column("content_id", sa.Integer, nullable=False),
        sa.Column("label_id", sa.Integer, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("checksum", sa.BigInteger),
        sa.PrimaryKeyConstraint("content_id", "label_id", "source", name="pk_hand_tag"),
        sa.ForeignKeyConstraint(
            ["content_id"], ["content.id"], name="fk_hand_tag_content_id_content"
        ),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name="fk_hand_tag_label_id_label"),
    )
    op.create_index("ix_hand_tag_label_id", "hand_tag", ["label_id"])
    _give_unread_photos_a_content()
    op.execute(
        "INSERT INTO hand_tag (content_id, label_id, source, created_at)"
        " SELECT photo.content_id, tag.label_id, tag.source, min(tag.created_at)"
        " FROM tag JOIN photo ON photo.id = tag.photo_id"
        " WHERE tag.source <> 'auto' AND tag.superseded_by IS NULL"
        " GROUP BY photo.content_id, tag.label_id, tag.source"
    )
    op.execute("DELETE FROM tag WHERE source <> 'auto'")
    op.add_column(
        "photo", sa.Column("replaced", sa.Integer, nullable=False, server_default=sa.text("0"))
    )
    op.drop_index("ix_photo_root_id_path", "photo")
    columns = ["root_id", "path", "replaced"]
    op.create_index("ix_photo_root_id_path_replaced", "photo", columns, unique=True)


def downgrade() -> None:
    """Give the tags of a content to each of its photos; pictures that were replaced go."""
    op.execute("DELETE FROM tag WHERE photo_id IN (SELECT id FROM photo WHERE replaced <> 0)")
    op.execute("DELETE FROM photo WHERE replaced <> 0")
    op.drop_index("ix_photo_root_id_path_replaced", "photo")
    op.create_index("ix_photo_root_id_path", "photo", ["root_id", "path"], unique=True)
    op.drop_column("photo", "replaced")
    op.execute(
        "INSERT INTO tag (photo_id, label_id, source, created_at)"
        " SELECT photo.id, hand_tag.label_id, hand_tag.source, hand_tag.created_at"
        " FROM hand_tag JOIN photo ON photo.content_id = hand_tag.content_id"
    )
    op.drop_table("hand_tag")
    op.drop_table("miniature")


def _give_unread_photos_a_content() -> None:
    """Make up a content for each tagged photo whose bytes could never be read."""
    connection = op.get_bind()
    unread = connection.scalars(
        sa.text(
            "SELECT DISTINCT photo.id FROM photo JOIN tag ON tag.photo_id = photo.id"
            " WHERE photo.content_id IS NULL AND tag.source <> 'auto'"
        )
    )
    for photo in list(unread):
        made_up = hashlib.sha256(f"photo {photo}, never read".encode()).digest()
        connection.execute(sa.text("UPDATE revision SET newest_content = newest_content + 1"))
        connection.execute(
            sa.text("INSERT INTO content (id, sha256) SELECT newest_content, :s FROM revision"),
            {"s": made_up},
        )
        connection.execute(
            sa.text(
                "UPDATE photo SET content_id = (SELECT newest_content FROM revision)"
                " WHERE id = :photo"
            ),
            {"photo": photo},
        )
