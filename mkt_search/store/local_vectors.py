"""`LocalVectorStore`: the vectors of one encoding in segment files of a library's folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from mkt_search.errors import LibraryDamaged
from mkt_search.portable import remove
from mkt_search.store.disk import disk_errors
from mkt_search.store.manifest import CandidateIndex, Manifest, StoredEncoding, StoredFile
from mkt_search.store.segments import segment as segments
from mkt_search.types import PhotoVectors

if TYPE_CHECKING:
    from mkt_search.store.snapshot import LocalSnapshot


class LocalFiles(Protocol):
    """What of a library its vectors need: where files are, and what the catalog says of them."""

    @property
    def directory(self) -> Path:
        """The library's folder."""

    @property
    def folder(self) -> Path:
        """Where segments are."""

    @property
    def index_folder(self) -> Path:
        """Where candidate indexes are; it need not exist."""

    def revision(self) -> int:
        """Return a number that grows with every change of what a search could find."""

    def manifest(self, encoding_id: int, *, since: int | None = None) -> Manifest:
        """Return the segments and live vectors of an encoding, or what changed of them."""

    def content_sha256s(self, content_ids: Sequence[int]) -> dict[int, bytes]:
        """Return the SHA-256 of contents; those that are gone are left out."""

    def candidate_index(self, stored: StoredEncoding) -> CandidateIndex | None:
        """Return the candidate index of an encoding."""


class LocalVectorStore:
    """Adds vectors as segment files, and gives snapshots that read them; threads may share it."""

    def __init__(self, files: LocalFiles, stored: StoredEncoding) -> None:
        """Take the vectors of one encoding.

        Args:
            files: the library.
            stored: the encoding.
        """
        self.stored = stored
        self._files = files
        self._snapshot: LocalSnapshot | None = None
        self._lock = Lock()

    def add(self, vectors: PhotoVectors, contents: Sequence[str]) -> StoredFile:
        """Write a segment, whole on disk; see `VectorStore.add`."""
        with disk_errors(self._files.directory):
            return segments.write(
                self._files.folder,
                vectors,
                contents,
                self.stored.encoding,
                prefix=f"{self.stored.id}-",
            )

    def remove(self, segments: Iterable[str]) -> None:
        """Delete segment files; missing ones are ignored."""
        for name in segments:
            remove(self._files.folder / name)

    def snapshot(self) -> "LocalSnapshot":
        """Return the vectors as they are now; it shares with the last one what did not change.

        Raises:
            LibraryDamaged: a segment is missing or damaged, or a rebuild replaced the encoding.
        """
        with self._lock:
            while True:
                revision = self._files.revision()
                try:
                    self._snapshot = self._newest()
                    return self._snapshot
                except LibraryDamaged:
                    if self._files.revision() == revision:
                        raise
                    # else a writer replaced segments while they were opened

    def _newest(self) -> "LocalSnapshot":
        if self._snapshot is not None:
            return self._snapshot.renewed()
        from mkt_search.store.snapshot import LocalSnapshot  # loads FAISS, which `add` spares

        return LocalSnapshot.open(self._files, self.stored)
