"""Whether this thread may download now, and where that is reported. Light to import."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from mkt_search.progress import ProgressCallback


@dataclass(frozen=True)
class DownloadPolicy:
    """`offline` forbids downloads; `progress` receives their events, and None is the log."""

    offline: bool = False
    progress: ProgressCallback | None = None


_DEFAULT = DownloadPolicy()
_policy: ContextVar[DownloadPolicy] = ContextVar("downloads", default=_DEFAULT)


@contextmanager
def downloads(*, progress: ProgressCallback, offline: bool = False) -> Iterator[None]:
    """Report downloads to `progress` while the block runs; `offline` forbids them."""
    token = _policy.set(DownloadPolicy(offline, progress))
    try:
        yield
    finally:
        _policy.reset(token)


def download_policy() -> DownloadPolicy:
    """Return the policy of the blocks around; by default a download is announced in the log."""
    return _policy.get()
