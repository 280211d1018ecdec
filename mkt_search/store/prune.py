"""Delete what no photo needs any more."""

from mkt_search.store.records import PruneReport
from mkt_search.store.store import Store


def prune(store: Store, *, dry_run: bool = False) -> PruneReport:
    """Delete missing photos with their tags, and vectors, contents and labels without a photo.

    A segment goes with its last vector. The photos' files are never touched. Only the writer may
    call this, unless it is a dry run.
    """
    report, unused = store.vectors.prune(dry_run=dry_run)
    store.delete_files(unused)
    return report
