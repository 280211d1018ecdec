"""One fact about an installation, with the way out where something is wrong."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mkt_search.errors import MktError

State = Literal["ok", "absent", "note", "problem"]
"""As it should be; optional and not there; works, but worth knowing; wrong."""


@dataclass(frozen=True)
class Finding:
    """A fact: `what` it is about, its `state`, what was found, and what to do about it ("")."""

    what: str
    state: State
    found: str
    fix: str = ""


def gathered(checks: Iterable[tuple[str, Callable[[], Iterable[Finding]]]]) -> Iterator[Finding]:
    """Yield the findings of named checks; a check that fails is a finding itself."""
    for what, check in checks:
        try:
            yield from check()
        except MktError as problem:
            yield Finding(what, "problem", str(problem))
        except Exception as problem:  # whatever a broken package or machine raises
            yield Finding(what, "problem", f"{type(problem).__name__}: {problem}")
