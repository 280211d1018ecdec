"""Evaluate models on labelled photos: every stream, both scales, several models in one report.

from mkt_search.evaluation.evaluate import evaluate_models

labelled, rows = choose(DataConfig(photos="photos", labels="labels.json"), models)
report = evaluate_models(models, labelled, rows=rows)
print(report.markdown())
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mkt_search.datasets.dataset import Rows
from mkt_search.datasets.read import SplitDataset
from mkt_search.display import count_noun, first_few
from mkt_search.errors import CheckpointMismatch, EvaluationError
from mkt_search.evaluation.entries import judge
from mkt_search.evaluation.labels import check, rules_of
from mkt_search.evaluation.protocol import Rules, Scored, rare_below
from mkt_search.evaluation.report import Entry, Prompt, Report
from mkt_search.evaluation.score_dataset import Loading, score_photos
from mkt_search.evaluation.score_stored import find_stored, score_stored
from mkt_search.models.build import Model
from mkt_search.models.label_table import LabelTable
from mkt_search.settings.config import Config
from mkt_search.store.snapshot import LocalSnapshot
from mkt_search.types import Vector

if TYPE_CHECKING:
    from mkt_search.models.text import PromptedTextEncoder

Say = Callable[[str], None]
Progress = Callable[[str, int, int], None]

BATCH = 256  # labels through a text tower together


@dataclass(frozen=True)
class Stored:
    """A library's vectors as what is evaluated; `patches` says to encode the photos as well."""

    index: LocalSnapshot
    patches: bool = False


def evaluate_models(
    models: Sequence[Model],
    labelled: SplitDataset,
    *,
    rows: Rows | None = None,
    rules: Rules | None = None,
    config: Config | None = None,
    stored: Stored | None = None,
    say: Say = lambda sentence: None,
    progress: Progress = lambda model, done, total: None,
) -> Report:
    """Score photos for their labels with every model, and judge global, local and fused scores.

    Each photo is encoded once for a model, with every patch; its vectors are not kept. A model with
    a learned prompt is also judged in its plain template.

    Args:
        models: from `open_model`; the photos that one cannot read are left out for the next.
        labelled: photos and labels, see `evaluation_labels.choose`.
        rows: which photos; the test photos by default.
        rules: how scores are judged; those of `config.evaluate` by default.
        config: device, number format and how photos are read; the defaults where not given.
        stored: score what a library stores of the photos, instead or beside.
        say: hears what is left out.
        progress: hears of which model how many photos of how many are done.

    Raises:
        CheckpointMismatch: the library's vectors are those of another model.
        EvaluationError: no photo can be evaluated, or the rules do not fit the labels.
        UnknownLabel: a model has no vector for a label.
    """
    began = datetime.now(UTC).replace(tzinfo=None)
    config = config or Config()
    rules = rules or rules_of(config.evaluate, labelled, say)
    check(rules, labelled)
    sets = [label_sets(model, labelled.dataset.labels) for model in models]
    photos = _Photos(labelled, labelled.photos.test if rows is None else rows)
    asked = photos.rows
    if not len(asked):
        raise EvaluationError("there is no photo to evaluate.")
    if stored is not None:
        photos.find(stored, models, say)
    among = len(photos.rows)
    job = _Job(photos, config, stored, say, progress)
    judged = [
        judge(entry, scored, seen=len(labelled.labels.seen), rules=rules)
        for model, title, prompts in zip(models, titles(models), sets, strict=True)
        for entry, scored in job.scores(model, title, prompts)
    ]
    return Report(
        dataset=_name_of(labelled.dataset.folder),
        fingerprint=fingerprint(labelled, asked),
        photos=len(photos.rows),
        unreadable=among - len(photos.rows),
        seen=labelled.labels.seen,
        unseen=labelled.labels.unseen,
        rules=rules,
        rare=rare_below(labelled.dataset.targets[photos.rows], rules),
        rows=tuple(row for found in judged for row in found.rows),
        made_at=began,
        figures=tuple(found.figure for found in judged),
    )


def label_sets(model: Model, labels: Sequence[str]) -> dict[Prompt, Vector]:
    """Return the vectors (L, D) of labels by their prompt: a learned one and the plain template.

    Raises:
        UnknownLabel: a label is outside the model's table.
    """
    encoder = model.label_encoder()
    vectors = encoder.encode(labels)
    if isinstance(encoder, LabelTable):
        return {"table": vectors}
    from mkt_search.models.text import PromptedTextEncoder  # loads torch, which a table does not

    assert isinstance(encoder, PromptedTextEncoder)
    if encoder.context is None:
        return {"template": vectors}
    return {"learned": vectors, "template": _in_template(encoder, labels)}


def titles(models: Sequence[Model]) -> list[str]:
    """Return short names that tell models apart: of a folder its own name, if no other has it."""
    folders = [Path(model.name).expanduser() for model in models]
    short = [
        f.resolve().name if f.is_dir() else m.name for f, m in zip(folders, models, strict=True)
    ]
    return [
        name if short.count(name) == 1 else model.name
        for name, model in zip(short, models, strict=True)
    ]


