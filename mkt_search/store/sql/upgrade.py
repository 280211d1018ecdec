"""Bring a database to the schema of this version, with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine

from mkt_search.store.sql import checksums
from mkt_search.store.sql.database import translated
from mkt_search.store.sql.schema import HEAD

PACKAGE = Path(__file__).parent.parent.parent


def migrations_folder() -> Path:
    """Return the folder of migrations: in an installed package, or beside the package."""
    installed = PACKAGE / "migrations"
    return installed if installed.is_dir() else PACKAGE.parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Run the migrations that the database lacks, in one transaction.

    If there are any, every row then gets a new checksum, because rows have other columns.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with translated(), engine.begin() as connection:
        config.attributes["connection"] = connection
        before = MigrationContext.configure(connection).get_current_revision()
        command.upgrade(config, "head")
        if before != HEAD:
            checksums.set_all(connection)
