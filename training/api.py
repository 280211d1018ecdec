"""Train from Python: one function that does what `mkt train` does.

    import training

    report = training.train(
        out="student", photos="photos", labels="labels.json", text_model="ViT-B-16/openai"
    )

Light to import: torch is loaded when training starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mkt_search.progress import ProgressCallback, no_progress
from mkt_search.settings.config import Config, DataConfig, from_values
from training.recipes import stage1_settings, stage2_settings
from training.runs.history import EpochCallback, ignore_epoch


@dataclass(frozen=True)
class TrainReport:
    """The result of a training.

    Args:
        checkpoint: the folder to give to `mkt index --model` or `Library.index(model=...)`.
        results: on the test photos, as in `meta.json`: mAP by scale, group of labels and stream.
        trained: provenance, as in `meta.json`: settings, photos, labels, every epoch.
    """

    checkpoint: Path
    results: Mapping[str, Any]
    trained: Mapping[str, Any]


def train(
    out: str | Path,
    *,
    photos: str | Path,
    labels: str | Path = "",
    recipe: str = "linear",
    stage2: Mapping[str, Any] | None = None,
    restart: bool = False,
    progress: ProgressCallback = no_progress,
    on_epoch: EpochCallback = ignore_epoch,
    **settings: Any,
) -> TrainReport:
    """Train a student and, with a text tower, tune its prompt; continue a run that was stopped.

    Args:
        out: the checkpoint to make; `out` with ".run" keeps the work of the run and, with a text
            tower, ".stage1" the checkpoint before its prompt is tuned.
        photos: folder of the labeled photos, or of the whole dataset.
        labels: file of their labels, for the kinds of dataset that have one.
        recipe: "linear", "finetune" or "paper".
        stage2: settings of stage 2, by key of [stage2] in mkt.toml.
        restart: discard a stopped run, and replace an existing checkpoint.
        progress: receives remarks and counts.
        on_epoch: receives each finished epoch.
        settings: any key of [data] or [stage1] in mkt.toml, such as `teacher="ViT-B-16/openai"`.
            mkt.toml itself and the environment are not read.

    Raises:
        MktError: a setting, the data or a model cannot be used; the text says which and why.
    """
    given = {"photos": photos, "labels": labels, "recipe": recipe, **settings}
    config = from_values(
        {_section(key): value for key, value in given.items()}
        | {f"stage2.{key}": value for key, value in (stage2 or {}).items()}
    )
    return train_config(config, Path(out), restart=restart, progress=progress, on_epoch=on_epoch)


def train_config(
    config: Config,
    out: Path,
    *,
    restart: bool = False,
    progress: ProgressCallback = no_progress,
    on_epoch: EpochCallback = ignore_epoch,
) -> TrainReport:
    """Train with every setting of a loaded configuration; otherwise as `train`."""
    from training import stages

    meta = stages.train(
        config.data,
        stage1_settings(config),
        stage2_settings(config),
        out,
        restart=restart,
        progress=progress,
        on_epoch=on_epoch,
    )
    return TrainReport(out, meta.results, meta.trained)


def _section(key: str) -> str:
    """Return the name of a setting of [data] or [stage1] with its section."""
    is_data = any(key == item.name for item in fields(DataConfig))
    return f"data.{key}" if is_data else f"stage1.{key}"
