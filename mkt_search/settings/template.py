"""Write a `mkt.toml` in which every setting is a comment, so that later defaults still apply."""

import json
import re
from pathlib import Path

from mkt_search.display import printable
from mkt_search.errors import StoreError
from mkt_search.settings.config import documented


def write_settings(file: Path, *, database: str | None = None) -> bool:
    """Write a settings file; one that exists stays as it is.

    Args:
        file: the `mkt.toml` to write.
        database: the database's URL, the only setting that is not a comment.

    Returns:
        Whether the file was written.

    Raises:
        StoreError: the file cannot be written.
    """
    text = commented(documented())
    if database is not None:
        text = text.replace('# database = ""', f"database = {json.dumps(database)}", 1)
    if file.exists():
        return False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except OSError as problem:
        raise StoreError(f"{printable(file)}: cannot be written ({problem.strerror}).") from None
    return True


def refuse_existing(file: Path, *, database: str) -> None:
    """Raise StoreError if a settings file exists, as it cannot be given a database then."""
    if file.exists():
        raise StoreError(
            f"{printable(file)} exists and is not overwritten; write `database = "
            f"{json.dumps(database)}` under [library] in it, then leave out --database."
        )


def commented(text: str) -> str:
    """Turn each `key = value` line of a settings file into a comment."""
    return re.sub(r"^(\w+ = )", r"# \1", text, flags=re.MULTILINE)
