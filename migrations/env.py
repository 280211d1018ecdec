"""Alembic's way into the database: the program hands over an open connection.

By hand: `alembic -x url=sqlite:///.mkt/mkt.db current` from the project's folder.
"""

from alembic import context
from sqlalchemy import Connection, create_engine


def run(connection: Connection) -> None:
    """Run the migrations asked for in one transaction; batch mode lets SQLite alter tables."""
    context.configure(connection=connection, target_metadata=None, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise SystemExit("Name the database: alembic -x url=sqlite:///PATH/.mkt/mkt.db COMMAND")
    with create_engine(url).connect() as connection:
        run(connection)
