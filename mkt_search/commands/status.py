"""`mkt status`: the state of the library, and the photos that cannot be read."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mkt_search.commands.open_library import open_library
from mkt_search.display import byte_size, count_noun, printable
from mkt_search.terminal.options import json_option, library_option
from mkt_search.terminal.output import Column, say, show_json, show_table

if TYPE_CHECKING:
    from mkt_search.library import Library
    from mkt_search.store.status import Status
    from mkt_search.types import Encoding

STATUS_COLUMNS = (Column("what"), Column("value"))
REASON_COLUMNS = (Column("path"), Column("reason"))


@click.command(short_help="Show what the library holds.")
@click.option("--failed", is_flag=True, help="List the photos that cannot be read, and why.")
@click.option(
    "--left-out",
    is_flag=True,
    help="List the files and folders that the last `mkt index` left out, and why.",
)
@json_option
@library_option
def status(failed: bool, left_out: bool, as_json: bool, directory: Path | None) -> None:
    """Show what the library holds: photos, tags, the checkpoint, sizes."""
    if failed and left_out:
        raise click.UsageError("--failed and --left-out exclude each other; give one of them.")
    with open_library(directory, {}) as library:
        if failed:
            _show_failed(library, as_json=as_json)
        elif left_out:
            _show_left_out(library, as_json=as_json)
        elif as_json:
            from mkt_search.json_forms import status as status_as_json

            show_json(status_as_json.as_data(library.status()))
        else:
            show_table(STATUS_COLUMNS, _rows(library.status()))


def _show_failed(library: "Library", *, as_json: bool) -> None:
    found = [(photo.path, photo.error or "") for photo in library.photos(state="failed")]
    if _show_reasons(found, as_json=as_json):
        return
    if found:
        say(f"{count_noun(len(found), 'photo')} cannot be read; `mkt index --retry` tries again.")
    else:
        say("Every photo can be read.")


def _show_left_out(library: "Library", *, as_json: bool) -> None:
    found = [(item.path, item.reason) for item in library.left_out()]
    if not _show_reasons(found, as_json=as_json):
        say(f"{count_noun(len(found), 'file or folder', 'files and folders')} left out.")


def _show_reasons(found: Sequence[tuple[Path, str]], *, as_json: bool) -> bool:
    """Print paths and reasons; return whether that was JSON, after which nothing is said."""
    if as_json:
        from mkt_search.json_forms import reasons

        show_json([reasons.as_data(path, reason) for path, reason in found])
    else:
        show_table(REASON_COLUMNS, ((printable(path), reason) for path, reason in found))
    return as_json


def _rows(found: "Status") -> Iterator[tuple[str, str]]:
    yield "library", printable(found.directory)
    yield "photos", _photos(found)
    yield "tags", _tags(found.tags)
    yield "checkpoint", f"{found.encoding.checkpoint} ({found.model})" if found.encoding else "none"
    if found.encoding is not None:
        yield "stored", _stored(found.encoding)
        yield "patch vectors", found.encoding.patch_vectors
    if found.retired:
        yield "retired", f"{found.retired} is no longer read; run `mkt index --rebuild`"
    size = f"{byte_size(found.bytes_segments)} in {count_noun(found.segments, 'segment')}"
    yield "size", f"{size}, database {byte_size(found.bytes_database)}"
    if found.candidate_index is not None:
        known, taken = found.candidate_index.photos, found.candidate_index.bytes
        yield "candidate index", f"{count_noun(known, 'different photo')}, {byte_size(taken)}"
    for root in found.roots:
        absent = "" if root.exists else ", DOES NOT EXIST (moved? `mkt root OLD NEW`)"
        yield "folder", f"{printable(root.path)} ({count_noun(root.photos, 'photo')}{absent})"
    if found.building is not None:
        done, total = found.building
        yield "rebuild", f"{done:,} of {total:,} photos done; `mkt index` continues"
    if found.writer is not None:
        yield "writing now", printable(found.writer)


def _photos(found: "Status") -> str:
    states = ("indexed", "failed", "missing")
    parts = [f"{found.photos.get(state, 0):,} {state}" for state in states]
    return ", ".join((*parts, count_noun(found.duplicates, "duplicate")))


def _tags(counts: dict[str, int]) -> str:
    words = {"auto": "by runs", "human": "by hand", "imported": "imported"}
    parts = [f"{counts[source]:,} {words[source]}" for source in words if counts.get(source)]
    return ", ".join(parts) or "none"


def _stored(encoding: "Encoding") -> str:
    local = "every patch" if encoding.pooling == "all" else f"{encoding.m} local vectors a photo"
    kind = f"{encoding.pooling}, {encoding.precision}, {encoding.dim:,} dimensions"
    return f"{local} ({kind})"
