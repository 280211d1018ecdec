"""Bring a database to the schema this program knows, through Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from mkt_search.store.sql.database import translated

PACKAGE = Path(__file__).parent.parent.parent


def migrations_folder() -> Path:
    """Return the numbered migrations: inside an installed package, else beside it in a checkout."""
    installed = PACKAGE / "migrations"
    return installed if installed.is_dir() else PACKAGE.parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Run every migration the database does not have yet, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with translated(), engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
