"""Commit a batch of loaded photos: encode the new ones, recognize copies and renamed photos."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from indexer.edits import find_edits
from indexer.encode import Encoder, encode_batch
from indexer.load import Failed, Loaded, Loader, nothing_is_stored
from mkt_search.photos.dates import dated
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import Batch, Copies, FailedPhoto, KnownPhoto, NewPhoto, RootLocation
from mkt_search.store.store import Store
from mkt_search.types import Encoding, PhotoVectors


@dataclass
class Tally:
    """Counts of committed photos.

    `touched` photos were read and have the same bytes as before; `replaced` pictures that a person
    tagged have gone, because other pictures took their paths; `reasons` counts failures.
    """

    encoded: int = 0
    renamed: int = 0
    copies: int = 0
    touched: int = 0
    replaced: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def indexed(self) -> int:
        """Photos that a search finds from now on, or finds under new vectors or another path."""
        return self.encoded + self.renamed + self.copies

    @property
    def failed(self) -> int:
        """Photos that could not be read."""
        return self.reasons.total()


class VectorSource(Protocol):
    """Where the vectors of new photos come from: the student, or a shard encoded before."""

    def complete(self, item: Loaded) -> Loaded | Failed:
        """Decode a photo that was only hashed."""

    def vectors(self, items: Sequence[Loaded]) -> PhotoVectors | None:
        """Return the pooled vectors of photos, None for no photos. Raises ModelError."""


@dataclass(frozen=True)
class StudentVectors:
    """Decodes and encodes photos here and now, by the student."""

    encoder: Encoder
    loader: Loader
    encoding: Encoding

    def complete(self, item: Loaded) -> Loaded | Failed:
        """Decode a photo that was only hashed."""
        return replace(self.loader, is_stored=nothing_is_stored).load_one(item.file)

    def vectors(self, items: Sequence[Loaded]) -> PhotoVectors | None:
        """Return the pooled vectors of photos, None for no photos. Raises ModelError."""
        views = [item.views for item in items if item.views is not None]
        files = [item.file.absolute for item in items]
        return encode_batch(self.encoder, views, self.encoding, files=files)


@dataclass
class Committer:
    """Commits batches under one encoding and counts them in `tally`."""

    store: Store
    stored: StoredEncoding
    source: VectorSource
    tally: Tally = field(default_factory=Tally)

    def commit(
        self,
        location: RootLocation,
        known: Mapping[str, KnownPhoto],
        items: Sequence[Loaded | Failed],
    ) -> Batch:
        """Encode what is new among `items` and add all of them to the store, in one commit.

        Args:
            location: the registered root that their paths are relative to.
            known: the rows of the root's photos, by path.
            items: photos of one batch.

        Returns:
            What was committed; photos that are as their rows say are not part of it.

        Raises:
            ModelError, StoreError: nothing of the batch was committed.
        """
        contents = {item.content for item in items if isinstance(item, Loaded)}
        copies = self.store.catalog.copies(contents, self.stored.id)
        items = [self._complete(item, copies) for item in items]
        loaded = [
            item
            for item in items
            if isinstance(item, Loaded) and not _is_as_recorded(item, known.get(item.file.path))
        ]
        failed = [
            FailedPhoto(item.file, item.reason, item.content)
            for item in items
            if isinstance(item, Failed)
        ]
        edits = find_edits(self.store.catalog, loaded, known)
        photos, new = _arrange(loaded, known, copies, edits)
        batch = Batch(photos, failed, self.source.vectors(new))
        if batch.photos or batch.failed:
            self.store.add(location, self.stored, batch)
        self.tally.touched += len(items) - len(loaded) - len(failed)
        self._count(batch, known)
        return batch

    def _complete(self, item: Loaded | Failed, copies: Copies) -> Loaded | Failed:
        """Decode a photo that was only hashed, if the library lacks anything of its content."""
        if isinstance(item, Failed) or not item.is_only_hashed:
            return item
        has_facts = item.content in copies.facts and item.content in copies.miniatures
        if item.content in copies.encoded and has_facts:
            return item
        return self.source.complete(item)

    def _count(self, batch: Batch, known: Mapping[str, KnownPhoto]) -> None:
        for photo in batch.photos:
            before = known.get(photo.file.path)
            if photo.row is not None:
                self.tally.encoded += 1
            elif before is not None and before.has_vectors and before.content == photo.content:
                self.tally.touched += 1
            elif photo.renames is None:
                self.tally.copies += 1
            self.tally.renamed += photo.renames is not None and photo.row is None
        self.tally.reasons.update(photo.reason for photo in batch.failed)


def _is_as_recorded(item: Loaded, row: KnownPhoto | None) -> bool:
    """Return True for a photo that was only hashed, and of which everything is recorded."""
    return (
        item.is_only_hashed
        and row is not None
        and row.state == "indexed"
        and row.has_vectors
        and (row.content, row.size, row.mtime_ns)
        == (item.content, item.file.size, item.file.mtime_ns)
    )


def _arrange(
    loaded: Sequence[Loaded],
    known: Mapping[str, KnownPhoto],
    copies: Copies,
    edits: Collection[str],
) -> tuple[list[NewPhoto], list[Loaded]]:
    """Return the rows to write, and the photos whose contents have no vectors yet."""
    photos: list[NewPhoto] = []
    new: list[Loaded] = []
    encoded: set[str] = set()
    renames = _renames([item for item in loaded if item.file.path not in known], copies)
    for item in loaded:
        row = None
        if item.content not in copies.encoded and item.content not in encoded:
            row = len(new)
            new.append(item)
            encoded.add(item.content)
        facts = item.facts if item.facts is not None else copies.facts[item.content]
        photos.append(
            NewPhoto(
                item.file,
                item.content,
                dated(facts, item.file),
                row,
                renames=renames.get(item.file.path),
                is_edit=item.file.path in edits,
                miniature=item.miniature,
            )
        )
    return photos, new


def _renames(new: Sequence[Loaded], copies: Copies) -> dict[str, int]:
    """Match new photos with vanished ones of the same bytes; those of the same name go first."""
    vanished = {content: list(missing) for content, missing in copies.missing.items()}
    chosen: dict[str, int] = {}
    for same_name in (True, False):
        for item in new:
            rest = vanished.get(item.content, [])
            fit = [one for one in rest if not same_name or _name(one[1]) == _name(item.file.path)]
            if fit and item.file.path not in chosen:
                chosen[item.file.path] = fit[0][0]
                rest.remove(fit[0])
    return chosen


def _name(path: str) -> str:
    return path.rpartition("/")[2]
