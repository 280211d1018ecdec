"""One photo against a list of labels, every patch used: nothing stored, nothing pooled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mkt_search.calibration.calibrator import Calibrator, Stamp
from mkt_search.calibration.file import Found, find
from mkt_search.errors import PhotoError, QueryError
from mkt_search.models.build import Model, locate
from mkt_search.models.label_file import read_label_file
from mkt_search.models.vocabulary import about_labels
from mkt_search.photos import decode as images
from mkt_search.scoring import StreamScores, fuse_over_labels, of_best_view, scale, score, weigh
from mkt_search.settings.config import Config
from mkt_search.types import Encoded, Vector

Fuse = Literal["vocabulary", "cosine", "none"]
DEFAULTS = Config()


@dataclass(frozen=True)
class LabelScore:
    """How well a label fits a photo; `score` = `global_part` + `local_part`.

    `p` is the probability that the photo shows the label, of vectors pooled as in a library,
    whatever the score is made of; None without a calibrator.
    """

    label: str
    score: float
    global_part: float
    local_part: float
    p: float | None = None


def encode_photo(path: Path, model: Model, config: Config) -> Encoded:
    """Decode a photo and encode its views, a row each. Raises QueryError with the reason."""
    try:
        data = images.read(path)
        decoded = images.decode(
            data,
            name=path.name,
            shorter_side=model.image.decode_side,
            max_pixels=config.index.max_pixels,
        )
    except PhotoError as error:
        raise QueryError(f"Cannot read the photo {path}: {error}.") from error
    encoder = model.photo_encoder(
        device=config.model.device,
        dtype=config.model.dtype,
        patch_vectors=config.model.patch_vectors,
    )
    return encoder.encode(images.to_views(decoded, model.image))


def score_photo(
    path: Path,
    labels: Sequence[str],
    model: Model,
    *,
    config: Config = DEFAULTS,
    fuse: Fuse = "cosine",
    top_k: int = 0,
    calibrator: Calibrator | None = None,
) -> list[LabelScore]:
    """Score a photo against labels, best first.

    Args:
        path: the photo.
        labels: labels that the model's label encoder can encode; a synonym is its label.
        model: the student and the label encoder.
        config: the device, the number format, the pixel cap, and the templates and phrases of
            labels.
        fuse: `cosine` as in a library; `vocabulary` divides each stream by its norm
            over exactly these labels, the paper's fusion; `none` takes the student's raw vectors.
            The score is the model's weighted mean of the two streams in every case.
        top_k: best patches averaged by the local stream; 0 is the model's own number.
        calibrator: of this model, see `calibrator_of`; it gives probabilities.

    Raises:
        QueryError: the photo cannot be read.
        UnknownLabel: a label is not in the model's label table.
        ModelError.
    """
    encoder = model.label_encoder(config.model.templates)
    file = about_labels(labels, read_label_file(config.model.label_file))
    labels = file.distinct_names(labels)
    vectors = file.vectors(labels, encoder.encode)
    encoded = encode_photo(path, model, config)
    of_views = fused(encoded, vectors, k=top_k or model.top_k, fuse=fuse)
    scores = of_best_view(of_views, [len(encoded.patches)])
    p: Sequence[float | None] = [None] * len(labels)
    if calibrator is not None:
        p = _probabilities(calibrator, encoded, vectors, model).tolist()
    parts = zip(scores.fused[0], scores.global_scores[0], scores.local_scores[0], strict=True)
    found = [
        LabelScore(label, float(total), float(of_photo), float(of_patches), own)
        for label, (total, of_photo, of_patches), own in zip(labels, parts, p, strict=True)
    ]
    return sorted(found, key=lambda item: -item.score)


def calibrator_of(model: Model, config: Config, library: Path | None = None) -> Found:
    """Return the calibrator for photos that are encoded now, or the reason why there is none.

    Args:
        model: the model.
        config: the form of patch vectors, and the templates of labels.
        library: the folder of a library, whose own comes before that of the checkpoint.
    """

    def difference(found: Stamp) -> str:
        now = replace(
            found,
            checkpoint=model.fingerprint,
            label_encoder=model.label_encoder(config.model.templates).fingerprint,
            patch_vectors=model.patch_vectors(config.model.patch_vectors),
        )
        return found.difference(now)

    folders = [Path(locate(model.name)).expanduser()]
    return find(folders if library is None else [library, *folders], difference)


def _probabilities(
    calibrator: Calibrator, encoded: Encoded, labels: Vector, model: Model
) -> NDArray[np.float64]:
    """Return p of labels (L,) for the views of a photo."""
    from mkt_search.pooling.pool import pool  # imports torch

    stamp = calibrator.stamp
    pooled = pool(encoded, stamp.encoding(model.dim, model.grid), views=[len(encoded.patches)])
    photo = (pooled.global_vectors, pooled.local_vectors, pooled.counts)
    scores = score(labels, *photo, k=stamp.top_k).fused  # (1, L)
    p: NDArray[np.float64] = calibrator.probabilities(scores, calibrator.statistics(labels))[0]
    return p


def fused(encoded: Encoded, labels: Vector, *, k: int, fuse: Fuse) -> StreamScores:
    """Score encoded photos with all their patches: (n, L) for each stream, weights included."""
    if fuse == "cosine":
        encoded = scale(encoded)
    ones = np.ones(encoded.patches.shape[:2], np.int64)
    scores = score(labels, encoded.global_vectors, encoded.patches, ones, k=k)
    if fuse == "vocabulary":
        return fuse_over_labels(scores, encoded.local_share)
    if fuse == "none":
        return weigh(scores, encoded.local_share)
    return scores
