"""Evaluate models on labeled photos: every stream, two scales, several models in one report.

from mkt_search.evaluation.evaluate import evaluate
from mkt_search.models.build import open_model
from mkt_search.settings.config import Config, DataConfig

config = Config(data=DataConfig(photos="photos", labels="labels.json"))
report = evaluate([open_model("ViT-B-16/openai"), open_model("student")], config)
print(report.markdown())
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mkt_search.datasets.dataset import Rows
from mkt_search.datasets.read import SplitDataset
from mkt_search.display import count_noun, first_few
from mkt_search.errors import CheckpointMismatch, EvaluationError
from mkt_search.evaluation.entries import EntryMetrics, score_entry
from mkt_search.evaluation.labels import Only, check_rules, make_rules, select_photos
from mkt_search.evaluation.protocol import PhotoScores, Rules, rarity_threshold
from mkt_search.evaluation.report import Entry, Prompt, Report
from mkt_search.evaluation.score_dataset import Loading, score_photos
from mkt_search.evaluation.score_stored import find_stored, score_stored
from mkt_search.models.build import AnchorAlone, CheckpointModel, Model, is_here, open_model
from mkt_search.models.checkpoint import ANCHOR, stage1_of
from mkt_search.models.label_table import LabelTable
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import Config
from mkt_search.store.catalog import Catalog
from mkt_search.store.interfaces import ContentIds, Snapshot
from mkt_search.types import Vector

if TYPE_CHECKING:
    from mkt_search.models.text import PromptedTextEncoder

LABELS_PER_BATCH = 256  # through a text tower


@dataclass(frozen=True)
class Stored:
    """Evaluate the vectors of a library; with `patches`, encode the photos as well."""

    catalog: Catalog
    snapshot: Snapshot
    patches: bool = False


def evaluate(
    models: Sequence[Model],
    config: Config,
    *,
    only: Only = "test",
    stored: Stored | None = None,
    progress: ProgressCallback = no_progress,
) -> Report:
    """Evaluate models on the labeled photos of `[data]` by the rules of `[evaluate]`.

    A student is compared with what it knew before training (`untrained`), unless stored vectors are
    evaluated.

    Args:
        models: from `open_model`.
        config: `data` and `evaluate`; `model` has the device and number format.
        only: the `test` photos, the `train` photos, or `all`.
        stored: scores what a library stores, instead of or besides every patch.
        progress: receives counts of photos, the model as the step; remarks are kept as `notes`.

    Raises:
        CheckpointMismatch: the library's vectors are those of another model.
        DatasetError: the photos or their labels cannot be read or split.
        EvaluationError: the models, photos and labels cannot be evaluated together.
        UnknownLabel: a model has no vector for a label.
    """
    notes: list[str] = []

    def noted(event: Progress) -> None:
        if event.message:
            notes.append(event.message)
        progress(event)

    if stored is None:
        models = [*models, *untrained(models, noted)]
    for model in models:
        for sentence in model.opened.remarks:
            noted(Progress("models", message=f"{model.name}: {sentence}"))
    dataset, rows = select_photos(config.data, models, only=only, progress=noted)
    rules = make_rules(config.evaluate, dataset, kind=config.data.kind, progress=noted)
    report = evaluate_models(
        models, dataset, rows=rows, rules=rules, config=config, stored=stored, progress=noted
    )
    settings = {
        "data": asdict(config.data),
        "evaluate": asdict(config.evaluate),
        "only": only,
        "stored": stored is not None,
        "patches": stored is not None and stored.patches,
    }
    return replace(report, notes=tuple(notes), settings=settings)


def evaluate_models(
    models: Sequence[Model],
    dataset: SplitDataset,
    *,
    rows: Rows | None = None,
    rules: Rules | None = None,
    config: Config | None = None,
    stored: Stored | None = None,
    progress: ProgressCallback = no_progress,
) -> Report:
    """Score photos for their labels with every model.

    A model encodes each photo once, with every patch; its vectors are not kept. A model with a
    learned prompt, and a CLIP that averages over several templates, is also evaluated with its
    plain template.

    Args:
        models: from `open_model`; photos that one cannot read are left out for the next.
        dataset: photos and labels, see `select_photos`.
        rows: the photos to evaluate; the test photos by default.
        rules: the protocol; that of `config.evaluate` by default.
        config: device, number format and how photos are read; the defaults if not given.
        stored: scores what a library stores, instead of or besides every patch.
        progress: receives counts of photos, the model as the step, and remarks.

    Raises:
        CheckpointMismatch: the library's vectors are those of another model.
        EvaluationError: no photo can be evaluated, or the rules do not fit the labels.
        UnknownLabel: a model has no vector for a label.
    """
    made_at = datetime.now(UTC).replace(tzinfo=None)
    config = config or Config()
    rules = rules or make_rules(config.evaluate, dataset, progress=progress)
    check_rules(rules, dataset)
    templates = config.model.templates
    vectors = [label_vectors(model, dataset.dataset.labels, templates) for model in models]
    photos = _Photos(dataset, dataset.photos.test if rows is None else rows, progress)
    if stored is not None:
        _check_models(models, stored)
        photos.keep_stored(stored)
    scorer = _Scorer(photos, config, stored, progress)
    metrics = [
        score_entry(
            entry,
            scored,
            seen=len(dataset.labels.seen),
            never_named=len(dataset.labels.never_named),
            rules=rules,
        )
        for model, title, by_prompt in zip(models, titles(models), vectors, strict=True)
        for entry, scored in scorer.scores(model, title, by_prompt)
    ]
    return _report(photos, metrics, rules=rules, made_at=made_at)


def untrained(models: Sequence[Model], progress: ProgressCallback) -> list[Model]:
    """Return what the students among models knew before training, to compare them with.

    That is the anchor alone, and the raw teacher where its files are here and it is not among the
    models.

    Args:
        models: the models.
        progress: receives a remark on a teacher that is not compared.
    """
    found: list[Model] = []
    for model in (each.opened for each in models):
        if not isinstance(model, CheckpointModel):
            continue
        if ANCHOR in model.meta.files:
            found.append(AnchorAlone(model))
        teacher = stage1_of(model.meta.trained).get("teacher")
        if not isinstance(teacher, dict) or not isinstance(teacher.get("model"), str):
            continue
        spec: str = teacher["model"]
        if not is_here(spec):
            sentence = f"the teacher {spec[:200]} is not compared; name it with --model"
            progress(Progress("models", message=sentence))
        elif all(each.fingerprint != teacher.get("fingerprint") for each in (*models, *found)):
            found.append(open_model(spec))
    return found


def label_vectors(
    model: Model, labels: Sequence[str], templates: Sequence[str] = ()
) -> dict[Prompt, Vector]:
    """Return the vectors (L, D) of labels by prompt, the plain template last.

    Args:
        model: the model.
        labels: the labels.
        templates: those over which a plain CLIP averages; none is the plain one alone.

    Raises:
        UnknownLabel: a label is not in the model's table.
    """
    encoder = model.label_encoder()
    vectors = encoder.encode(labels)
    if isinstance(encoder, LabelTable):
        return {"table": vectors}
    from mkt_search.models.text import PromptedTextEncoder  # loads torch, which a table does not

    assert isinstance(encoder, PromptedTextEncoder)
    if encoder.context is None:
        averaged = model.label_encoder(templates)
        is_plain = averaged.fingerprint == encoder.fingerprint
        return (
            {"template": vectors}
            if is_plain
            else {
                "templates": averaged.encode(labels),
                "template": vectors,
            }
        )
    return {"learned": vectors, "template": _template_vectors(encoder, labels)}


def titles(models: Sequence[Model]) -> list[str]:
    """Return unique short names; a folder's base name unless two models share it."""
    folders = [Path(model.name).expanduser() for model in models]
    short = [
        f.resolve().name if f.is_dir() else m.name for f, m in zip(folders, models, strict=True)
    ]
    return [
        name if short.count(name) == 1 else model.name
        for name, model in zip(short, models, strict=True)
    ]


