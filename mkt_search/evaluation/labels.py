"""Select what is evaluated: the photos, the seen and unseen labels, and the rules.

A checkpoint records which labels it was trained on (its provenance), so the unseen labels of an
evaluation are known without asking. A model without a record takes the split of `[data]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mkt_search.datasets.dataset import PhotoDataset, Rows
from mkt_search.datasets.files import read_text
from mkt_search.datasets.read import SplitDataset, photo_split, read, read_published
from mkt_search.datasets.split import LabelSplit, PhotoSplit, PublishedDataset
from mkt_search.display import count_noun, first_few
from mkt_search.errors import EvaluationError
from mkt_search.evaluation.protocol import F1_AT, Rules
from mkt_search.models.build import CheckpointModel, Model
from mkt_search.models.label_table import LabelTable
from mkt_search.progress import Progress, ProgressCallback, no_progress
from mkt_search.settings.config import DataConfig, EvaluateConfig

Only = Literal["test", "train", "all"]

STEP = "selecting photos and labels"
DRAW_SETTINGS = ("test_fraction", "split_seed")  # they determine the test photos that are drawn


@dataclass(frozen=True)
class Provenance:
    """What a checkpoint records of its training.

    `seen` and `unseen` are labels; `settings` are those of `[data]`; `photos` counts the photos of
    each part of the split.
    """

    model: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    settings: Mapping[str, Any]
    photos: Mapping[str, int]


def provenance_of(model: Model) -> Provenance | None:
    """Return what a checkpoint records of its training; None if there is no record."""
    trained = model.meta.trained if isinstance(model, CheckpointModel) else {}
    if not trained.get("seen"):
        return None
    seen, unseen = tuple(trained["seen"]), tuple(trained.get("unseen", ()))
    settings, photos = trained.get("settings", {}), trained.get("photos", {})
    return Provenance(model.name, seen, unseen, settings, photos)


def select_photos(
    data: DataConfig,
    models: Sequence[Model],
    *,
    only: Only = "test",
    progress: ProgressCallback = no_progress,
) -> tuple[SplitDataset, Rows]:
    """Read labeled photos and select the photos and labels to evaluate, the same for all models.

    The unseen labels are those in `data.unseen`, else those of the first model with a provenance,
    else those that `data` splits off. Other labels that a photo shows and every model can encode
    are a group of their own, if no model's training named them.

    Args:
        data: `[data]` of mkt.toml.
        models: the models to evaluate.
        only: the `test` photos, the `train` photos, or `all`.
        progress: receives remarks about what is selected and left out.

    Returns:
        The labeled photos, seen labels first, then unseen and never named ones, and the rows to
        evaluate.

    Raises:
        DatasetError: the photos or their labels cannot be read or split.
        EvaluationError: no photo shows the labels, or a model was trained on an unseen label.
    """
    published = read_published(data, progress)
    known = [found for found in map(provenance_of, models) if found]
    labels = _select_labels(data, published, models, known, progress)
    _check_training(labels, known, progress)
    photos, rows = select_rows(data, published, known, only=only, progress=progress)
    if known:
        shown = published.dataset.shown_by(rows) > 0
        others = [
            label
            for label, is_shown in zip(published.dataset.labels, shown, strict=True)
            if is_shown
        ]
        labels = replace(labels, never_named=_never_named(others, labels, models, known, progress))
    dataset = published.dataset.only((*labels.seen, *labels.unseen, *labels.never_named))
    _require_positives(dataset, rows, labels, only)
    return SplitDataset(dataset, photos, labels), rows


def select_rows(
    data: DataConfig,
    published: PublishedDataset,
    known: Sequence[Provenance],
    *,
    only: Only,
    progress: ProgressCallback = no_progress,
) -> tuple[PhotoSplit, Rows]:
    """Split photos, and return the rows to evaluate as well.

    Args:
        data: `[data]` of mkt.toml.
        published: the labeled photos.
        known: what the models record of their training.
        only: the `test` photos, the `train` photos, or `all`.
        progress: receives a remark if a model may have been trained on test photos.

    Raises:
        DatasetError: the settings do not fit the photos.
    """
    photos = _split_photos(data, published, only)
    rows = photos.train if only == "train" else photos.test
    if only == "test":
        for provenance in known:
            _compare_test_photos(data, published, provenance, len(rows), progress)
    return photos, rows


def make_rules(
    config: EvaluateConfig,
    dataset: SplitDataset,
    *,
    kind: str = "",
    progress: ProgressCallback = no_progress,
) -> Rules:
    """Return the rules of `[evaluate]`.

    Args:
        config: `[evaluate]` of mkt.toml. Without `f1_at`, the depths of the protocol are taken, but
            for those that exceed the number of labels.
        dataset: the labeled photos.
        kind: the kind of the dataset, which decides on the protocol "auto".
        progress: receives a remark for each depth left out.

    Raises:
        EvaluationError: a depth of `f1_at` exceeds the number of labels.
    """
    name = config.protocol
    if name == "auto":
        name = "open-images" if kind == "open-images" else "nus-wide"
    if config.f1_at:
        rules = Rules(name, config.f1_at, config.depth, config.rare_below)
        check_rules(rules, dataset)
        return rules
    fewest, group = _smallest_group(dataset)
    for k in sorted(k for k in F1_AT[name] if k > fewest):
        _remark(progress, f"left out F1@{k}: there are {fewest} {group} labels")
    f1_at = tuple(k for k in F1_AT[name] if k <= fewest)
    return Rules(name, f1_at, config.depth, config.rare_below)


def check_rules(rules: Rules, dataset: SplitDataset) -> None:
    """Check that every depth of F1 fits the number of labels.

    Raises:
        EvaluationError: one does not.
    """
    fewest, group = _smallest_group(dataset)
    wrong = [k for k in rules.f1_at if not 1 <= k <= fewest]
    if wrong:
        raise EvaluationError(
            f"--f1-at {wrong[0]} does not fit {fewest} {group} labels; use 1 to {fewest}."
        )


def split_by_file(
    file: Path, labels: Sequence[str], known: Sequence[Provenance] = ()
) -> LabelSplit:
    """Split labels by a file of unseen ones, one a line.

    Args:
        file: the file.
        labels: those of the photos.
        known: what models record of their training; only what they were trained on is seen.

    Raises:
        EvaluationError: the file names a label of no photo, or none at all.
    """
    unseen = {line.strip() for line in read_text(file).splitlines() if line.strip()}
    strange = sorted(unseen - set(labels))
    if strange:
        raise EvaluationError(
            f"{file} names {count_noun(len(strange), 'label')} that no photo is labeled with:"
            f" {first_few(strange)}. Take them out."
        )
    if not unseen:
        raise EvaluationError(f"{file} names no label. Write the unseen labels, one a line.")
    rest = [label for label in labels if label not in unseen]
    trained = {label for provenance in known for label in provenance.seen}
    seen = [label for label in rest if not known or label in trained]
    return LabelSplit(tuple(sorted(seen)), tuple(sorted(unseen)))


def _split_photos(data: DataConfig, published: PublishedDataset, only: Only) -> PhotoSplit:
    """Return the split; with `all`, every photo is a test photo.

    Validation photos take no part in an evaluation. They count as held out for `train`, since the
    model did not learn from them.
    """
    if only == "all":
        nothing = np.zeros(0, np.int64)
        return PhotoSplit(nothing, nothing, np.arange(len(published.dataset)))
    return photo_split(data if only == "train" else replace(data, validation="none"), published)


def _select_labels(
    data: DataConfig,
    published: PublishedDataset,
    models: Sequence[Model],
    known: Sequence[Provenance],
    progress: ProgressCallback,
) -> LabelSplit:
    """Split the labels by --unseen, else by the first provenance, else as `[data]` does."""
    labels = published.dataset.labels
    if data.unseen:
        return split_by_file(Path(data.unseen), labels, known)
    if known:
        return _split_by_provenance(known[0], labels, progress)
    tables = [t for t in (model.label_encoder() for model in models) if isinstance(t, LabelTable)]

    def is_known(label: str) -> bool:
        return all(label in table for table in tables)

    return read(data, is_known=is_known, progress=progress).labels


def _split_by_provenance(
    provenance: Provenance, labels: Sequence[str], progress: ProgressCallback
) -> LabelSplit:
    here = set(labels)
    split = LabelSplit(
        tuple(label for label in provenance.seen if label in here),
        tuple(label for label in provenance.unseen if label in here),
    )
    if not split.seen and not split.unseen:
        _remark(progress, f"{provenance.model} knows none of these labels: all count as unseen")
        return LabelSplit((), tuple(sorted(labels)))
    _remark(progress, f"seen and unseen labels are those of {provenance.model}")
    lacking = [label for label in (*provenance.seen, *provenance.unseen) if label not in here]
    if lacking:
        count = count_noun(len(lacking), "label")
        _remark(progress, f"{count} of {provenance.model} on no photo: {first_few(lacking)}")
    return split


def _never_named(
    shown: Sequence[str],
    labels: LabelSplit,
    models: Sequence[Model],
    known: Sequence[Provenance],
    progress: ProgressCallback,
) -> tuple[str, ...]:
    """Return the labels that photos show and that no training named, and report the others.

    Args:
        shown: the labels that the photos show.
        labels: the seen and unseen ones.
        models: which must know a label.
        known: the provenance of those that have one.
        progress: receives remarks.
    """
    named = {label for found in known for label in (*found.seen, *found.unseen)}
    rest = set(shown) - {*labels.seen, *labels.unseen}
    tables = [t for t in (model.label_encoder() for model in models) if isinstance(t, LabelTable)]
    unknown = {label for label in rest if not all(label in table for table in tables)}
    _report_left_out(
        sorted(rest & named), "that a training named and this split does not", progress
    )
    _report_left_out(sorted((rest - named) & unknown), "with no vector in a label table", progress)
    return tuple(sorted(rest - named - unknown))


def _report_left_out(labels: Sequence[str], why: str, progress: ProgressCallback) -> None:
    if labels:
        count = count_noun(len(labels), "label")
        _remark(progress, f"left out {count} {why}: {first_few(labels)}")


def _check_training(
    labels: LabelSplit, known: Sequence[Provenance], progress: ProgressCallback
) -> None:
    """Refuse models trained on unseen labels; report seen labels that a model lacked."""
    for provenance in known:
        trained_on = sorted(set(provenance.seen) & set(labels.unseen))
        if trained_on:
            count = count_noun(len(trained_on), "label")
            raise EvaluationError(
                f"{provenance.model} was trained on {count} that would count as unseen"
                f" ({first_few(trained_on)}). Evaluate it separately, or name labels with --unseen"
                " that no model was trained on."
            )
        lacking = sorted(set(labels.seen) - set(provenance.seen))
        if lacking:
            count = count_noun(len(lacking), "seen label")
            sentence = f"{provenance.model} was not trained on {count}: {first_few(lacking)}"
            _remark(progress, sentence)


def _compare_test_photos(
    data: DataConfig,
    published: PublishedDataset,
    provenance: Provenance,
    count: int,
    progress: ProgressCallback,
) -> None:
    """Report settings that suggest a model was trained on some of the test photos."""
    is_drawn = not data.splits and not published.photos
    here = asdict(data) | {"test photos": count}
    there = {
        key: provenance.settings[key]
        for key in DRAW_SETTINGS
        if is_drawn and key in provenance.settings
    }
    if "test" in provenance.photos:
        there["test photos"] = provenance.photos["test"]
    differences = [
        f"{key} {value} there, {here[key]} here"
        for key, value in there.items()
        if value != here[key]
    ]
    if differences:
        _remark(
            progress,
            f"{provenance.model} was trained with another split ({', '.join(differences)}): the"
            " photos evaluated may include some of its training photos",
        )


def _require_positives(dataset: PhotoDataset, rows: Rows, labels: LabelSplit, only: Only) -> None:
    shown = dataset.shown_by(rows)
    parts = {"seen": shown[: len(labels.seen)], "unseen": shown[len(labels.seen) :]}
    for name, counts in parts.items():
        if len(counts) and not counts.any():
            raise EvaluationError(
                f"none of the {len(rows):,} photos ({only}) shows any of the {len(counts):,} {name}"
                " labels, so there is nothing to measure. Use --only all, or other photos."
            )


def _smallest_group(dataset: SplitDataset) -> tuple[int, str]:
    """Return the size and the name of the smallest group of labels that F1 is computed for."""
    labels = dataset.labels
    if labels.unseen:
        return len(labels.unseen), "unseen"
    return len(labels.seen), "seen"


def _remark(progress: ProgressCallback, sentence: str) -> None:
    progress(Progress(STEP, message=sentence))
