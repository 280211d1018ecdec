"""One photo against a list of labels, every patch used: nothing stored, nothing pooled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mkt_search.errors import PhotoError, QueryError
from mkt_search.models.build import Model
from mkt_search.models.label_file import read_label_file
from mkt_search.models.vocabulary import about_labels
from mkt_search.photos import decode as images
from mkt_search.scoring import HALF, StreamScores, fuse_over_labels, of_best_view, scale, score
from mkt_search.settings.config import Config
from mkt_search.types import Encoded, Vector

Fuse = Literal["vocabulary", "cosine", "none"]
DEFAULTS = Config()


@dataclass(frozen=True)
class LabelScore:
    """How well a label fits a photo; `score` = `global_part` + `local_part`."""

    label: str
    score: float
    global_part: float
    local_part: float


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
            The score is the mean of the two streams in every case.
        top_k: best patches averaged by the local stream; 0 is the model's own number.

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
    parts = zip(
        labels, scores.fused[0], scores.global_scores[0], scores.local_scores[0], strict=True
    )
    found = [LabelScore(label, float(s), float(g), float(p)) for label, s, g, p in parts]
    return sorted(found, key=lambda item: -item.score)


def fused(encoded: Encoded, labels: Vector, *, k: int, fuse: Fuse) -> StreamScores:
    """Score encoded photos with all their patches: (n, L) for each stream, halves included."""
    if fuse == "cosine":
        encoded = scale(encoded)
    ones = np.ones(encoded.patches.shape[:2], np.int64)
    scores = score(labels, encoded.global_vectors, encoded.patches, ones, k=k)
    if fuse == "vocabulary":
        return fuse_over_labels(scores)
    if fuse == "none":
        return StreamScores(HALF * scores.global_scores, HALF * scores.local_scores)
    return scores
