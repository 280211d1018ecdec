"""A key by which every spelling of a label is found; labels that look the same become one."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

SPACES = "\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
)
PLAIN: dict[int, str | None] = {
    **dict.fromkeys(map(ord, SPACES), " "),
    **dict.fromkeys(map(ord, "\u2010\u2011"), "-"),
    **dict.fromkeys(map(ord, INVISIBLE)),
}
JOINERS = re.compile("(?<![^\0-\u024f])[\u200c\u200d]+|[\u200c\u200d]+(?![^\0-\u024f])")


def upgrade() -> None:
    """Add the keys. The tags of labels with one key go to the label that was there first."""
    op.add_column("label", sa.Column("key", sa.String, nullable=False, server_default=""))
    op.drop_index("uq_tag_current", "tag")
    bind = op.get_bind()
    first: dict[str, int] = {}
    merged: set[int] = set()
    for id_, name in bind.execute(sa.text("SELECT id, name FROM label ORDER BY id")).all():
        key = label_key(name)
        if key in first:
            ids = {"gone": id_, "kept": first[key]}
            bind.execute(sa.text("UPDATE tag SET label_id = :kept WHERE label_id = :gone"), ids)
            bind.execute(sa.text("DELETE FROM label WHERE id = :gone"), ids)
            merged.add(first[key])
        else:
            first[key] = id_
            bind.execute(
                sa.text("UPDATE label SET key = :key WHERE id = :id"), [dict(key=key, id=id_)]
            )
    for label in sorted(merged):
        _merge_tags(bind, label)
    op.create_index("ix_label_key", "label", ["key"], unique=True)
    _create_index_of_current_tags()


def downgrade() -> None:
    """Drop the keys; labels stay merged."""
    op.drop_index("ix_label_key", "label")
    op.drop_column("label", "key")


def label_key(label: str) -> str:
    """Return the key of a label, as version 0008 of the schema has it."""
    plain = JOINERS.sub("", label.translate(PLAIN))
    decomposed = unicodedata.normalize("NFD", " ".join(plain.split()))
    return unicodedata.normalize("NFC", decomposed.casefold())


def _merge_tags(bind: sa.Connection, label: int) -> None:
    """Leave a photo one tag by each person, and a history of its automatic ones, of a label."""
    query = "SELECT photo_id, source, id, run_id, score, superseded_by FROM tag"
    query += " WHERE label_id = :label ORDER BY photo_id, source, id"
    rows = bind.execute(sa.text(query), {"label": label}).all()
    gone: list[int] = []
    superseded: list[dict[str, int]] = []
    for (_, source), group in groupby(rows, key=lambda row: (row.photo_id, row.source)):
        if source != "auto":
            gone += [row.id for row in group][1:]
            continue
        worse, chain = _history(list(group))
        gone += worse
        superseded += chain
    for id_ in gone:
        bind.execute(sa.text("DELETE FROM tag WHERE id = :id"), {"id": id_})
    for change in superseded:
        bind.execute(sa.text("UPDATE tag SET superseded_by = :run WHERE id = :id"), change)


def _history(tags: Sequence[Any]) -> tuple[list[int], list[dict[str, int]]]:
    """Order the automatic tags of a photo: each run's best one, replaced by that of the next run.

    Returns:
        The ids of tags to delete, and the tags with the run that replaces them.
    """
    gone: list[int] = []
    replaced: list[dict[str, int]] = []
    next_run: int | None = None
    newest_first = sorted(tags, key=lambda tag: (tag.run_id, tag.score), reverse=True)
    for run, group in groupby(newest_first, key=lambda tag: tag.run_id):
        best, *others = group
        gone += [tag.id for tag in others]
        if next_run is not None and (best.superseded_by or next_run) >= next_run:
            replaced.append({"id": best.id, "run": next_run})
        next_run = run
    return gone, replaced


def _create_index_of_current_tags() -> None:
    current = sa.text("superseded_by IS NULL")
    op.create_index(
        "uq_tag_current",
        "tag",
        ["photo_id", "label_id", "source"],
        unique=True,
        sqlite_where=current,
        postgresql_where=current,
    )