def fingerprint(dataset: SplitDataset, rows: Rows) -> str:
    """Return 12 hex digits that identify photos by name, their labels and their targets."""
    found = dataset.dataset
    names = [[found.files[row] for row in rows], found.labels, len(dataset.labels.seen)]
    digest = hashlib.sha256(json.dumps(names).encode())
    digest.update(np.ascontiguousarray(found.targets[rows]).tobytes())
    return digest.hexdigest()[:12]


def _report(
    photos: "_Photos", metrics: Sequence[EntryMetrics], *, rules: Rules, made_at: datetime
) -> Report:
    dataset = photos.dataset
    return Report(
        dataset=name_of(dataset.dataset.folder),
        fingerprint=fingerprint(dataset, photos.requested),
        photos=len(photos.rows),
        unreadable=photos.unreadable,
        seen=dataset.labels.seen,
        unseen=dataset.labels.unseen,
        never_named=dataset.labels.never_named,
        rules=rules,
        rare=rarity_threshold(dataset.dataset.targets[photos.rows], rules),
        rows=tuple(row for entry in metrics for row in entry.rows),
        made_at=made_at,
        plot_data=tuple(entry.plots for entry in metrics),
    )


def name_of(folder: Path) -> str:
    """Return the last two parts of a path; the last alone is often just "images"."""
    return "/".join(folder.resolve().parts[-2:]).lstrip("/")


