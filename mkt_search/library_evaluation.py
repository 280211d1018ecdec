"""The methods of `Library` that evaluate models, probabilities and the candidate index."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from mkt_search.arguments import as_paths, refuse_text
from mkt_search.calibration.calibrator import Calibrator
from mkt_search.errors import CalibrationError, EvaluationError
from mkt_search.models.build import open_model
from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.search.reader import LibraryReader
from mkt_search.settings.config import Config
from mkt_search.settings.override import EvaluateSettings, override, setting_names
from mkt_search.store.records import Evaluation
from mkt_search.store.store import Store

if TYPE_CHECKING:
    from mkt_search.evaluation.ann_recall import RecallReport
    from mkt_search.evaluation.calibration_report import CalibrationReport
    from mkt_search.evaluation.labels import Only
    from mkt_search.evaluation.report import Report


class LibraryEvaluation:
    """What a model and an index are worth. `Library` inherits these methods."""

    store: Store
    config: Config
    _reader: LibraryReader

    def evaluate(
        self,
        models: Path | str | Sequence[Path | str] = (),
        *,
        only: "Only" = "test",
        stored: bool = False,
        patches: bool = False,
        progress: ProgressCallback = no_progress,
        **settings: Unpack[EvaluateSettings],
    ) -> "Report":
        """Evaluate models on labeled photos, which need not be in the library.

        Args:
            models: checkpoint folders or open_clip names; by default the library's model.
            only: the `test` photos, the `train` photos, or `all`.
            stored: score the vectors that the library stores instead of every patch.
            patches: with `stored`, score every patch as well.
            progress: receives counts of photos, the model as the step, and remarks.
            settings: those of [data] and [evaluate], such as `photos` and `labels`, and how the
                models run.

        Raises:
            DatasetError: the photos or their labels cannot be read or split.
            EvaluationError: the models, photos and labels cannot be evaluated together.
            CheckpointMismatch, ConfigError, ModelError, UnknownLabel.
        """
        from mkt_search.evaluation.evaluate import Stored, evaluate

        if patches and not stored:
            raise EvaluationError("patches=True needs stored=True; every patch is scored anyway.")
        config = override(self.config, setting_names(settings, ("data", "evaluate", "model")))
        opened = [open_model(str(name)) for name in dict.fromkeys(as_paths(models))]
        opened = opened or [self._reader.model().opened]
        vectors = None
        if stored:
            vectors = Stored(self.store.catalog, self._reader.snapshot(), patches=patches)
        return evaluate(opened, config, only=only, stored=vectors, progress=progress)

    def evaluate_calibration(
        self,
        models: Path | str | Sequence[Path | str] = (),
        *,
        only: "Only" = "test",
        progress: ProgressCallback = no_progress,
        **settings: Unpack[EvaluateSettings],
    ) -> "CalibrationReport":
        """Measure probabilities on labeled photos, by labels that nothing was fitted on.

        Args:
            models: checkpoint folders or open_clip names; by default the library's model. The
                calibrator is the library's if it is of the model, else that of the checkpoint.
            only: the `test` photos, the `train` photos, or `all`.
            progress: receives counts of photos, the model as the step, and remarks.
            settings: those of [data] and [evaluate], such as `photos` and `labels`, and how the
                models run.

        Raises:
            CalibrationError: a model has no calibrator that fits.
            DatasetError: the photos or their labels cannot be read or split.
            EvaluationError: there are too few photos, or too few labels that nothing saw.
            CheckpointMismatch, ConfigError, ModelError.
        """
        from mkt_search.evaluation.calibration import Calibrated, evaluate_calibration
        from mkt_search.search.score_photo import calibrator_of

        config = override(self.config, setting_names(settings, ("data", "evaluate", "model")))
        opened = [open_model(str(name)) for name in dict.fromkeys(as_paths(models))]
        calibrated = [
            Calibrated(model, calibrator_of(model, config, self.store.directory).needed())
            for model in opened
        ] or [Calibrated(self._reader.model().opened, self._reader.calibrator().needed())]
        return evaluate_calibration(calibrated, config, only=only, progress=progress)

    def calibrate(
        self,
        *,
        from_tags: bool = False,
        leave_out: Sequence[str] = (),
        progress: ProgressCallback = no_progress,
        **settings: Unpack[EvaluateSettings],
    ) -> Calibrator:
        """Fit a calibrator on labeled photos, and keep it: hits then have a probability.

        The photos need not be in the library, but should be of its kind. Some hundred are enough.

        Args:
            from_tags: fit on the photos of the library that a person tagged, instead of labeled
                ones. Each counts as looked at, so that it shows its tags alone.
            leave_out: labels not to fit on, to test the calibrator with.
            progress: receives counts of photos, and remarks.
            settings: those of [data], such as `photos` and `labels`, and how the model runs.

        Raises:
            CalibrationError: there are too few photos or labels, `from_tags` is given with
                `settings`, or the file cannot be written.
            DatasetError: the photos or their labels cannot be read.
            CheckpointMismatch, ConfigError, LibraryLocked, ModelError.
        """
        from mkt_search.calibration import file as calibrators
        from mkt_search.evaluation.calibrate import calibrate, calibrate_on_tags
        from mkt_search.pooling.pool import pool

        refuse_text(leave_out)
        if from_tags:
            if settings:
                raise CalibrationError(
                    "from_tags=True takes the photos and tags of the library; leave out "
                    f"{', '.join(settings)}."
                )
            found = calibrate_on_tags(
                self._reader.model().opened,
                self._reader.stamp(),
                self._reader.snapshot(),
                self.store.catalog.words(),
                self._reader.label_vectors,
                ancestors=self._reader.label_file.ancestors,
                leave_out=leave_out,
                progress=progress,
            )
        else:
            encoding = self._reader.stored().encoding
            found = calibrate(
                self._reader.model().opened,
                override(self.config, setting_names(settings, ("data", "evaluate", "model"))),
                self._reader.stamp(),
                lambda encoded, views: pool(encoded, encoding, views=views),
                self._reader.label_vectors,
                leave_out=leave_out,
                progress=progress,
            )
        with self.store.writing("mkt calibrate"):
            calibrators.save(found, self.store.directory / calibrators.FILE)
        return found

    def calibrator(self) -> Calibrator | None:
        """Return the calibrator of the library, else of its checkpoint; None if none fits."""
        return self._reader.calibrator().calibrator

    def evaluate_ann(
        self,
        labels: Sequence[str] = (),
        *,
        queries: int = 50,
        depths: Sequence[int] = (10, 100),
        seed: int = 0,
        progress: ProgressCallback = no_progress,
    ) -> "RecallReport":
        """Measure the recall and the speed of the candidate index against exact search.

        Args:
            labels: labels to search for.
            queries: number of searches; remembered labels and mixtures of stored vectors are added
                until there are so many.
            depths: numbers of best photos that are compared.
            seed: of the random mixtures and filters.
            progress: called as work advances.

        Raises:
            EvaluationError: the library has no photos.
            QueryError: `labels` is one text instead of a list.
            UnknownLabel, LibraryDamaged.
        """
        from mkt_search.evaluation.ann_recall import measure

        refuse_text(labels)
        return measure(
            self._reader.snapshot(),
            remembered=self.store.catalog.all_label_vectors(),
            given=self._reader.label_vectors(labels) if labels else None,
            queries=queries,
            depths=depths,
            target=self.config.search.recall,
            seed=seed,
            progress=progress,
        )

    def keep_evaluation(self, report: "Report") -> int:
        """Keep the results of an evaluation in the library; return the number of its run.

        Raises:
            StoreError: the database cannot be written.
        """
        from mkt_search.evaluation.record import evaluations_of

        catalog = self.store.catalog
        return catalog.add_evaluations(evaluations_of(report), started_at=report.made_at)

    def evaluations(self) -> list[Evaluation]:
        """Return the evaluations that are kept: the newest run first, an item for each model."""
        return self.store.catalog.evaluations()
