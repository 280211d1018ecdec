"""What a worker found in a shard: a segment of vectors, and a record of its photos in JSON.

The segment is named by its digest. The record is written last: a shard with a record is done.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from indexer.load import Failed, Loaded
from indexer.shards.plan import ShardPlan, is_inside, read_json
from mkt_search.errors import LibraryDamaged, PlanError
from mkt_search.files import write_atomically
from mkt_search.paths import bare_name, text_to_path
from mkt_search.store.segments import segment as segments
from mkt_search.store.segments.files import digest
from mkt_search.store.segments.segment import Segment, open_segment
from mkt_search.types import PhotoFacts, PhotoFile, PhotoVectors

INT64_MAX = 2**63 - 1
NOT_A_RECORD = (KeyError, TypeError, ValueError, AttributeError, IndexError)


@dataclass(frozen=True)
class Shard:
    """A shard that is done: its photos, and the segment of those with a `shard_row`."""

    number: int
    items: Sequence[Loaded | Failed]
    segment: Segment | None

    def vectors(self, rows: Sequence[int]) -> PhotoVectors:
        """Return the vectors of some rows. Raises LibraryDamaged."""
        assert self.segment is not None
        chosen = np.array(rows, np.int64)
        self.segment.check(chosen)
        vectors = self.segment.vectors(chosen)  # (r, 1 + m, D)
        return PhotoVectors(vectors[:, 0], vectors[:, 1:], self.segment.members.sets(chosen))


def write_shard(
    plan: ShardPlan,
    number: int,
    items: Sequence[Loaded | Failed],
    vectors: PhotoVectors | None,
) -> None:
    """Write a shard, whole or not at all.

    Args:
        plan: the plan.
        number: of the shard.
        items: its photos; those with a `shard_row` have that row of the vectors.
        vectors: of these.

    Raises:
        PlanError: the disk is full or cannot be written.
    """
    encoded = sorted(
        (item for item in items if isinstance(item, Loaded) and item.shard_row is not None),
        key=lambda item: item.shard_row or 0,
    )
    contents = list(dict.fromkeys(item.content for item in encoded))
    try:
        file = None
        if vectors is not None:
            file = segments.write(plan.segments, vectors, contents, plan.encoding)
        record = {
            "encoding": plan.encoding.fingerprint,
            "segment": file and {"name": file.name, "sha256": file.sha256.hex()},
            "photos": [_as_json(item) for item in items],
        }
        write_atomically(plan.record(number), json.dumps(record, indent=0))
    except OSError as error:
        if plan.is_done(number):
            return  # by another worker, at the same time
        raise PlanError(
            f"{plan.folder}: shard {number} cannot be written ({error.strerror}). Free some space "
            "and run the same command again."
        ) from error


def read_shard(plan: ShardPlan, number: int) -> Shard:
    """Return a shard that is done, checked against its digest.

    Raises:
        PlanError: it is not done, damaged, or of another encoding; the text says how to encode it
            again.
    """
    record = plan.record(number)
    try:
        content = read_json(record)
        if content["encoding"] != plan.encoding.fingerprint:
            raise ValueError("it is of another encoding")
        segment = _segment(plan, content["segment"])
        items = [_from_json(entry, plan.root) for entry in content["photos"]]
        _check_rows(items, segment)
    except (*NOT_A_RECORD, OSError, PlanError, LibraryDamaged) as error:
        raise PlanError(
            f"{record}: shard {number} is damaged ({error}). Delete this file and run `mkt encode "
            f"run {plan.folder} --shards {number}`."
        ) from error
    return Shard(number, items, segment)


def _segment(plan: ShardPlan, entry: Any) -> Segment | None:
    if entry is None:
        return None
    path = plan.segments / bare_name(entry["name"])
    if digest(path).hex() != entry["sha256"]:
        raise ValueError(f"the bytes of {path.name} have changed")
    return open_segment(path, plan.encoding)


def _check_rows(items: Sequence[Loaded | Failed], segment: Segment | None) -> None:
    """Raise ValueError unless the vectors of every photo are those of its bytes."""
    for item in items:
        if isinstance(item, Loaded):
            if segment is None or not 0 <= (item.shard_row or 0) < len(segment):
                raise ValueError(f"there are no vectors of {item.file.path}")
            if segment.content[item.shard_row].tobytes().hex() != item.content:
                raise ValueError(f"the vectors of {item.file.path} are of another photo")


def _as_json(item: Loaded | Failed) -> dict[str, Any]:
    file = item.file
    entry: dict[str, Any] = {"path": file.path, "size": file.size, "mtime_ns": file.mtime_ns}
    entry["content"] = item.content
    if isinstance(item, Failed):
        return entry | {"failed": item.reason}
    assert item.facts is not None
    facts = {name: value for name, value in asdict(item.facts).items() if value is not None}
    if item.facts.taken_at is not None:
        facts["taken_at"] = item.facts.taken_at.isoformat()
    small = item.miniature and base64.b64encode(item.miniature).decode("ascii")
    return entry | {"row": item.shard_row, "facts": facts, "miniature": small}


def _from_json(entry: dict[str, Any], root: Path) -> Loaded | Failed:
    path, content = entry["path"], entry["content"]
    if not is_inside(path):
        raise ValueError(f"{path!r} is not a path inside the folder of the photos")
    if content is not None and len(bytes.fromhex(content)) != segments.SHA256_BYTES:
        raise ValueError(f"{content!r} is not a SHA-256")
    file = PhotoFile(
        root, path, root / text_to_path(path), _whole(entry["size"]), _whole(entry["mtime_ns"])
    )
    if "failed" in entry:
        return Failed(file, str(entry["failed"]), content)
    facts = dict(entry["facts"])
    if "taken_at" in facts:
        facts["taken_at"] = datetime.fromisoformat(facts["taken_at"])
    if content is None:
        raise ValueError(f"{path!r} has no SHA-256")
    small = entry["miniature"]
    miniature = None if small is None else base64.b64decode(small, validate=True)
    return Loaded(file, content, None, PhotoFacts(**facts), miniature, _whole(entry["row"]))


def _whole(value: object) -> int:
    if not isinstance(value, int) or not -INT64_MAX <= value <= INT64_MAX:
        raise ValueError(f"{value!r} is not a whole number")
    return value