def _template_vectors(encoder: "PromptedTextEncoder", labels: Sequence[str]) -> Vector:
    """Return the vectors (L, D) of labels in the encoder's template, without the learned prompt."""
    import torch

    starts = range(0, len(labels), LABELS_PER_BATCH)
    with torch.inference_mode():
        vectors = [
            encoder.scaled(encoder.vectors(labels[start : start + LABELS_PER_BATCH])).float().cpu()
            for start in starts
        ]
        return torch.cat(vectors).numpy()


def _check_models(models: Sequence[Model], stored: Stored) -> None:
    """Refuse models other than the one that made the stored vectors."""
    made_by = stored.snapshot.facts.encoding.checkpoint
    for model in models:
        if model.fingerprint != made_by:
            raise CheckpointMismatch(
                f"the library was made with checkpoint {made_by}, but {model.name} is"
                f" {model.fingerprint}. Leave out --stored, or name the library's model."
            )


class _Photos:
    """The photos under evaluation: rows of the dataset and, for a library, their content ids."""

    def __init__(self, dataset: SplitDataset, rows: Rows, progress: ProgressCallback) -> None:
        if not len(rows):
            raise EvaluationError("there is no photo to evaluate.")
        self.dataset = dataset
        self.requested = self.rows = rows
        self.content_ids: ContentIds | None = None
        self.unreadable = 0
        self._progress = progress

    def keep_stored(self, stored: Stored) -> None:
        """Leave out photos that the library does not have."""
        found = self.dataset.dataset
        rows, content_ids = find_stored(stored.catalog, stored.snapshot, found, self.rows)
        if not len(rows):
            raise EvaluationError(
                f"none of the {len(self.rows):,} photos is in the library. Add them with `mkt index"
                f" {found.folder}`, or leave out --stored."
            )
        self._keep(rows, "that the library does not have")
        self.content_ids = content_ids

    def keep_readable(self, rows: Rows) -> None:
        """Leave out photos that could not be read."""
        if not len(rows):
            raise EvaluationError(
                f"none of the {len(self.rows):,} photos in {self.dataset.dataset.folder} can be"
                " read, so there is nothing to measure."
            )
        if self.content_ids is not None:
            self.content_ids = self.content_ids[np.isin(self.rows, rows)]
        self.unreadable += len(self.rows) - len(rows)
        self._keep(rows, "that cannot be read")

    def _keep(self, rows: Rows, why: str) -> None:
        files = self.dataset.dataset.files
        names = [files[row] for row in np.setdiff1d(self.rows, rows)]
        self.rows = rows
        if names:
            sentence = f"left out {count_noun(len(names), 'photo')} {why}: {first_few(names)}"
            self._progress(Progress("reading photos", message=sentence))


@dataclass(frozen=True)
class _Scorer:
    """Scores photos with one model after another; only the scores of one model are in memory."""

    photos: _Photos
    config: Config
    stored: Stored | None
    progress: ProgressCallback

    def scores(
        self, model: Model, title: str, vectors: Mapping[Prompt, Vector]
    ) -> Iterator[tuple[Entry, PhotoScores]]:
        """Yield the entries of a model with their scores: each prompt, patches and stored."""
        entry = Entry(title, model.fingerprint, has_several_prompts=len(vectors) > 1)
        if self.stored is None or self.stored.patches:
            found = self._encode(model, title, list(vectors.values()))
            for prompt in vectors:
                scored = found.pop(0)  # frees each when the next is measured
                yield replace(entry, prompt=prompt, photos=len(scored.targets)), scored
        if self.stored is not None:
            entry = replace(entry, vectors="stored", photos=len(self.photos.rows))
            for prompt, labels in vectors.items():
                yield replace(entry, prompt=prompt), self._look_up(self.stored, labels, model)

    def _encode(self, model: Model, title: str, labels: Sequence[Vector]) -> list[PhotoScores]:
        config = self.config
        loading = Loading(
            config.evaluate.batch_size, config.evaluate.workers, config.index.max_pixels
        )
        form = config.model.patch_vectors
        if self.stored is not None:  # both rows are of the same vectors
            form = self.stored.snapshot.facts.encoding.patch_vectors
        readable, scored = score_photos(
            model.photo_encoder(
                device=config.model.device,
                dtype=config.model.dtype,
                patch_vectors=form,
            ),
            self.photos.dataset.dataset,
            self.photos.rows,
            labels,
            k=config.evaluate.top_k or model.top_k,
            loading=loading,
            step=title,
            progress=self.progress,
        )
        self.photos.keep_readable(readable)
        return scored

    def _look_up(self, stored: Stored, labels: Vector, model: Model) -> PhotoScores:
        assert self.photos.content_ids is not None
        k = self.config.evaluate.top_k
        scores = score_stored(stored.snapshot, self.photos.content_ids, labels, k=k)
        targets = self.photos.dataset.dataset.targets[self.photos.rows]
        return PhotoScores(scores, scores, targets, model.local_share)
