"""The calibrator of a checkpoint, whose student learned every label that there is a truth for.

The student scores the labels that it learned higher than others: a calibrator that is fitted on
these alone would promise too much for labels that are new to it. The students of folds
(`teacher_anchor.fold_tasks`) show how much: each has labels that it did not learn, and photos that
it did not see. Their scores differ from the student's own, for they learn for a shorter time, so
that they only say how labels held out compare with those learned (`calibration.fit.fit_on_folds`).

The pooled vectors of these photos are kept in the folder of the run, so that a run that was stopped
does not train the students of folds again, and stage 2 can score them by its own prompt.
"""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mkt_search.calibration import file as calibrators
from mkt_search.calibration import quality
from mkt_search.calibration.calibrator import Stamp
from mkt_search.calibration.fit import (
    FEWEST_PHOTOS,
    Fold,
    Labeled,
    Part,
    check_enough,
    fit_on_folds,
)
from mkt_search.datasets.dataset import Rows, Targets
from mkt_search.display import count_noun
from mkt_search.errors import CalibrationError
from mkt_search.models.build import CheckpointModel
from mkt_search.pooling.pool import pool
from mkt_search.settings.config import IndexConfig
from mkt_search.types import Encoded, Encoding, Vector
from training.data.sources import Source
from training.data.task import Task
from training.runs.files import save

FILE = "held_out.npz"
MOST_PHOTOS = 1_500  # of the student itself
NONE = "no calibrator"

LabelVectors = Callable[[Sequence[str]], Vector]


@dataclass(frozen=True)
class HeldOut:
    """Photos that the student of a fold did not see, pooled, with targets of all seen labels.

    `labels` are those that it learned, then those held out, from the number `learned` on.
    """

    labeled: Labeled
    labels: tuple[str, ...]
    learned: int

    def with_vectors(self, label_vectors: LabelVectors) -> Fold:
        """Return it with the vectors of its labels."""
        part = Part(self.labeled, self.labels, label_vectors(self.labels))
        return Fold(part, self.labels[self.learned :])


def check_folds(folds: Sequence[Task]) -> None:
    """Raise CalibrationError if folds hold too few photos or labels out to calibrate on."""
    photos = sum(len(part.photos.test) for part in folds)
    check_enough(photos, sum(len(part.labels.unseen) for part in folds))


def held_out(part: Task, source: Source, encoding: Encoding, *, local_share: float) -> HeldOut:
    """Encode and pool the photos that a student of a fold did not see."""
    found = pooled(
        source, part.photos.test, part.dataset.targets, encoding, local_share=local_share
    )
    return HeldOut(found, part.dataset.labels, part.seen)


def own_photos(task: Task, source: Source, encoding: Encoding, *, local_share: float) -> Labeled:
    """Return photos of the student itself, with targets of the seen labels.

    They are validation photos, which it did not learn from, unless too few of them are no test
    photos; then training photos, for which its scores are higher, so that p is rather too low.
    """
    rows = np.setdiff1d(task.photos.validation, task.photos.test)
    if len(rows) < FEWEST_PHOTOS:
        rows = task.trainable
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST_PHOTOS])
    return pooled(source, rows, task.seen_targets, encoding, local_share=local_share)


def pooled(
    source: Source, rows: Rows, targets: Targets, encoding: Encoding, *, local_share: float
) -> Labeled:
    """Return photos as a library would store them, those left out that cannot be read.

    Args:
        source: gives the vectors of photos.
        rows: the photos.
        targets: (N, L), of the whole dataset.
        encoding: how patches are pooled.
        local_share: weight of the local stream.
    """
    vectors, counts, read = [], [], []
    for batch in source.ordered_batches(rows):
        kept = batch.is_readable
        if not kept.any():
            continue
        of_photos, patches = (part.float().cpu().numpy()[kept] for part in batch.vectors)
        found = pool(Encoded(of_photos, patches, local_share), encoding)
        vectors.append(np.concatenate([found.global_vectors[:, None], found.local_vectors], axis=1))
        counts.append(found.counts)
        read.append(batch.rows[kept])
    if not read:
        raise CalibrationError("none of the photos held out can be read.")
    return Labeled(np.concatenate(vectors), np.concatenate(counts), targets[np.concatenate(read)])


def encoding_of(dim: int, grid: tuple[int, int], top_k: int) -> Encoding:
    """Return how a library pools the patches of a student if nothing is set."""
    default = IndexConfig()
    return Encoding(
        checkpoint="",
        dim=dim,
        grid=grid,
        pooling=default.pooling,
        m=default.m,
        top_k=min(top_k, grid[0] * grid[1]),
        precision="int8",
        patch_vectors="own",
    )


def calibrate(
    out: Path,
    parts: Sequence[HeldOut],
    own: Callable[[], Labeled],
    label_vectors: LabelVectors,
    say: Callable[[str], None],
) -> None:
    """Fit the calibrator of a finished checkpoint and write it into it; report how good it is.

    Args:
        out: the checkpoint.
        parts: from `held_out`.
        own: encodes photos of its student; the targets are those of the seen labels.
        label_vectors: encodes labels as the checkpoint does.
        say: receives remarks, one of them where no calibrator can be fitted.
    """
    model = CheckpointModel(out, name=str(out))
    encoding = encoding_of(model.dim, model.grid, model.top_k)
    stamp = Stamp.of(replace(encoding, checkpoint=model.fingerprint), model.label_fingerprint)
    count = sum(len(part.labels) - part.learned for part in parts)
    made_from = f"{count_noun(count, 'label')} held out from {len(parts)} students of folds"
    folds = [part.with_vectors(label_vectors) for part in parts]
    try:
        seen = model.meta.trained["seen"]
        part = Part(own(), seen, label_vectors(seen))
        found = fit_on_folds(part, folds, stamp, made_from=made_from)
        calibrators.save(found, out / calibrators.FILE)
    except CalibrationError as error:
        say(f"{NONE}: {error}")
        return
    say(f"calibrated on {made_from}")
    for sentence in quality.lines(found.quality):
        say(sentence)


def key_of(trained: Mapping[str, Any]) -> str:
    """Return what identifies the run of stage 1 with this provenance, and its choices."""
    decides = [trained.get(name) for name in ("settings", "anchor", "streams")]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def write(path: Path, key: str, parts: Sequence[HeldOut]) -> None:
    """Keep what folds hold out. Raises TrainingError if the disk refuses it."""
    arrays: dict[str, Any] = {}
    for number, part in enumerate(parts):
        arrays[f"vectors{number}"] = part.labeled.vectors.astype(np.float16)
        arrays[f"counts{number}"] = part.labeled.counts
        arrays[f"targets{number}"] = part.labeled.targets
    meta = {"key": key, "parts": [[part.learned, part.labels] for part in parts]}
    stream = io.BytesIO()
    np.savez(stream, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    save(path, stream.getbuffer())


def read(path: Path, key: str) -> list[HeldOut]:
    """Return what folds of the run with a key hold out; nothing if it is not there, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as found:
            meta = json.loads(found["meta"].tobytes())
            if meta["key"] != key:
                return []
            return [
                HeldOut(
                    Labeled(
                        found[f"vectors{number}"].astype(np.float32),
                        found[f"counts{number}"],
                        found[f"targets{number}"],
                    ),
                    tuple(labels),
                    learned,
                )
                for number, (learned, labels) in enumerate(meta["parts"])
            ]
    except Exception:  # a damaged header raises nearly anything; it can be made again
        return []
