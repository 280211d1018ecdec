"""`mkt init`: make a library."""

import json
import re
from pathlib import Path

import click

from mkt_search.display import printable
from mkt_search.errors import StoreError
from mkt_search.settings import config
from mkt_search.terminal.output import say


@click.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=".")
@click.option(
    "--database",
    metavar="URL",
    show_default="SQLite in the library folder",
    help="Keep the database in PostgreSQL, postgresql+psycopg://USER@HOST/NAME, or in another "
    "SQLite file, sqlite:///FILE; the URL goes into mkt.toml.",
)
def init(folder: Path, database: str | None) -> None:
    """Make a library in DIR, or here.

    It is the folder DIR/.mkt, with DIR/mkt.toml beside it to change settings in. The photos may lie
    anywhere and stay where they are. A library or a mkt.toml that is there already stays as it is.
    """
    from mkt_search.library import Library

    library, settings = folder / config.FOLDER, folder / config.FILE
    there = library.is_dir()
    if database is not None and settings.exists():
        raise StoreError(
            f"{printable(settings)} exists and is not overwritten; write `database = "
            f"{json.dumps(database)}` under [library] in it, then leave out --database."
        )
    Library.create(folder, config=config.load(folder, flags={"library.database": database})).close()
    _write_settings(settings, database)
    say(f"{'found' if there else 'made'} the library {printable(library)}")
    say("Next: `mkt index FOLDER --model CHECKPOINT`, then `mkt search LABEL`.")


def _write_settings(file: Path, database: str | None) -> None:
    """Write every setting as a comment, so that a default that improves later still counts."""
    text = commented(config.documented())
    if database is not None:
        text = text.replace('# database = ""', f"database = {json.dumps(database)}", 1)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        return
    except OSError as problem:
        raise StoreError(f"{printable(file)}: cannot be written ({problem.strerror}).") from None
    say(f"wrote {printable(file)}")


def commented(text: str) -> str:
    """Turn each `key = value` line of a settings file into a comment."""
    return re.sub(r"^(\w+ = )", r"# \1", text, flags=re.MULTILINE)
