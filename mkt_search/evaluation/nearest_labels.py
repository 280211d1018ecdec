"""Labels near a label by their vectors alone, and how many of them are of its kind.

After figure 3 of MKT (He et al., AAAI 2023, https://arxiv.org/abs/2207.01887), which compares the
label vectors of GloVe, of CLIP and of a tuned prompt. No photo plays a part.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mkt_search.scoring import unit
from mkt_search.spelling import label_key
from mkt_search.types import Vector


def nearest_labels(
    label: str, labels: Sequence[str], vectors: Vector, *, count: int
) -> list[tuple[str, float]]:
    """Return the labels nearest to one of them, best first, with their cosine.

    Args:
        label: one of the labels; it is not its own neighbour.
        labels: L labels.
        vectors: (L, D), their vectors.
        count: labels to return, at most.

    Raises:
        ValueError: the label is not one of them.
    """
    own = list(labels).index(label)
    cosines = unit(vectors) @ unit(vectors[own : own + 1])[0]  # (L,)
    order = np.argsort(-cosines, kind="stable")
    return [(labels[row], float(cosines[row])) for row in order if row != own][:count]


def precision_of_kinds(
    labels: Sequence[str], vectors: Vector, kinds: Mapping[str, str], *, count: int
) -> float:
    """Return the share of the `count` nearest labels of each label that are of its kind.

    It is a mean over the labels that share their kind with another one; only labels with a kind
    take part. NaN where there are none.

    Args:
        labels: L labels.
        vectors: (L, D), their vectors.
        kinds: the kind of a label, such as "animal".
        count: neighbours of a label, at most.
    """
    rows = [row for row, label in enumerate(labels) if kinds.get(label)]
    own = np.array([label_key(kinds[labels[row]]) for row in rows], np.str_)
    units = unit(vectors[rows])
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : min(count, max(len(rows) - 1, 0))]
    is_shared = (own[:, None] == own).sum(axis=1) > 1
    if not is_shared.any():
        return float("nan")
    return float((own[nearest] == own[:, None])[is_shared].mean())
