"""Turn a few loaded photos into one commit: encode the new, recognise copies and the renamed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from indexer.load import Failed, Loaded, Loader, nothing_is_stored
from indexer.pooling.pool import pool
from mkt_search.errors import MktError, ModelError
from mkt_search.models.encoder import PhotoEncoder
from mkt_search.store.compact import MANY, compact
from mkt_search.store.records import Copies, FailedPhoto, KnownPhoto, NewPhoto, RootLocation
from mkt_search.store.store import Batch, Store, StoredEncoding
from mkt_search.types import PhotoVectors


@dataclass
class Tally:
    """What commits did so far. `touched` photos had a new time but the bytes they had before."""

    encoded: int = 0
    renamed: int = 0
    copies: int = 0
    touched: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def indexed(self) -> int:
        """Photos that can be found now and could not before, or not as they are now."""
        return self.encoded + self.renamed + self.copies

    @property
    def failed(self) -> int:
        """Photos that could not be read."""
        return self.reasons.total()


@dataclass
class Committer:
    """Commits batches under one encoding, and counts them in `tally`."""

    store: Store
    stored: StoredEncoding
    encoder: PhotoEncoder
    loader: Loader
    tally: Tally = field(default_factory=Tally)
    commits: int = 0

    def commit(
        self, place: RootLocation, known: dict[str, KnownPhoto], items: Iterable[Loaded | Failed]
    ) -> Batch:
        """Encode what is new among `items` and add all of them to the store, in one commit."""
        items = list(items)
        contents = {item.content for item in items if isinstance(item, Loaded)}
        copies = self.store.catalog.copies(contents, self.stored.id)
        items = [self._complete(item, copies) for item in items]
        loaded = [item for item in items if isinstance(item, Loaded)]
        failed = [
            FailedPhoto(item.file, item.reason, item.content)
            for item in items
            if isinstance(item, Failed)
        ]
        photos, pixels = _arrange(loaded, known, copies)
        batch = Batch(photos, failed, self._encode(pixels, photos))
        self.store.add(place, self.stored, batch)
        self.commits += 1
        if self.commits % MANY == 0:
            compact(self.store, self.stored)
        self._count(batch, known)
        return batch

    def _complete(self, item: Loaded | Failed, copies: Copies) -> Loaded | Failed:
        """Decode a photo whose bytes looked stored, but of which too little is left to rely on."""
        if isinstance(item, Failed) or item.pixels is not None:
            return item
        if item.content in copies.encoded and item.content in copies.facts:
            return item
        return replace(self.loader, is_stored=nothing_is_stored).load_one(item.file)

    def _encode(
        self, pixels: Sequence[NDArray[np.uint8]], photos: Sequence[NewPhoto]
    ) -> PhotoVectors | None:
        if not pixels:
            return None
        try:
            encoded = self.encoder.encode(np.stack(pixels))
        except MktError:
            raise
        except Exception as problem:
            raise ModelError(
                f"the student failed on {len(pixels)} photos from {photos[0].file.path} on: "
                f"{problem}. What was committed before is safe. If memory ran out, try a smaller "
                "--batch-size; else --device cpu or --dtype float32."
            ) from problem
        return pool(encoded, self.stored.encoding)

    def _count(self, batch: Batch, known: dict[str, KnownPhoto]) -> None:
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


def _arrange(
    loaded: Sequence[Loaded], known: dict[str, KnownPhoto], copies: Copies
) -> tuple[list[NewPhoto], list[NDArray[np.uint8]]]:
    """Return the rows to write, and the pixels of those whose bytes have no vectors yet."""
    photos: list[NewPhoto] = []
    pixels: list[NDArray[np.uint8]] = []
    rows: set[str] = set()
    renames = _renames([item for item in loaded if item.file.path not in known], copies)
    for item in loaded:
        row = None
        if item.content not in copies.encoded and item.content not in rows:
            assert item.pixels is not None
            row = len(pixels)
            pixels.append(item.pixels)
            rows.add(item.content)
        facts = item.facts if item.facts is not None else copies.facts[item.content]
        renamed = renames.get(item.file.path)
        photos.append(NewPhoto(item.file, item.content, facts, row, renamed))
    return photos, pixels


def _renames(new: Sequence[Loaded], copies: Copies) -> dict[str, int]:
    """Say which vanished photo of the same bytes became which new one; equal names go first."""
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
