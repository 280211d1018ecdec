"""One object for a photo library: index folders, search, tag, evaluate, maintain.

from mkt_search import Library

with Library.create("Pictures") as library:
    library.index(model="ViT-B-16/openai")
    for hit in library.search("dog + beach - person", k=10):
        print(f"{hit.score:.3f}", hit.path)
    library.tag(["dog", "beach", "snow"], top=2)
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from mkt_search.arguments import PhotoName, as_paths, refuse_text, refuse_unknown
from mkt_search.errors import QueryError, StoreError
from mkt_search.library_evaluation import LibraryEvaluation
from mkt_search.library_feedback import LibraryFeedback
from mkt_search.library_map import LibraryMap
from mkt_search.library_review import LibraryReview
from mkt_search.library_shards import LibraryShards
from mkt_search.models.build import Model
from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.search import query as queries
from mkt_search.search.probability import Wanted
from mkt_search.search.reader import LibraryReader
from mkt_search.search.search import Explanation
from mkt_search.settings.config import FILE, FOLDER, Config, find_library, load, named_library
from mkt_search.settings.override import (
    IndexSettings,
    override,
    setting_names,
)
from mkt_search.settings.template import refuse_existing, write_settings
from mkt_search.store import checks
from mkt_search.store.checks import Problem
from mkt_search.store.compact import CompactionPolicy, compact
from mkt_search.store.interfaces import Snapshot
from mkt_search.store.optimize import Optimized, optimize
from mkt_search.store.prune import prune
from mkt_search.store.records import PhotoRecord, PruneReport, RunInfo
from mkt_search.store.status import Status, status
from mkt_search.store.store import Store
from mkt_search.store.timeline import Timeline, Timelines
from mkt_search.types import (
    NO_FILTERS,
    Filters,
    Hit,
    LeftOut,
    RepairSummary,
    Summary,
    Term,
    Vector,
)

if TYPE_CHECKING:
    from mkt_search.search.completion import LabelHint
    from mkt_search.search.regions import Region
    from mkt_search.search.score_photo import Fuse, LabelScore

STATES = ("indexed", "failed", "missing")


class Library(LibraryReview, LibraryFeedback, LibraryMap, LibraryEvaluation, LibraryShards):
    """A photo library: `open` or `create` one, then index, search, tag and iterate over its photos.

    Another process may write while this one reads; what it commits is found by the next call.
    Use it as a context manager, or `close` it. Several threads may search one library at once.
    """

    def __init__(self, store: Store, config: Config, *, model: str | None = None) -> None:
        self.store = store
        self.config = config
        self._reader = LibraryReader(store, config, model=model or config.model.checkpoint or None)
        self._timelines = Timelines(store.catalog.timeline, store.catalog.revision)

    @classmethod
    def create(
        cls,
        directory: Path | str,
        *,
        database: str | None = None,
        config: Config | None = None,
    ) -> Self:
        """Create a library in `directory`/.mkt, or open the one that is there.

        Args:
            directory: the folder to hold `.mkt`, usually the one with the photos.
            database: the database's URL, which is written to `directory`/mkt.toml; by default
                SQLite in the library folder.
            config: settings; by default those of the environment and the nearest `mkt.toml`.

        Raises:
            StoreError: the folder cannot be written, or `mkt.toml` exists and cannot get the URL.
        """
        place = Path(directory).expanduser()
        place = place if place.name == FOLDER else place / FOLDER
        settings = override(config or load(place.parent), {"library.database": database})
        if database is not None:
            refuse_existing(place.parent / FILE, database=database)
        try:
            store = Store.create(place, url=settings.library.database or None)
        except OSError as error:
            raise StoreError(f"Cannot create a library in {place}: {error.strerror}.") from error
        if database is not None:
            write_settings(place.parent / FILE, database=database)
        return cls(store, settings)

    @classmethod
    def open(
        cls,
        directory: Path | str | None = None,
        *,
        model: Path | str | None = None,
        config: Config | None = None,
        check: bool = True,
    ) -> Self:
        """Open a library.

        Args:
            directory: the library's folder or the one it is in; None looks upward from the current
                folder.
            model: a checkpoint folder or open_clip name, if the model is not where it was.
            config: settings; by default those of the environment and the nearest `mkt.toml`.
            check: refuse a database of another schema; only `migrate` can work with one.

        Raises:
            LibraryNotFound, SchemaOutdated.
        """
        if directory is None:
            place = find_library(Path.cwd())
        else:
            place = named_library(Path(directory).expanduser())
        settings = config or load(place.parent)
        store = Store.open(place, url=settings.library.database or None, check=check)
        return cls(store, settings, model=None if model is None else str(model))

    def close(self) -> None:
        """Close the database and release the vectors; every later call raises StoreError."""
        self._reader.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def directory(self) -> Path:
        """The library's folder."""
        return self.store.directory

    # Photos

    def __len__(self) -> int:
        """Return how many photos a search can find."""
        return self.store.catalog.count_indexed()

    def __iter__(self) -> Iterator[PhotoRecord]:
        """Yield the photos that a search can find, in the order of their paths."""
        return self.photos(state="indexed")

    def photos(
        self, *, state: str | None = None, filters: Filters = NO_FILTERS
    ) -> Iterator[PhotoRecord]:
        """Yield photos in the order of their paths.

        Args:
            state: only "indexed", "failed" or "missing" photos.
            filters: conditions on the photos.

        Raises:
            QueryError: there is no such state.
        """
        refuse_unknown("state", state, STATES)
        return self.store.catalog.photos(state=state, filters=self._reader.named(filters))

    def photo(self, path: PhotoName) -> PhotoRecord:
        """Return a photo by its path or id. Raises PhotoNotFound if it is not in the library."""
        return self._reader.photo(path)

    def photos_after(
        self, photo_id: int = 0, *, state: str | None = None, count: int = 100
    ) -> list[PhotoRecord]:
        """Return photos page by page: the first ones with a larger id, in the order of their ids.

        Args:
            photo_id: the id of the last photo of the page before.
            state: only "indexed", "failed" or "missing" photos.
            count: how many at most.

        Raises:
            QueryError: there is no such state.
        """
        refuse_unknown("state", state, STATES)
        return self.store.catalog.photos_after(photo_id, state=state, count=count)

    def copies(self, photo: PhotoName) -> list[PhotoRecord]:
        """Return the indexed photos with the same bytes as a photo, without itself.

        Raises:
            PhotoNotFound: it is not in the library.
        """
        record, catalog = self.photo(photo), self.store.catalog
        contents = list(catalog.content_ids_of([record.content]).values()) if record.content else []
        found = catalog.photos_of_contents(contents, NO_FILTERS)
        return [copy for copies in found.values() for copy in copies if copy.id != record.id]

    def timeline(self, filters: Filters = NO_FILTERS, *, revision: int | None = None) -> Timeline:
        """Return the ids of the photos that a search can find, the newest first, and the months.

        The last few timelines are kept, so that a page can be continued while photos are added.

        Args:
            filters: conditions on the photos.
            revision: of a timeline that was returned before; by default it is that of now.

        Raises:
            QueryError: the timeline of that revision is gone.
        """
        return self._timelines.get(self._reader.named(filters), revision=revision)

    # Indexing

    def index(
        self,
        folders: Path | str | Sequence[Path | str] = (),
        *,
        model: Path | str | None = None,
        exclude: str | Sequence[str] = (),
        rebuild: bool = False,
        retry: bool = False,
        check_content: bool = False,
        dry_run: bool = False,
        offline: bool = False,
        progress: ProgressCallback = no_progress,
        **settings: Unpack[IndexSettings],
    ) -> Summary:
        """Bring the library up to date with folders of photos.

        Only new and changed photos are read; a renamed one keeps its vectors and tags. Every batch
        is committed, so a run that is stopped can be continued by the next one.

        Args:
            folders: folders or photos; by default all folders of the library or, if it has none,
                the folder that holds `.mkt`.
            model: a checkpoint folder or open_clip NAME/TAG; by default the library's own, and for
                a new library the first of `mkt models`.
            exclude: patterns as in .gitignore, relative to each folder of the library, of files and
                folders to leave out.
            rebuild: encode every photo again, with another model or other settings. Searches use
                the old vectors until the last new one is there.
            retry: try photos again that could not be read before.
            check_content: read every photo again, to find edits that kept size and time.
            dry_run: return what would be done and change nothing.
            offline: fail with ModelError instead of downloading the weights of the model.
            progress: called after every commit; may raise KeyboardInterrupt to stop there.
            settings: settings of [index], and `device`, `dtype` and `patch_vectors` of [model].
                Those that decide a stored vector are by default as the library has them.

        Raises:
            ConfigError: a folder does not exist or has no photos, or a pattern is not valid.
            CheckpointMismatch: another model or other settings, without `rebuild`.
            ModelError, LibraryLocked, StoreError.
        """
        from indexer.index import index_library
        from mkt_search.models.download_policy import downloads

        try:
            with downloads(offline=offline, progress=progress):
                return index_library(
                    self.store,
                    self._config_with(model, settings),
                    self._folders(folders),
                    exclude=[exclude] if isinstance(exclude, str) else exclude,
                    rebuild=rebuild,
                    retry=retry,
                    check_content=check_content,
                    dry_run=dry_run,
                    progress=progress,
                )
        finally:
            if model is not None and not dry_run:
                self._reader.use_recorded_model()

    def left_out(self) -> Iterator[LeftOut]:
        """Walk the folders of the library; yield what the last `index` run left out, and why.

        Photos that cannot be read are not among them: see `photos(state="failed")`.
        """
        from indexer.scan import left_out

        return left_out(self.store)

    def repair(
        self,
        *,
        model: Path | str | None = None,
        progress: ProgressCallback = no_progress,
        **settings: Unpack[IndexSettings],
    ) -> RepairSummary:
        """Encode the photos again whose stored vectors are damaged, as `verify` finds it.

        Args:
            model: the library's model, if it is not where it was.
            progress: called after every commit; may raise KeyboardInterrupt to stop there.
            settings: as for `index`.

        Raises:
            CheckpointMismatch: the model is another one than that of the library.
            ModelError, LibraryLocked, StoreError.
        """
        from indexer.repair import repair_library

        config = self._config_with(model, settings)
        return repair_library(self.store, config, progress=progress)

    def _config_with(self, model: Path | str | None, settings: Mapping[str, Any]) -> Config:
        checkpoint = None if model is None else str(model)
        values = setting_names(settings, ("index", "model"))
        return override(self.config, {"model.checkpoint": checkpoint, **values})

    def _folders(self, folders: Path | str | Sequence[Path | str]) -> list[Path]:
        found = [Path(folder).expanduser() for folder in as_paths(folders)]
        if not found and self.directory.name == FOLDER and not self.store.catalog.root_folders():
            return [self.directory.parent]
        return found

    # The model

    @property
    def model(self) -> Model:
        """The model whose vectors are searched; the new one once a rebuild is finished.

        Raises:
            CheckpointMismatch, ModelError.
        """
        return self._reader.model().opened

    def label_vectors(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) unit vectors of labels, remembered or encoded now.

        Raises:
            QueryError: no label is given, or one text instead of a list.
            UnknownLabel.
        """
        refuse_text(labels)
        if not labels:
            raise QueryError("No label is given; name at least one.")
        return self._reader.label_vectors(labels)

    def snapshot(self) -> Snapshot:
        """Return an immutable view of the stored vectors as they are now.

        Raises:
            LibraryDamaged, LibraryNotFound.
        """
        return self._reader.snapshot()

    # Search

    def search(
        self,
        query: str | Sequence[Term],
        *,
        k: int | None = None,
        precision: float | None = None,
        min_p: float | None = None,
        filters: Filters = NO_FILTERS,
        boxes: bool = True,
        exact: bool = False,
        explanation: Explanation | None = None,
    ) -> list[Hit]:
        """Return the k best photos for a query, best first.

        Args:
            query: `dog`, `dog + beach - person`, `2*dog + 0.5*beach`, or a list of terms.
            k: hits wanted, 20 by default; the most of them if a precision or min_p is given, by
                default any number.
            precision: as many hits as have together this expected precision: the mean of their p.
            min_p: only hits whose probability is at least this.
            filters: conditions every hit must meet.
            boxes: compute where in each photo the local part comes from.
            exact: do not use the candidate index, whatever recall the settings ask for.
            explanation: receives the plan of the search and the time of each step.

        Raises:
            CalibrationError: p is asked for, and there is no calibrator.
            QueryError, UnknownLabel, ModelError, StoreError.
        """
        terms = _terms(query)
        if k is not None and k < 1:
            raise QueryError(f"-k {k} asks for no photo; name at least 1.")
        for name, share in (("--precision", precision), ("--min-p", min_p)):
            if share is not None and not 0 < share <= 1:
                raise QueryError(f"{name} {share:g} is no probability: name one above 0, up to 1.")
        asks_for_p = precision is not None or min_p is not None
        return self._reader.search(
            terms,
            k=20 if k is None else k,
            wanted=Wanted(precision, min_p, k) if asks_for_p else None,
            filters=self._reader.named(filters),
            recall=1.0 if exact else self.config.search.recall,
            boxes=boxes,
            explanation=explanation if explanation is not None else Explanation(),
        )

    def regions(self, photo: PhotoName, query: str | Sequence[Term]) -> "list[Region]":
        """Return where a photo shows each term of a query: rectangles, and a heat map.

        Args:
            photo: its path or id.
            query: as for `search`.

        Raises:
            QueryError: the query cannot be understood, or the photo has no vectors.
            PhotoNotFound, UnknownLabel, ModelError, StoreError.
        """
        return self._reader.regions(photo, _terms(query))

    def nearest_shown(
        self, label: str, *, count: int = 3, filters: Filters = NO_FILTERS
    ) -> list[str]:
        """Return the labels most like one that the library does show, the most alike first.

        They are among labels that were searched for or tagged with before.

        Args:
            label: usually one that the library does not show.
            count: how many at most.
            filters: conditions on the photos that show them.

        Raises:
            CalibrationError: there is no calibrator.
            UnknownLabel, ModelError, StoreError.
        """
        return self._reader.nearest_shown(
            label,
            count=count,
            filters=self._reader.named(filters),
            recall=self.config.search.recall,
        )

    def complete(self, prefix: str, *, count: int = 20) -> "list[LabelHint]":
        """Return labels that begin with a prefix: of tags, of earlier searches, of vocabularies.

        Args:
            prefix: the beginning, in any case.
            count: how many at most.
        """
        from mkt_search.search.completion import complete

        return complete(self.store, self._reader.label_file, prefix, count=count)

    def score(
        self,
        photos: Path | str | Sequence[Path | str],
        labels: Sequence[str],
        *,
        fuse: "Fuse" = "cosine",
    ) -> "dict[Path, list[LabelScore]]":
        """Score photos, in the library or not, against labels with every patch; best labels first.

        Args:
            photos: paths of photos.
            labels: labels to score.
            fuse: how the two streams are combined, see `score_photo`.

        Raises:
            QueryError: a photo cannot be read, or `labels` is one text instead of a list.
            UnknownLabel, ModelError.
        """
        from mkt_search.search.score_photo import calibrator_of, score_photo

        refuse_text(labels)
        model = self.model
        calibrator = calibrator_of(model, self.config, self.directory).calibrator
        return {
            path: score_photo(
                path, labels, model, config=self.config, fuse=fuse, calibrator=calibrator
            )
            for path in map(Path, as_paths(photos))
        }

    # Maintenance

    def status(self) -> Status:
        """Return the state of the library in numbers."""
        return status(self.store)

    def runs(self) -> list[RunInfo]:
        """Return every run, oldest first."""
        return self.store.catalog.runs()

    def verify(self, *, progress: ProgressCallback = no_progress) -> list[Problem]:
        """Check the database and every stored vector file; an empty list is a sound library."""
        return checks.verify(self.store, progress)

    def optimize(self, *, progress: ProgressCallback = no_progress) -> Optimized | None:
        """Build a candidate index of all photos and switch to it; return None if they are too few.

        Raises:
            LibraryLocked, LibraryDamaged, StoreError.
        """
        stored = self._reader.stored()
        with self.store.writing("mkt optimize"), self.store.run("optimize", {}) as run:
            done = optimize(self.store, stored, progress=progress)
            if done is not None:
                run.summary = {"photos": done.photos, "bytes": done.bytes}
            return done

    def prune(self, *, tagged: bool = False, dry_run: bool = False) -> PruneReport:
        """Remove missing photos from the library, and vectors that no photo needs.

        Args:
            tagged: also remove missing photos that you tagged, and these tags.
            dry_run: return what would be removed and change nothing.

        Raises:
            LibraryLocked, StoreError.
        """
        if dry_run:
            return prune(self.store, tagged=tagged, dry_run=True)
        with self.store.writing("mkt prune"):
            report = prune(self.store, tagged=tagged)
            for stored in self.store.encodings():
                if not stored.retired:
                    compact(self.store, stored, CompactionPolicy(min_segments=1))
            return report

    def move_root(self, old: Path | str, new: Path | str) -> int:
        """Record that a folder of the library has moved; return how many photos moved with it.

        Raises:
            QueryError: `old` is not a folder of the library, or `new` is not a folder.
        """
        target = Path(new).resolve()
        if not target.is_dir():
            raise QueryError(f"{new} is not a folder. Name the folder the photos are in now.")
        with self.store.writing("mkt root"):
            return self.store.catalog.move_root(Path(old).absolute(), target)

    def migrate(self) -> None:
        """Bring the database to the schema of this version. Raises LibraryLocked, StoreError."""
        self.store.migrate()


def _terms(query: str | Sequence[Term]) -> list[Term]:
    return queries.merged(queries.parse(query) if isinstance(query, str) else list(query))
