"""The methods of `Library` that make, bring up to date and read its map."""

from functools import cached_property

import numpy as np

from mkt_search.errors import MapError, ModelError, QueryError
from mkt_search.models.vocabulary import SHIPPED, Vocabulary, read_vocabulary
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.projection import file as files
from mkt_search.projection import stored as maps
from mkt_search.projection.colours import MapColours, by_membership, by_month, by_score
from mkt_search.projection.plane import LAYING_OUT, check_extra
from mkt_search.projection.shown import MapReader, PhotoMap
from mkt_search.search.reader import LibraryReader
from mkt_search.store.interfaces import Snapshot
from mkt_search.store.store import Store
from mkt_search.store.timeline import Timelines
from mkt_search.types import NO_FILTERS, Filters

VOCABULARY = SHIPPED / "everyday.toml"
"""Names of clusters."""
MAX_TAGS = 500  # that may name clusters, too
NO_MAP = "The library has no map yet. Make one with `mkt map`."
NO_PHOTOS = "The library has no photos to show on a map. Run `mkt index FOLDER`."


class LibraryMap:
    """The map of a library. `Library` inherits these methods and sets the attributes."""

    store: Store
    _reader: LibraryReader
    _timelines: Timelines

    def project(self, *, again: bool = False, progress: ProgressCallback = no_progress) -> PhotoMap:
        """Make the map of the library, or place new photos on the one that it has.

        A sample of at most 20,000 photos is laid out by t-SNE, and the others are placed among
        them. A map of another model, or one that cannot be read, is replaced.

        Args:
            again: replace the map by a new one of the photos of now.
            progress: called as work advances; may raise KeyboardInterrupt to stop, which leaves
                the map as it was.

        Raises:
            MapError: the library has no photos, or openTSNE (extra `map`) is not installed.
            LibraryDamaged, LibraryLocked, LibraryNotFound, StoreError.
        """
        self._reader.stored()
        with self.store.writing("mkt map"), self.store.run("map", {"again": again}) as run:
            snapshot = self._reader.snapshot()
            contents = self._mapped_contents(snapshot)
            if not len(contents.ids):
                raise MapError(NO_PHOTOS)
            old = None if again else self._usable_map(snapshot, progress)
            if old is None:
                check_extra()
                found = maps.project(
                    snapshot,
                    contents,
                    lambda: self._names(snapshot, progress),
                    progress=progress,
                )
            else:
                found = maps.grow(old, snapshot, contents, progress=progress)
            files.save(found, self.store.directory / files.FILE)
            run.summary = {"photos": len(contents.ids), "new_layout": old is None}
        shown = self.map()
        if shown is None:
            raise MapError(NO_MAP)  # somebody deleted it meanwhile
        return shown

    def map(self, *, version: str | None = None) -> PhotoMap | None:
        """Return the map as it was last made, for the photos of now; None if there is none.

        Args:
            version: of a map that was returned before; the last few are kept.

        Raises:
            QueryError: the map of that version is gone.
            MapError: its file is damaged.
            StoreError.
        """
        return self._maps.get(version)

    def map_colours(self, by: str, shown: PhotoMap | None = None) -> MapColours:
        """Return a byte for each point of the map.

        Args:
            by: `month` (0 without a date, 1 the earliest month, 255 the latest), `tag:LABEL` (255
                with the tag, else 0) or `score:LABEL` (0 the lowest score, 255 the highest).
            shown: the map; by default the one of now.

        Raises:
            QueryError: `by` is something else.
            MapError: there is no map.
            UnknownLabel, ModelError, StoreError.
        """
        shown = self.map() if shown is None else shown
        if shown is None:
            raise MapError(NO_MAP)
        kind, _, label = by.partition(":")
        if by == "month":
            return by_month(shown.photo_ids, self._timelines.get(NO_FILTERS))
        if kind == "tag" and label.strip():
            filters = self._reader.named(Filters(tag=label))
            tagged = np.array(self.store.catalog.matching_content_ids(filters), np.int64)
            return by_membership(shown.content_ids, tagged)
        if kind == "score" and label.strip():
            vector = self._reader.label_vectors([label])[0]
            return by_score(shown.content_ids, self._reader.snapshot(), vector)
        raise QueryError("A map is coloured by month, tag:LABEL or score:LABEL; name one of them.")

    @cached_property
    def _maps(self) -> MapReader:
        return MapReader(self.store)

    def _mapped_contents(self, snapshot: Snapshot) -> maps.Contents:
        """Return the contents that have a photo and a vector, by key."""
        found = self.store.catalog.shown_contents()
        order = np.argsort(found.keys, kind="stable")
        keys, ids = found.keys[order], found.content_ids[order]
        is_first = np.diff(keys, prepend=keys[:1] + np.uint64(1)) != 0  # of two equal keys
        return maps.Contents(keys, ids).among(is_first & np.isin(ids, snapshot.content_ids()))

    def _usable_map(self, snapshot: Snapshot, progress: ProgressCallback) -> maps.StoredMap | None:
        """Return the map that there is, if it can be read and is of these vectors."""
        try:
            found = files.load(self.store.directory / files.FILE)
        except MapError as error:
            progress(Progress(LAYING_OUT, message=str(error)))
            return None
        is_usable = found and found.encoding == snapshot.facts.encoding.fingerprint
        return found if is_usable else None

    def _names(self, snapshot: Snapshot, progress: ProgressCallback) -> maps.NamedLabels:
        """Return the labels that name clusters; none if the model cannot be used.

        They are those of a vocabulary that ships, and the tags that most photos have.
        """
        shipped = read_vocabulary(VOCABULARY)
        counts = sorted(self.store.catalog.count_tags(), key=lambda found: -found.photos)
        tags = (found.label for found in counts[:MAX_TAGS] if found.photos)
        labels = Vocabulary(dict.fromkeys([*shipped, *tags]), shipped.about)
        try:
            return self._reader.known_vectors(labels, snapshot, progress)
        except ModelError as error:
            message = f"The clusters of the map get no names. {error}"
            progress(Progress(LAYING_OUT, message=message))
            return [], np.empty((0, snapshot.facts.encoding.dim), np.float32)
