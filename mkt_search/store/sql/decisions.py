"""A review: proposed tags that nobody has decided, decisions, and the way back from them.

A proposed tag is a current tag of a run on an indexed photo whose picture no person has given the
same label. Accepting makes it a tag of the person, rejecting a refusal. Both belong to contents,
so copies are decided together.

A decision keeps in `before` what it replaced, for the content and the label: the words of persons,
and the tags of runs with their scores. Undoing puts that back if the decision still is the last
word. If a later decision is, what was before goes on to that one, so that undoing all of them in
any order ends where it began.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import and_, delete, exists, func, insert, or_, select
from sqlalchemy.orm import Session, aliased

from mkt_search.errors import QueryError
from mkt_search.spelling import label_key
from mkt_search.store.records import (
    Choice,
    Decision,
    DecisionBatch,
    Proposal,
    ReviewQueue,
)
from mkt_search.store.sql import hand_tags, refusals, runs
from mkt_search.store.sql.columns import impossible
from mkt_search.store.sql.schema import (
    Content,
    DecisionRow,
    HandTagRow,
    LabelRow,
    Photo,
    RefusalRow,
    TagRow,
)
from mkt_search.store.sql.statements import in_pieces, now
from mkt_search.store.sql.tags import delete_unused_labels, label_ids

WORST = -1e9  # below every score
OF_RUN = ("photo_id", "source", "score", "p", "run_id", "superseded_by")
"""What is kept of a tag of a run, beside its time."""

Place = tuple[float, int]
"""The score and the photo of the last proposal of a page."""

_IS_CURRENT = and_(
    TagRow.source == "auto", TagRow.superseded_by.is_(None), Photo.state == "indexed"
)
_IS_UNDECIDED = ~exists().where(
    HandTagRow.content_id == Photo.content_id, HandTagRow.label_id == TagRow.label_id
)
_Later = aliased(DecisionRow)
_IS_LAST = ~exists().where(
    _Later.content_id == DecisionRow.content_id,
    _Later.label_id == DecisionRow.label_id,
    _Later.undone_at.is_(None),
    _Later.id > DecisionRow.id,
)

# Reading


def queues(session: Session) -> list[ReviewQueue]:
    """Return what there is to review, by label and run."""
    proposed = (
        select(LabelRow.name, TagRow.run_id, func.count(Photo.content_id.distinct()))
        .select_from(TagRow)
        .join(Photo, Photo.id == TagRow.photo_id)
        .join(LabelRow, LabelRow.id == TagRow.label_id)
        .where(_IS_CURRENT, _IS_UNDECIDED)
        .group_by(LabelRow.name, TagRow.run_id)
    )
    decided = (
        select(LabelRow.name, DecisionRow.run_id, DecisionRow.verdict, func.count())
        .join(LabelRow, LabelRow.id == DecisionRow.label_id)
        .where(DecisionRow.undone_at.is_(None), _IS_LAST)
        .group_by(LabelRow.name, DecisionRow.run_id, DecisionRow.verdict)
    )
    found: dict[tuple[str, int | None], dict[str, int]] = {}
    for label, run, count in session.execute(proposed):
        found.setdefault((label, run), {})["undecided"] = count
    for label, run, verdict, count in session.execute(decided):
        found.setdefault((label, run), {})[f"{verdict}ed"] = count
    in_order = sorted(found, key=lambda key: (key[0], key[1] or 0))
    return [ReviewQueue(label, run, **found[label, run]) for label, run in in_order]


def proposals(
    session: Session, label: str, *, run: int | None, after: Place | None, count: int
) -> list[Proposal]:
    """Return undecided photos of a label, best first; one of photos with the same bytes.

    Args:
        session: an open transaction.
        label: the label.
        run: only what this run proposes.
        after: the last proposal of the page before.
        count: how many at most.
    """
    score = func.coalesce(TagRow.score, WORST)
    tag, copy = aliased(TagRow), aliased(Photo)
    is_first = ~(
        exists()
        .where(copy.content_id == Photo.content_id, copy.state == "indexed", copy.id < Photo.id)
        .where(tag.photo_id == copy.id, tag.label_id == TagRow.label_id)
        .where(tag.source == "auto", tag.superseded_by.is_(None))
    )
    query = (
        select(Photo.id, Content.sha256, TagRow.run_id, score, TagRow.p)
        .select_from(TagRow)
        .join(LabelRow, LabelRow.id == TagRow.label_id)
        .join(Photo, Photo.id == TagRow.photo_id)
        .join(Content, Content.id == Photo.content_id)
        .where(LabelRow.key == label_key(label), _IS_CURRENT, _IS_UNDECIDED, is_first)
        .order_by(score.desc(), Photo.id)
        .limit(count)
    )
    if run is not None:
        query = query.where(TagRow.run_id == run)
    if after is not None:
        worst, photo = after
        query = query.where(or_(score < worst, and_(score == worst, Photo.id > photo)))
    return [
        Proposal(photo, sha.hex(), from_run, best, p)
        for photo, sha, from_run, best, p in session.execute(query)
    ]


def last(session: Session) -> DecisionBatch | None:
    """Return the last batch of decisions that was not undone, None if there is none."""
    newest = select(func.max(DecisionRow.batch)).where(DecisionRow.undone_at.is_(None))
    batch = session.scalar(newest)
    if batch is None:
        return None
    rows = session.execute(
        select(LabelRow.name, func.min(Photo.id), DecisionRow.verdict)
        .select_from(DecisionRow)
        .join(LabelRow, LabelRow.id == DecisionRow.label_id)
        .outerjoin(
            Photo,
            and_(Photo.content_id == DecisionRow.content_id, Photo.state == "indexed"),
        )
        .where(DecisionRow.batch == batch, DecisionRow.undone_at.is_(None))
        .group_by(DecisionRow.id, LabelRow.name, DecisionRow.verdict)
        .order_by(DecisionRow.id)
    ).all()
    found = tuple(
        Decision(photo, cast(Choice, verdict)) for _, photo, verdict in rows if photo is not None
    )
    return DecisionBatch(batch, rows[0][0], found)


# Deciding


def decide(session: Session, label: str, decisions: Sequence[Decision]) -> tuple[int | None, int]:
    """Tag accepted pictures by hand and refuse the label on rejected ones.

    Of several decisions on a picture the last counts; photos that are gone are left out.

    Returns:
        The number of the batch, None if it is empty, and how many pictures it changed.
    """
    by_content = _by_content(session, decisions)
    if not by_content:
        return None, 0
    label_id = label_ids(session, [label])[label]
    before = _before(session, sorted(by_content), label_id)
    proposed_by = _runs_of_earlier(session, sorted(by_content), label_id)
    batch = (session.scalar(select(func.max(DecisionRow.batch))) or 0) + 1
    same = {"batch": batch, "label_id": label_id, "created_at": now()}
    rows = [
        {
            "content_id": content,
            "verdict": decision.verdict,
            "run_id": _proposing_run(before[content]) or proposed_by.get(content),
            "before": before[content],
            **same,
        }
        for content, decision in by_content.items()
    ]
    session.execute(insert(DecisionRow), rows)  # before the words: it keeps the label from cleanup
    accepted = [one.photo for one in by_content.values() if one.verdict == "accept"]
    rejected = [one.photo for one in by_content.values() if one.verdict == "reject"]
    if accepted:
        refusals.allow(session, accepted, label)
        hand_tags.add(session, accepted, label)
    if rejected:
        refusals.add(session, rejected, label)
        hand_tags.remove(session, rejected, label)
    changed = sum(_says(before[content]) != one.verdict for content, one in by_content.items())
    return batch, changed


def _by_content(session: Session, decisions: Sequence[Decision]) -> dict[int, Decision]:
    """Return the last decision on each content of photos that are there as the person saw them."""
    contents: dict[int, tuple[int, str]] = {}
    for piece in in_pieces([one.photo for one in decisions]):
        query = select(Photo.id, Content.id, Content.sha256).join(
            Content, Content.id == Photo.content_id
        )
        for photo, content, sha in session.execute(query.where(Photo.id.in_(piece))):
            contents[photo] = (content, sha.hex())
    found: dict[int, Decision] = {}
    for one in decisions:
        content, bytes_ = contents.get(one.photo, (0, ""))
        if content and one.content in (None, bytes_):
            found[content] = one
    return found


def _before(session: Session, contents: Sequence[int], label: int) -> dict[int, dict[str, Any]]:
    """Return the words and tags of a label on contents, as JSON values."""
    found: dict[int, dict[str, Any]] = {
        content: {"at": now().isoformat(), "refused_at": None, "by_hand": [], "by_runs": []}
        for content in contents
    }
    for piece in in_pieces(contents):
        refused = select(RefusalRow.content_id, RefusalRow.created_at)
        of_these = (RefusalRow.content_id.in_(piece), RefusalRow.label_id == label)
        for content, at in session.execute(refused.where(*of_these)):
            found[content]["refused_at"] = at.isoformat()
        by_hand = select(HandTagRow.content_id, HandTagRow.source, HandTagRow.created_at)
        of_these = (HandTagRow.content_id.in_(piece), HandTagRow.label_id == label)
        for content, source, at in session.execute(by_hand.where(*of_these)):
            found[content]["by_hand"].append({"source": source, "created_at": at.isoformat()})
        by_runs = (
            select(Photo.content_id, TagRow)
            .join(Photo, Photo.id == TagRow.photo_id)
            .where(Photo.content_id.in_(piece), TagRow.label_id == label)
            .order_by(TagRow.id)
        )
        for of_photo, tag in session.execute(by_runs):
            kept = {name: getattr(tag, name) for name in OF_RUN}
            kept["created_at"] = tag.created_at.isoformat()
            found[of_photo or 0]["by_runs"].append(kept)
    return found


def _proposing_run(before: Mapping[str, Any]) -> int | None:
    """Return the run whose tag was current."""
    current = (tag["run_id"] for tag in before["by_runs"] if tag["superseded_by"] is None)
    return next(current, None)


def _runs_of_earlier(
    session: Session, contents: Sequence[int], label: int
) -> dict[int, int | None]:
    """Return the runs whose tags were decided before, by content: a rejected tag is gone."""
    found: dict[int, int | None] = {}
    for piece in in_pieces(contents):
        rows = session.execute(
            select(DecisionRow.content_id, DecisionRow.run_id)
            .where(DecisionRow.content_id.in_(piece), DecisionRow.label_id == label)
            .where(DecisionRow.undone_at.is_(None))
            .order_by(DecisionRow.id)
        )
        found.update((content, run) for content, run in rows)
    return found


def _says(before: Mapping[str, Any]) -> Choice | None:
    """Return what a person said of a picture and a label, None for nothing."""
    if before["refused_at"] is not None:
        return "reject"
    return "accept" if any(tag["source"] == "human" for tag in before["by_hand"]) else None


# Undoing


def undo(session: Session, batch: int) -> int:
    """Put back what the decisions of a batch replaced; return how many pictures changed.

    Pictures of which a person has said something else since are left alone. A batch that was undone
    before changes nothing.

    Raises:
        QueryError: there is no such batch.
    """
    rows = list(session.scalars(select(DecisionRow).where(DecisionRow.batch == batch)))
    if not rows:
        raise QueryError(f"There is no decision {batch} to take back.")
    changed = 0
    for row in rows:
        if row.undone_at is not None:
            continue
        row.undone_at = now()
        later = session.scalar(
            select(DecisionRow)
            .where(
                DecisionRow.content_id == row.content_id,
                DecisionRow.label_id == row.label_id,
                DecisionRow.undone_at.is_(None),
                DecisionRow.id > row.id,
            )
            .order_by(DecisionRow.id)
            .limit(1)
        )
        if later is not None:
            later.before = row.before
        elif _is_last_word(session, row):
            _restore(session, row)
            changed += 1
    session.flush()
    delete_unused_labels(session)
    return changed


def _is_last_word(session: Session, row: DecisionRow) -> bool:
    """Whether a picture is as a decision left it."""
    [now_] = _before(session, [row.content_id], row.label_id).values()
    return _says(now_) == row.verdict


def _restore(session: Session, row: DecisionRow) -> None:
    of_these = {"content_id": row.content_id, "label_id": row.label_id}
    for table in (HandTagRow, RefusalRow):
        session.execute(
            delete(table).where(table.content_id == row.content_id, table.label_id == row.label_id)
        )
    try:
        by_hand = [{**tag, **of_these, **_time(tag)} for tag in row.before["by_hand"]]
        if by_hand:
            session.execute(insert(HandTagRow), by_hand)
        if (at := row.before["refused_at"]) is not None:
            refused = {**of_these, "created_at": datetime.fromisoformat(at)}
            session.execute(insert(RefusalRow), [refused])
        _restore_tags_of_runs(session, row)
    except (KeyError, TypeError, ValueError) as error:
        raise impossible(f"what was before a decision: {error}") from error


def _restore_tags_of_runs(session: Session, row: DecisionRow) -> None:
    """Give photos the tags back that runs had given them, as if these had not been away.

    Those of runs that were taken back since do not return, and not to photos that show something
    else now. Where a later run has covered the label, it replaces them.
    """
    tags = row.before["by_runs"]
    if not tags:
        return
    photos = set(session.scalars(select(Photo.id).where(Photo.content_id == row.content_id)))
    rows = session.execute(
        select(TagRow.photo_id, TagRow.run_id)
        .join(Photo, Photo.id == TagRow.photo_id)
        .where(Photo.content_id == row.content_id, TagRow.label_id == row.label_id)
    )
    there = {(photo, run) for photo, run in rows}
    key = session.scalars(select(LabelRow.key).where(LabelRow.id == row.label_id)).one()
    covering = {
        info.id: info.started_at
        for info in runs.listed(session)
        if info.kind == "tag" and info.outcome == "done"
        if key in map(label_key, info.settings["labels"])
    }
    since = datetime.fromisoformat(row.before["at"])
    for tag in tags:
        run, replaced_by = tag["run_id"], tag["superseded_by"]
        if tag["photo_id"] not in photos or (tag["photo_id"], run) in there or run not in covering:
            continue
        heirs = (
            other
            for other, started_at in covering.items()
            if other > run
            if (started_at >= since if replaced_by is None else other >= replaced_by)
        )
        kept = {**tag, **_time(tag), "superseded_by": min(heirs, default=None)}
        session.execute(insert(TagRow), [{**kept, "label_id": row.label_id}])


def _time(kept: Mapping[str, Any]) -> dict[str, datetime]:
    return {"created_at": datetime.fromisoformat(kept["created_at"])}
