"""MKT search: find and tag photos by any label, also one nobody trained.

from mkt_search import Library

with Library.open("Pictures") as library:
    for hit in library.search("dog + beach", k=10):
        print(hit.score, hit.path)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkt_search.library import Library

__all__ = ["Library"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import `Library` when it is first asked for, so that `mkt --help` stays light."""
    if name == "Library":
        from mkt_search.library import Library

        return Library
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
