"""The query behind the timeline of all photos: plain numbers, read in the order of the table.

Sorting a million rows by an index on the date would look up every row; numpy sorts them sooner.
"""

from itertools import chain
from typing import Any

import numpy as np
from sqlalchemy import Double, Integer, func, select, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from mkt_search.store.sql import changes
from mkt_search.store.sql.columns import impossible
from mkt_search.store.sql.filters import filtered
from mkt_search.store.sql.schema import Photo, Root
from mkt_search.store.timeline import UNDATED, Timeline
from mkt_search.types import Filters

NO_DAY = -1.0  # of a photo without a date; year 1 begins on Julian day 1,721,425.5
JULIAN_1970 = 2_440_587.5
MS_PER_DAY = 86_400_000


class julian_day(FunctionElement[float]):
    """The Julian day of a time, with its fraction; a double has 0.05 ms of it."""

    type = Double()
    inherit_cache = True


@compiles(julian_day, "sqlite")
def _in_sqlite(element: julian_day, compiler: Any, **kw: Any) -> str:
    return f"julianday({compiler.process(element.clauses, **kw)})"


@compiles(julian_day, "postgresql")
def _in_postgresql(element: julian_day, compiler: Any, **kw: Any) -> str:
    seconds = f"extract(epoch FROM {compiler.process(element.clauses, **kw)})"
    return f"({JULIAN_1970} + {seconds}::double precision / 86400)"


_COLUMNS = select(
    type_coerce(Photo.id, Integer), func.coalesce(julian_day(Photo.taken_at), NO_DAY)
).select_from(Photo)


def read(session: Session, filters: Filters) -> Timeline:
    """Return the indexed photos that meet the filters.

    Raises:
        LibraryDamaged: a row has impossible values.
    """
    query = _COLUMNS.where(Photo.state == "indexed").order_by(Photo.id)
    if not filters.is_empty:
        query = filtered(query.join(Root, Root.id == Photo.root_id), filters)
    found: Any = session.connection().execute(query).cursor  # plain tuples: rows take twice as long
    try:
        rows = np.fromiter(chain.from_iterable(found), np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise impossible(error) from error
    ids, days = rows[:, 0].astype(np.int32), rows[:, 1]
    if (ids != rows[:, 0]).any():
        raise impossible("the number of a photo")
    moments = np.rint((days - JULIAN_1970) * MS_PER_DAY).astype(np.int64)
    moments[days == NO_DAY] = UNDATED
    return Timeline.of(changes.revision(session), ids, moments)