def fingerprint(labelled: SplitDataset, rows: Rows) -> str:
    """Return 12 hex digits over the photos' names, the labels and what is known of them."""
    dataset = labelled.dataset
    names = [[dataset.files[row] for row in rows], dataset.labels, len(labelled.labels.seen)]
    digest = hashlib.sha256(json.dumps(names).encode())
    digest.update(np.ascontiguousarray(dataset.targets[rows]).tobytes())
    return digest.hexdigest()[:12]


def _name_of(folder: Path) -> str:
    """The last two parts of a path, since many a folder of photos is called "images"."""
    return "/".join(folder.resolve().parts[-2:]).lstrip("/")


def _in_template(encoder: "PromptedTextEncoder", labels: Sequence[str]) -> Vector:
    """The vectors of labels in the encoder's template, without what its prompt learned."""
    import torch

    batches = [labels[start : start + BATCH] for start in range(0, len(labels), BATCH)]
    with torch.inference_mode():
        vectors = [encoder.scaled(encoder.vectors(batch)).float().cpu() for batch in batches]
        return torch.cat(vectors).numpy()


@dataclass
class _Photos:
    """The photos that are evaluated, and where a library has them; what one model cannot read is
    out for the next."""

    labelled: SplitDataset
    rows: Rows
    slots: Rows | None = None

    def find(self, stored: Stored, models: Sequence[Model], say: Say) -> None:
        """Keep the photos that the library has, made by the very models."""
        made_by = stored.index.encoding.checkpoint
        for model in models:
            if model.fingerprint != made_by:
                raise CheckpointMismatch(
                    f"the library was made with checkpoint {made_by}, but {model.name} is"
                    f" {model.fingerprint}. Leave out --stored, or name the library's model."
                )
        asked, folder = self.rows, self.labelled.dataset.folder
        self.rows, self.slots = find_stored(stored.index, self.labelled.dataset, asked)
        if not len(self.rows):
            raise EvaluationError(
                f"none of the {len(asked):,} photos is in the library. Add them with `mkt index"
                f" {folder}`, or leave out --stored."
            )
        self._tell_missing(asked, "that the library does not have", say)

    def keep(self, rows: Rows, say: Say) -> None:
        """Go on with the photos that could be read."""
        if not len(rows):
            raise EvaluationError(
                f"none of the {len(self.rows):,} photos in {self.labelled.dataset.folder} can be"
                " read, so there is nothing to measure."
            )
        asked = self.rows
        if self.slots is not None:
            self.slots = self.slots[np.isin(asked, rows)]
        self.rows = rows
        self._tell_missing(asked, "that cannot be read", say)

    def _tell_missing(self, asked: Rows, why: str, say: Say) -> None:
        names = [self.labelled.dataset.files[row] for row in np.setdiff1d(asked, self.rows)]
        if names:
            say(f"left out {count_noun(len(names), 'photo')} {why}: {first_few(names)}")


@dataclass(frozen=True)
class _Job:
    """Gives the scores of one model after the other, so that only one entry's are in memory."""

    photos: _Photos
    config: Config
    stored: Stored | None
    say: Say
    progress: Progress

    def scores(
        self, model: Model, title: str, prompts: Mapping[Prompt, Vector]
    ) -> Iterator[tuple[Entry, Scored]]:
        """Yield what a model says of the photos, for each prompt and each kind of vectors."""
        entry = Entry(title, model.fingerprint, is_retold=len(prompts) > 1)
        if self.stored is None or self.stored.patches:
            found = self._encoded(model, title, list(prompts.values()))
            for prompt in prompts:
                scored = found.pop(0)
                yield replace(entry, prompt=prompt, photos=len(scored.targets)), scored
        if self.stored is not None:
            entry = replace(entry, vectors="stored", photos=len(self.photos.rows))
            for prompt, labels in prompts.items():
                yield replace(entry, prompt=prompt), self._looked_up(self.stored, labels)

    def _encoded(self, model: Model, title: str, labels: Sequence[Vector]) -> list[Scored]:
        settings = self.config.evaluate
        kept, scored = score_photos(
            model.photo_encoder(device=self.config.model.device, dtype=self.config.model.dtype),
            self.photos.labelled.dataset,
            self.photos.rows,
            labels,
            k=model.top_k,
            loading=Loading(settings.batch_size, settings.workers, self.config.index.max_pixels),
            progress=lambda done, total: self.progress(title, done, total),
        )
        self.photos.keep(kept, self.say)
        return scored

    def _looked_up(self, stored: Stored, labels: Vector) -> Scored:
        assert self.photos.slots is not None
        scores = score_stored(stored.index, self.photos.slots, labels)
        return Scored(scores, scores, self.photos.labelled.dataset.targets[self.photos.rows])
