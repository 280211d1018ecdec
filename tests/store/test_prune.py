"""Pruning keeps what another photo still needs. The contract has the rest."""

from pathlib import Path

from mkt_search.store.checks import verify
from mkt_search.store.prune import prune
from mkt_search.store.records import Batch
from mkt_search.store.store import Store
from tests import made


def test_a_missing_photo_with_a_copy_leaves_the_vectors(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    store = Store.create(tmp_path / ".mkt")
    stored = made.fill(store, root, 2)
    copy = made.photo(root, "copy.jpg", content=made.sha("p000.jpg"))
    store.add(made.location(store, root), stored, Batch([copy]))
    gone = [photo.id for photo in store.catalog.photos() if photo.relative == "p000.jpg"]
    store.catalog.mark_missing(gone)
    report = prune(store)
    assert (report.photos, report.contents, report.segments) == (1, 0, 0)
    assert verify(store) == []
    assert store.catalog.count_live(stored.id) == 2
