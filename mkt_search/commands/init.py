"""`mkt init`: create a library."""

from pathlib import Path

import click

from mkt_search.display import printable
from mkt_search.settings import config
from mkt_search.settings.template import write_settings
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
    """Create a library in DIR, or here.

    It is the folder DIR/.mkt, with DIR/mkt.toml beside it for settings. The photos can be anywhere
    and stay where they are. A library or mkt.toml that exists is not changed.
    """
    from mkt_search.library import Library

    library, settings = folder / config.FOLDER, folder / config.FILE
    exists, has_settings = library.is_dir(), settings.exists()
    Library.create(folder, database=database).close()
    write_settings(settings)
    if not has_settings:
        say(f"wrote {printable(settings)}")
    say(f"{'found' if exists else 'created'} the library {printable(library)}")
    say("Next: `mkt index FOLDER`, then `mkt search LABEL`.")
