"""The current state of a library: vectors, model and label vectors, and searches over them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from threading import Lock, RLock

import numpy as np
from numpy.typing import NDArray

from mkt_search.arguments import PhotoName
from mkt_search.calibration import file as calibrators
from mkt_search.calibration.calibrator import Stamp
from mkt_search.calibration.quality import BEST
from mkt_search.errors import LibraryDamaged, LibraryNotFound, PhotoNotFound, QueryError
from mkt_search.models.build import Model, locate
from mkt_search.models.label_file import LabelFile, read_label_file
from mkt_search.models.label_table import LabelTable
from mkt_search.models.record import RecordedModel
from mkt_search.progress import ProgressCallback
from mkt_search.scoring import mean_of_views, score_similarities, unit
from mkt_search.search.feedback import AdaptedQuery, adapt
from mkt_search.search.hits import hits_of
from mkt_search.search.label_vectors import LabelVectors
from mkt_search.search.library_model import LibraryModel
from mkt_search.search.probability import Probability, Wanted, search_by_p
from mkt_search.search.regions import Region, regions_of
from mkt_search.search.search import Explanation, Found, search
from mkt_search.settings.config import Config
from mkt_search.store.catalog import Catalog
from mkt_search.store.interfaces import ContentIds, Snapshot, VectorStore, WeightedQuery
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.records import PhotoRecord
from mkt_search.store.store import Store
from mkt_search.types import (
    NO_FILTERS,
    Feedback,
    Filters,
    Hit,
    ImageSpec,
    LabelEncoder,
    Term,
    Vector,
)

LIKENESS = "Likeness to a photo has no probability; leave out --precision and --min-p."
TRIED = 12  # labels that are searched for, to find which of them a library shows


class LibraryReader:
    """Reads a library for any number of threads; each call sees what is committed by then.

    Args:
        store: the library.
        config: its settings.
        model: a checkpoint folder or open_clip name to use instead of the recorded one.
    """

    def __init__(self, store: Store, config: Config, *, model: str | None = None) -> None:
        self._store = store
        self._config = config
        self._models = LibraryModel(store, model)
        self._vectors: VectorStore | None = None
        self._snapshot: Snapshot | None = None
        self._calibrator: tuple[tuple[object, ...], calibrators.Found] | None = None
        self._lock = RLock()  # of the snapshot
        self._labels_lock = Lock()  # encoding a label takes long, and is no reason not to search

    @cached_property
    def _labels(self) -> LabelVectors:
        """The label vectors; a faulty file of labels is no reason not to index."""
        return LabelVectors(self._store.catalog, self.label_file)

    @cached_property
    def label_file(self) -> LabelFile:
        """What `labels.toml` says of labels. Raises ConfigError."""
        return read_label_file(self._config.model.label_file)

    def named(self, filters: Filters) -> Filters:
        """Return filters that name the label of a tag, where they name a synonym of it."""
        if filters.tag is None:
            return filters
        return replace(filters, tag=self.label_file.name(filters.tag))

    def close(self) -> None:
        """Release the vectors in memory."""
        self._vectors = self._snapshot = None

    def stored(self) -> StoredEncoding:
        """Return the encoding that is searched.

        Raises:
            LibraryNotFound: the library has no photos yet.
            CheckpointMismatch: its vectors have a form that is no longer read.
        """
        stored = self._store.active
        if stored is None:
            raise LibraryNotFound(
                f"The library in {self._store.directory} has no photos yet. Run `mkt index FOLDER`."
            )
        stored.check_in_use()
        return stored

    def snapshot(self) -> Snapshot:
        """Return the vectors as they are now. Raises LibraryDamaged, LibraryNotFound."""
        with self._lock:
            return self._snapshot_now()

    def _snapshot_now(self) -> Snapshot:
        revision = self._store.revision()
        if self._snapshot is not None and self._snapshot.facts.revision == revision:
            return self._snapshot
        stored = self.stored()
        if self._vectors is None or self._vectors.stored.id != stored.id:
            self._vectors = self._store.vector_store(stored)
        try:
            self._snapshot = self._vectors.snapshot()
        except LibraryDamaged:
            if self._store.revision() == revision:
                raise
            return self._snapshot_now()  # a rebuild replaced the encoding meanwhile
        return self._snapshot

    # The model

    def use_recorded_model(self) -> None:
        """Use the model that the library records, whatever was named before."""
        self._models = LibraryModel(self._store)

    def model(self) -> Model:
        """Return the model of the vectors, opened no more than needed.

        Raises:
            CheckpointMismatch, ModelError.
        """
        with self._lock:
            return self._models.of(self._snapshot.facts.stored if self._snapshot else self.stored())

    def stamp(self) -> Stamp:
        """Return what decides the scores of the library. Raises as `model`."""
        return Stamp.of(self.stored().encoding, self._encoder(self.model()).fingerprint)

    def calibrator(self) -> calibrators.Found:
        """Return the calibrator of the scores: the library's own, else that of its checkpoint."""
        folders = [self._store.directory, Path(locate(self.model().name)).expanduser()]
        files = [folder / calibrators.FILE for folder in folders]
        stamp = self.stamp()
        state = (stamp, *map(_state, files))
        if self._calibrator is None or self._calibrator[0] != state:
            self._calibrator = (
                state,
                calibrators.find(folders, lambda found: found.difference(stamp)),
            )
        return self._calibrator[1]

    def label_vectors(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) unit vectors of labels. Raises UnknownLabel."""
        return self._label_vectors(labels, self.model())

    def known_labels(self, labels: Sequence[str]) -> list[str]:
        """Return the labels of which the label encoder, which is opened, has a vector."""
        model = self.model()
        encoder = self._encoder(model.opened if isinstance(model, RecordedModel) else model)
        if isinstance(encoder, LabelTable):
            return [label for label in labels if label in encoder]
        return list(labels)

    def vocabulary_vectors(
        self, labels: Sequence[str], snapshot: Snapshot, progress: ProgressCallback
    ) -> Vector:
        """Return (L, D) as `label_vectors` does, but keep none of them in memory."""
        encoder = self._encoder(self._models.of(snapshot.facts.stored))
        return self._labels.of_vocabulary(labels, encoder, progress)

    def known_vectors(
        self, labels: Sequence[str], snapshot: Snapshot, progress: ProgressCallback
    ) -> tuple[list[str], Vector]:
        """Return the labels of a vocabulary that the model knows, and their vectors (L, D)."""
        encoder = self._encoder(self._models.of(snapshot.facts.stored))
        return self._labels.known(labels, encoder, progress)

    def _label_vectors(self, labels: Sequence[str], model: Model) -> Vector:
        with self._labels_lock:
            return self._labels.of(labels, self._encoder(model))

    def _encoder(self, model: Model) -> LabelEncoder:
        return model.label_encoder(self._config.model.templates)

    # Photos and queries

    def photo(self, path: PhotoName) -> PhotoRecord:
        """Return a photo by its path or id. Raises PhotoNotFound if it is not in the library."""
        if isinstance(path, int):
            return self.photos([path])[0]
        absolute = Path(path).absolute()
        in_folder = absolute.parent.resolve() / absolute.name  # the file may be a link itself
        for candidate in dict.fromkeys((absolute, absolute.resolve(), in_folder)):
            found = self._store.catalog.photo_at(candidate)
            if found is not None:
                return found
        raise PhotoNotFound(f"{path} is not in the library. Add it with `mkt index`.")

    def photos(self, names: Sequence[PhotoName]) -> list[PhotoRecord]:
        """Return photos by paths or ids, each once. Raises PhotoNotFound if one is not there."""
        ids = [name for name in dict.fromkeys(names) if isinstance(name, int)]
        found = self._store.catalog.photos_of_ids(ids)
        for id_ in ids:
            if id_ not in found:
                raise PhotoNotFound(
                    f"There is no photo {id_} in the library. It may have been removed since."
                )
        by_path = (self.photo(name) for name in names if not isinstance(name, int))
        return list({photo.id: photo for photo in (*found.values(), *by_path)}.values())

    def search(
        self,
        terms: Sequence[Term],
        *,
        k: int,
        filters: Filters,
        recall: float,
        boxes: bool = True,
        wanted: Wanted | None = None,
        explanation: Explanation,
    ) -> list[Hit]:
        """Return the k best photos for a weighted sum of terms, best first.

        Args:
            terms: labels and photos, each once.
            k: hits wanted.
            filters: conditions every hit must meet.
            recall: share of the best photos that a candidate index must find.
            boxes: compute where in each photo the local part comes from.
            wanted: of the probability of hits, instead of k.
            explanation: receives the plan of the search and the time of each step.
        """
        weights = np.array([term.weight for term in terms], np.float32)  # (T,)
        label: Vector | None = None
        spec: ImageSpec | None = None
        while True:
            with explanation.step("open"):
                snapshot = self.snapshot()
            with explanation.step("label vectors"):
                vectors = self._term_vectors(terms, snapshot)  # (T, D)
                if boxes:
                    spec = self._models.of(snapshot.facts.stored).image
            with explanation.step("calibrator"):
                calibrator = self._calibrator_for(terms)
                explanation.no_p = calibrator.why if calibrator.is_unusable else ""
            with self._store.catalog.at_one_time() as catalog:
                if catalog.revision() != snapshot.facts.revision:
                    continue  # a writer has committed in between
                with explanation.step("judgements"):
                    adapted = self._adapted(
                        catalog, terms, WeightedQuery(vectors, weights), snapshot, calibrator
                    )
                    explanation.judged = adapted.judged
                if boxes:
                    label = adapted.query.labels[int(np.argmax(weights))]  # the strongest
                with explanation.step("filter"):
                    allowed = _allowed(catalog, filters)
                best = partial(
                    _search_for,
                    adapted,
                    snapshot,
                    allowed=allowed,
                    recall=recall,
                    explanation=explanation,
                )
                found, p = _found(adapted, snapshot, best, calibrator, k, wanted, explanation)
                with explanation.step("photos and boxes"):
                    return hits_of(catalog, snapshot, found, filters, label=label, spec=spec, p=p)

    def hits_of_label(self, label: Vector, content_ids: ContentIds) -> list[Hit]:
        """Return photos as hits for a label vector (D,), in this order; without those gone since.

        Raises:
            CheckpointMismatch, LibraryDamaged, ModelError.
        """
        query = WeightedQuery(label[None], np.ones(1, np.float32))
        calibrator = self.calibrator().calibrator
        while True:
            snapshot = self.snapshot()
            with self._store.catalog.at_one_time() as catalog:
                if catalog.revision() != snapshot.facts.revision:
                    continue  # a writer has committed in between
                live = content_ids[np.isin(content_ids, snapshot.content_ids(content_ids))]
                products, counts = snapshot.similarities(live, query.labels)
                k = snapshot.facts.encoding.top_k
                scores = score_similarities(products, counts, k=k)
                found = Found(live, scores.global_scores[:, 0], scores.local_scores[:, 0])
                p = None
                if calibrator is not None:
                    p = Probability.of(calibrator, AdaptedQuery.unchanged(query)).at(
                        snapshot, found
                    )
                spec = self._models.of(snapshot.facts.stored).image
                return hits_of(catalog, snapshot, found, NO_FILTERS, label=label, spec=spec, p=p)

    def regions(self, photo: PhotoName, terms: Sequence[Term]) -> list[Region]:
        """Return where a photo shows each term. Raises QueryError if it has no vectors."""
        record, snapshot = self.photo(photo), self.snapshot()
        vectors = self._term_vectors(terms, snapshot)
        content = snapshot.content_ids(self._content_ids_of(record))
        if not len(content) or record.facts is None:
            raise QueryError(f"{record.path} has no vectors; `mkt status --failed` says why.")
        spec = self._models.of(snapshot.facts.stored).image
        return regions_of(snapshot, content, record, spec, terms, vectors)

    def nearest_shown(
        self, label: str, *, count: int, filters: Filters, recall: float
    ) -> list[str]:
        """Return the remembered labels most like a label that allowed photos do show.

        Of the `TRIED` labels most like it, each is searched for: it is shown if p of its best
        photos says so.

        Raises:
            CalibrationError: there is no calibrator.
        """
        calibrator = self.calibrator().needed()
        vector = self.label_vectors([label])[0]
        nearest = self._labels.nearest(vector, self._encoder(self.model()), TRIED)
        snapshot, allowed = self._allowed(filters)
        shown: list[str] = []
        for text, near in nearest:
            query = WeightedQuery(near[None], np.ones(1, np.float32))
            found = search(snapshot, query, BEST, allowed=allowed, recall=recall)
            probability = Probability.of(calibrator, AdaptedQuery.unchanged(query))
            if probability.match(probability.at(snapshot, found)) == "yes":
                shown.append(text)
            if len(shown) == count:
                break
        return shown

    def feedback(self, label: str) -> Feedback:
        """Return what the judgements for a label come to. Raises UnknownLabel."""
        terms, snapshot, found = [Term(label=label)], self.snapshot(), self.calibrator()
        answers = self._store.catalog.judged([label])
        query = WeightedQuery(self._term_vectors(terms, snapshot), np.ones(1, np.float32))
        adapted = adapt(query, terms, answers, snapshot, found.calibrator)
        given = [*answers.get(label, {}).values()]
        cosine = float(adapted.labels[0] @ adapted.query.labels[0])
        return Feedback(
            label=label,
            yes=sum(given),
            no=len(given) - sum(given),
            used=adapted.judged,
            turned=math.degrees(math.acos(min(cosine, 1.0))) if adapted.judged else 0.0,
            offset=None if found.calibrator is None else float(adapted.offsets[0]),
        )

    def _allowed(self, filters: Filters) -> tuple[Snapshot, ContentIds | None]:
        """Return the vectors as they are now, and what filters allow of them."""
        while True:
            snapshot = self.snapshot()
            with self._store.catalog.at_one_time() as catalog:
                if catalog.revision() == snapshot.facts.revision:
                    return snapshot, _allowed(catalog, filters)

    def _adapted(
        self,
        catalog: Catalog,
        terms: Sequence[Term],
        query: WeightedQuery,
        snapshot: Snapshot,
        calibrator: calibrators.Found,
    ) -> AdaptedQuery:
        """Return a query as judgements of its labels change it."""
        labels = [term.label for term in terms if term.label is not None]
        judgements = catalog.judged(labels) if labels else {}
        return adapt(query, terms, judgements, snapshot, calibrator.calibrator)

    def _calibrator_for(self, terms: Sequence[Term]) -> calibrators.Found:
        """Return the calibrator of a query, or None and the reason."""
        if any(term.label is None for term in terms):
            return calibrators.Found(None, LIKENESS)
        return self.calibrator()

    def _term_vectors(self, terms: Sequence[Term], snapshot: Snapshot) -> Vector:
        """Return (T, D), one unit vector a term."""
        labels = [term.label for term in terms if term.label is not None]
        by_label = {}
        if labels:
            vectors = self._label_vectors(labels, self._models.of(snapshot.facts.stored))
            by_label = dict(zip(labels, vectors, strict=True))
        return np.stack(
            [
                by_label[term.label]
                if term.label is not None
                else self._photo_vector(term, snapshot)
                for term in terms
            ]
        )

    def _photo_vector(self, term: Term, snapshot: Snapshot) -> Vector:
        """Return the unit global vector (D,) of a photo, stored or else encoded now."""
        assert term.photo is not None
        try:
            record = self.photo(term.photo)
        except QueryError:
            return self._encoded(term.photo, snapshot)
        stored = snapshot.content_ids(self._content_ids_of(record))
        if not len(stored):
            return self._encoded(term.photo, snapshot)
        return unit(snapshot.vectors(stored).vectors[0, 0])

    def _content_ids_of(self, record: PhotoRecord) -> ContentIds:
        """Return the content id (1,) of a photo, (0,) if it has none."""
        if record.content is None:
            return np.empty(0, np.int64)
        ids = self._store.catalog.content_ids_of([record.content])
        return np.array(list(ids.values()), np.int64)

    def _encoded(self, path: Path, snapshot: Snapshot) -> Vector:
        from mkt_search.search.score_photo import encode_photo  # imports an image library

        model = self._models.of(snapshot.facts.stored)
        return mean_of_views(encode_photo(path, model, self._config).global_vectors)


def _state(file: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None if there is none."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _allowed(catalog: Catalog, filters: Filters) -> ContentIds | None:
    """Return the content ids that meet the filters; None if there are no filters."""
    if filters.is_empty:
        return None
    return np.array(catalog.matching_content_ids(filters), np.int64)


def _search_for(
    adapted: AdaptedQuery,
    snapshot: Snapshot,
    k: int,
    *,
    allowed: ContentIds | None,
    recall: float,
    explanation: Explanation,
) -> Found:
    """Return the k best allowed photos that nobody refused."""
    found = search(
        snapshot,
        adapted.query,
        k + len(adapted.refused),
        allowed=allowed,
        recall=recall,
        explanation=explanation,
    )
    if not len(adapted.refused):
        return found
    kept = np.flatnonzero(~np.isin(found.content_ids, adapted.refused))
    return found.at(kept[:k])


def _found(
    adapted: AdaptedQuery,
    snapshot: Snapshot,
    best: Callable[[int], Found],
    calibrator: calibrators.Found,
    k: int,
    wanted: Wanted | None,
    explanation: Explanation,
) -> tuple[Found, NDArray[np.float64] | None]:
    """Return the hits that are wanted, else the k best, and their probabilities if known."""
    if wanted is not None:
        probability = Probability.of(calibrator.needed(), adapted)
        found, p, explanation.match = search_by_p(best, probability, snapshot, wanted)
        return found, p
    found = best(k)
    if calibrator.calibrator is None:
        return found, None
    with explanation.step("probabilities"):
        probability = Probability.of(calibrator.calibrator, adapted)
        p = probability.at(snapshot, found)
        if k >= BEST:
            explanation.match = probability.match(p)
    return found, p
