"""What an evaluation is about: which photos, which labels are seen and unseen, by which rules.

What a checkpoint was trained on stands in its story, so that the labels nobody trained are known
without asking; a model without a story takes the split that `[data]` makes.
"""

from collections.abc import Callable, Mapping, Sequence
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
from mkt_search.progress import ProgressCallback
from mkt_search.settings.config import DataConfig, EvaluateConfig

Only = Literal["test", "train", "all"]
Say = Callable[[str], None]

DRAWS = ("test_fraction", "split_seed")  # what decides on the test photos


@dataclass(frozen=True)
class Story:
    """The labels that a model was trained on, and those that were kept from it; with what settings
    that was, and on how many photos of each part."""

    model: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    settings: Mapping[str, Any]
    photos: Mapping[str, int]


def story_of(model: Model) -> Story | None:
    """Return what a checkpoint tells of its labels; None for a model that tells nothing."""
    trained = model.meta.trained if isinstance(model, CheckpointModel) else {}
    if not trained.get("seen"):
        return None
    seen, unseen = tuple(trained["seen"]), tuple(trained.get("unseen", ()))
    return Story(model.name, seen, unseen, trained.get("settings", {}), trained.get("photos", {}))


def choose(
    data: DataConfig,
    models: Sequence[Model],
    *,
    only: Only = "test",
    say: Say = lambda sentence: None,
) -> tuple[SplitDataset, Rows]:
    """Read labelled photos and settle what of them is evaluated, alike for all models.

    Args:
        data: `[data]` of mkt.toml. `unseen` names the unseen labels whatever was trained.
        models: those that will be evaluated; the first with a story decides on the labels.
        only: `test` photos, those to `train` on, or `all` of the dataset.
        say: hears in sentences whose labels are taken, and what is left out.

    Returns:
        The labelled photos, the labels seen ones first, and the rows to evaluate.

    Raises:
        DatasetError: the photos or their labels cannot be read or split.
        EvaluationError: no photo shows the labels, or a model was trained on what should be unseen.
    """
    found = read_published(data, _progress(say))
    stories = [story for story in map(story_of, models) if story]
    labels = _labels(data, found, models, stories, say)
    _compare(labels, stories, say)
    photos = _photos(data, found, only)
    rows = photos.train if only == "train" else photos.test
    if only == "test":
        for story in stories:
            _compare_tests(data, found, story, len(rows), say)
    dataset = found.dataset.only((*labels.seen, *labels.unseen))
    _require_positives(dataset, rows, labels, only)
    return SplitDataset(dataset, photos, labels), rows


def rules_of(config: EvaluateConfig, labelled: SplitDataset, say: Say, *, kind: str = "") -> Rules:
    """Return the rules that the settings ask for; `kind` is that of the dataset.

    Of a protocol's own depths of F1, those with more labels than there are are left out.
    """
    name = config.protocol
    if name == "auto":
        name = "open-images" if kind == "open-images" else "nus-wide"
    if config.f1_at:
        return Rules(name, config.f1_at, config.depth, config.rare_below)
    fewest, what = _fewest(labelled)
    fitting = tuple(k for k in F1_AT[name] if k <= fewest)
    for k in sorted(set(F1_AT[name]) - set(fitting)):
        say(f"left out F1@{k}: there are {fewest} {what} labels")
    return Rules(name, fitting, config.depth, config.rare_below)


def check(rules: Rules, labelled: SplitDataset) -> None:
    """Refuse rules that cannot be followed. Raises EvaluationError."""
    fewest, what = _fewest(labelled)
    too_deep = [k for k in rules.f1_at if k > fewest]
    if too_deep or min(rules.f1_at, default=1) < 1:
        wrong = too_deep[0] if too_deep else min(rules.f1_at)
        raise EvaluationError(
            f"--f1-at {wrong} makes no sense with {fewest} {what} labels; take 1 to {fewest}."
        )


def _photos(data: DataConfig, found: PublishedDataset, only: Only) -> PhotoSplit:
    """The split, with every photo as a test photo for `all`; validation is of no use here, but what
    is held out for it was not learned from."""
    if only == "all":
        nothing = np.zeros(0, np.int64)
        return PhotoSplit(nothing, nothing, np.arange(len(found.dataset)))
    return photo_split(data if only == "train" else replace(data, validation="none"), found)


