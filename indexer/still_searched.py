"""During a rebuild, encode new and edited photos as the searched ones are, too.

Searches use the old vectors until the last new one is there, which may take days. Without old
vectors too, a photo that came or changed since would not be found until then.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from indexer.commit import Committer, StudentVectors
from indexer.encode import Encoder
from indexer.load import Failed, Loaded, Loader, nothing_is_stored
from mkt_search.errors import ModelError
from mkt_search.progress import INDEXING, Progress, ProgressCallback
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import KnownPhoto, RootLocation
from mkt_search.store.store import Store


@dataclass
class StillSearched:
    """Commits what the searched encoding lacks of a batch.

    Args:
        store: the library.
        searched: its active encoding.
        open_encoder: returns the student of that; called when a photo needs it.
        loader: loads photos for the student of the rebuild.
        progress: receives the reason if the student cannot be opened, and photos are not found
            before the rebuild ends.
    """

    store: Store
    searched: StoredEncoding
    open_encoder: Callable[[StoredEncoding], Encoder]
    loader: Loader
    progress: ProgressCallback
    _student: StudentVectors | None = field(default=None, init=False)
    _is_lost: bool = field(default=False, init=False)

    def commit(
        self,
        location: RootLocation,
        known: Mapping[str, KnownPhoto],
        items: Sequence[Loaded | Failed],
    ) -> None:
        """Encode and commit those of `items` that have no searched vectors. As `Committer.commit`.

        Raises:
            ModelError, StoreError.
        """
        loaded = [item for item in items if isinstance(item, Loaded)]
        contents = {item.content for item in loaded}
        encoded = self.store.catalog.copies(contents, self.searched.id).encoded
        new = [item for item in loaded if item.content not in encoded]
        student = self._open() if new else None
        if student is None:
            return
        if student.loader.spec != self.loader.spec:
            again = student.loader.load([item.file for item in new])
            new = [item for item in again if isinstance(item, Loaded)]
        Committer(self.store, self.searched, student).commit(location, known, new)

    def _open(self) -> StudentVectors | None:
        if self._student is None and not self._is_lost:
            try:
                encoder = self.open_encoder(self.searched)
                loader = replace(self.loader, spec=encoder.spec, is_stored=nothing_is_stored)
                self._student = StudentVectors(encoder, loader, self.searched.encoding)
            except ModelError as problem:
                self._is_lost = True
                message = f"new and edited photos are found when the rebuild is finished: {problem}"
                self.progress(Progress(INDEXING, message=message))
        return self._student
