"""Delete what no photo needs any more."""

from mkt_search.errors import StoreError
from mkt_search.store.disk import is_full
from mkt_search.store.records import PruneReport
from mkt_search.store.store import Store


def prune(store: Store, *, dry_run: bool = False) -> PruneReport:
    """Delete missing photos with their tags, and vectors, contents and labels without a photo.

    A segment goes with its last vector. The photos' files are never touched. On a full disk, the
    candidate indexes go as well; the next `mkt index` builds one again. Only the writer may call
    this, unless it is a dry run.
    """
    try:
        report, unused = store.vectors.prune(dry_run=dry_run)
    except StoreError:
        if dry_run or not is_full(store.directory):
            raise
        # The transaction needs room. A kill before it leaves segments missing that only missing
        # photos need; the next `mkt prune` or `mkt repair` then deletes their rows.
        store.delete_files(store.vectors.prunable_files())
        report, unused = store.vectors.prune()
        for stored in store.encodings():
            store.delete_candidate_index(stored)
    store.delete_files(unused)
    return report
