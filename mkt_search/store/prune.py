"""Delete what no photo needs any more."""

from mkt_search.errors import StoreError
from mkt_search.store.disk import is_full
from mkt_search.store.records import PruneReport
from mkt_search.store.store import Store


def prune(store: Store, *, tagged: bool = False, dry_run: bool = False) -> PruneReport:
    """Delete missing photos, and vectors, contents and labels without a photo.

    A missing photo that a person tagged stays, unless `tagged` is True: it may be in a folder that
    is not indexed yet. A segment goes with its last vector. The photos' files are never touched. On
    a full disk, the candidate indexes go as well; the next `mkt index` builds one again. Only the
    writer may call this, unless it is a dry run.
    """
    try:
        report, unused = store.vectors.prune(tagged=tagged, dry_run=dry_run)
    except StoreError:
        if dry_run or not is_full(store.directory):
            raise
        # The transaction needs room. A kill before it leaves segments missing that only missing
        # photos need; the next `mkt prune` or `mkt repair` then deletes their rows.
        store.delete_files(store.vectors.prunable_files(tagged=tagged))
        report, unused = store.vectors.prune(tagged=tagged)
        for stored in store.encodings():
            store.delete_candidate_index(stored)
    store.delete_files(unused)
    return report
