"""How tags are chosen, by what is asked now or else by the settings."""

from collections.abc import Mapping
from typing import Any

from mkt_search.settings.config import TagConfig

RULES = ("precision", "min_p", "threshold")


def asked_of_tags(settings: TagConfig, given: Mapping[str, float | None]) -> dict[str, Any]:
    """Return what is asked of tags: of the rules what is given, or else what a setting changes.

    Args:
        settings: [tag] of mkt.toml.
        given: of `RULES`; None is not given.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    if asked:
        return {"top": settings.top, **asked}
    set_ = {name: getattr(settings, name) for name in RULES}
    own = {name: value for name, value in set_.items() if value != getattr(TagConfig(), name)}
    return {"top": settings.top, **own}