def _labels(
    data: DataConfig,
    found: PublishedDataset,
    models: Sequence[Model],
    stories: Sequence[Story],
    say: Say,
) -> LabelSplit:
    """The labels by --unseen, else by the first story, else as [data] splits them."""
    if data.unseen:
        return _named_unseen(Path(data.unseen), found.dataset.labels, stories, say)
    if stories:
        return _of_story(stories[0], found.dataset.labels, say)
    tables = [t for t in (model.label_encoder() for model in models) if isinstance(t, LabelTable)]
    return read(
        data,
        is_known=lambda label: all(label in table for table in tables),
        progress=_progress(say),
    ).labels


def _named_unseen(
    file: Path, labels: Sequence[str], stories: Sequence[Story], say: Say
) -> LabelSplit:
    named = {line.strip() for line in read_text(file).splitlines() if line.strip()}
    strange = sorted(named - set(labels))
    if strange:
        raise EvaluationError(
            f"{file} names {count_noun(len(strange), 'label')} that the photos are not labelled "
            "with:"
            f" {first_few(strange)}. Take them out."
        )
    if not named:
        raise EvaluationError(f"{file} names no label. Write the unseen ones, one a line.")
    rest = [label for label in labels if label not in named]
    trained = {label for story in stories for label in story.seen}
    seen = [label for label in rest if not stories or label in trained]
    _say_left_out(sorted(set(rest) - set(seen)), "neither trained on nor named unseen", say)
    return LabelSplit(tuple(sorted(seen)), tuple(sorted(named)))


def _of_story(story: Story, labels: Sequence[str], say: Say) -> LabelSplit:
    there = set(labels)
    found = LabelSplit(
        tuple(label for label in story.seen if label in there),
        tuple(label for label in story.unseen if label in there),
    )
    if not found.seen and not found.unseen:
        say(f"none of the labels here is in the story of {story.model}: all are unseen")
        return LabelSplit((), tuple(sorted(labels)))
    say(f"seen and unseen labels are those of {story.model}")
    kept = {*found.seen, *found.unseen}
    lacking = [label for label in (*story.seen, *story.unseen) if label not in there]
    if lacking:
        say(
            f"no photo here is labelled with {count_noun(len(lacking), 'label')} of the story: "
            f"{first_few(lacking)}"
        )
    _say_left_out(sorted(there - kept), "that the story does not name", say)
    return found


def _progress(say: Say) -> ProgressCallback:
    return lambda event: say(event.message)


def _say_left_out(labels: Sequence[str], why: str, say: Say) -> None:
    if labels:
        say(f"left out {count_noun(len(labels), 'label')} {why}: {first_few(labels)}")


def _compare(labels: LabelSplit, stories: Sequence[Story], say: Say) -> None:
    """Refuse models that were trained on unseen labels; tell of seen ones that were not trained."""
    for story in stories:
        trained_on = sorted(set(story.seen) & set(labels.unseen))
        if trained_on:
            raise EvaluationError(
                f"{story.model} was trained on {count_noun(len(trained_on), 'label')} that would "
                "count as unseen"
                f" ({first_few(trained_on)}). Evaluate it apart, or name labels with --unseen "
                "that no"
                " model was trained on."
            )
        missed = sorted(set(labels.seen) - set(story.seen))
        if missed:
            say(
                f"{story.model} was not trained on {count_noun(len(missed), 'label')} that count "
                "as seen:"
                f" {first_few(missed)}"
            )


def _compare_tests(
    data: DataConfig, found: PublishedDataset, story: Story, count: int, say: Say
) -> None:
    """Tell when the test photos are hardly those of the training."""
    is_drawn = not data.splits and not found.photos
    here = asdict(data) | {"test photos": count}
    there = {key: story.settings[key] for key in DRAWS if is_drawn and key in story.settings}
    if "test" in story.photos:
        there["test photos"] = story.photos["test"]
    other = [
        f"{key} {value} there, {here[key]} here"
        for key, value in there.items()
        if value != here[key]
    ]
    if other:
        say(
            f"{story.model} was trained with another split ({', '.join(other)}): photos it learned"
            " from may be among those evaluated"
        )


def _require_positives(dataset: PhotoDataset, rows: Rows, labels: LabelSplit, only: Only) -> None:
    shown = dataset.shown_by(rows)
    parts = {"seen": shown[: len(labels.seen)], "unseen": shown[len(labels.seen) :]}
    for name, counts in parts.items():
        if len(counts) and not counts.any():
            raise EvaluationError(
                f"none of the {len(rows):,} photos ({only}) shows any of the {len(counts):,} {name}"
                " labels, so there is nothing to measure. Take --only all, or other photos."
            )


def _fewest(labelled: SplitDataset) -> tuple[int, str]:
    """The size of the smallest group of labels that F1 is told of, and its name."""
    labels = labelled.labels
    if labels.unseen:
        return len(labels.unseen), "unseen"
    return len(labels.seen), "seen"
