"""Bring a database to the schema of this version, with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from mkt_search.store.sql.database import translated

PACKAGE = Path(__file__).parent.parent.parent


def migrations_folder() -> Path:
    """Return the folder of migrations: in an installed package, or beside the package."""
    installed = PACKAGE / "migrations"
    return installed if installed.is_dir() else PACKAGE.parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Run the migrations that the database lacks, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with translated(), engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
