"""Label vectors: from a table, which may be whitened first, or from a text tower."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mkt_search.errors import TrainingError
from mkt_search.models.build import ClipModel
from mkt_search.models.checkpoint import Prompt
from mkt_search.models.clip import is_clip_folder, open_clip_weights
from mkt_search.models.label_table import LabelTable
from mkt_search.models.text import Lengths
from mkt_search.types import LabelEncoder

LabelTransform = Literal["none", "center", "whiten"]


@dataclass(frozen=True)
class LabelSpec:
    """Where label vectors come from: a table, or the text tower of an open_clip model.

    Args:
        table: `.npz` or GloVe text; None for a text tower.
        text_model: NAME/TAG, NAME/FILE or the folder of an open_clip model; "" for a table.
        lengths: of the vectors of a text tower: "one", or "own", those of the tower.
        transform: what is done to the vectors of a table; see `transform_table`.
        whiten_power: exponent of the variances that whitening divides by.
        whiten_shrink: fraction of the mean variance added to each variance first.
    """

    table: Path | None = None
    text_model: str = ""
    lengths: Lengths = "one"
    transform: LabelTransform = "none"
    whiten_power: float = 0.25
    whiten_shrink: float = 1.0


@dataclass(frozen=True)
class LabelSpace:
    """A label encoder, and what a checkpoint stores to rebuild it: a table or a prompt."""

    encoder: LabelEncoder
    table: LabelTable | None = None
    prompt: Prompt | None = None

    def knows(self, label: str) -> bool:
        """Return True when the encoder has a vector for the label; a text tower has one for any."""
        return self.table is None or label in self.table


def open_label_space(spec: LabelSpec) -> LabelSpace:
    """Read and transform the table, or load the text tower with the plain template.

    Raises:
        ModelError: there is no such table or model.
    """
    if spec.table is None:
        return _from_text_model(spec.text_model, spec.lengths)
    table = transform_table(
        LabelTable.read(spec.table),
        spec.transform,
        power=spec.whiten_power,
        shrink=spec.whiten_shrink,
    )
    return LabelSpace(table, table=table)


def _from_text_model(spec: str, lengths: Lengths) -> LabelSpace:
    name, _, weights = spec.partition("/")
    if is_clip_folder(Path(spec).expanduser()):
        name, weights = str(Path(spec).expanduser().resolve()), ""
    elif Path(weights).expanduser().is_file():  # the checkpoint is used from other folders too
        weights = str(Path(weights).expanduser().resolve())
    model = ClipModel(open_clip_weights(spec), name=spec)
    encoder = model.plain_encoder.with_lengths(lengths)
    return LabelSpace(encoder, prompt=Prompt(name, weights, lengths=lengths))


def transform_table(
    table: LabelTable, kind: LabelTransform, *, power: float = 0.25, shrink: float = 1.0
) -> LabelTable:
    """Return the table with its vectors centered or whitened over all of its labels.

    `center` subtracts the mean. `whiten` also divides each principal direction by
    (variance + shrink x mean variance) ** power, so that the few directions that most words share
    do not decide every product: power 0.5 is full whitening, 0 is `center`. Photos play no part.

    Raises:
        TrainingError: some directions do not vary and `shrink` is 0.
    """
    if kind == "none":
        return table
    if kind == "center":
        return table.centered()
    centered = (table.vectors - table.vectors.mean(axis=0)).astype(np.float64)  # (L, D)
    variances, directions = np.linalg.eigh(np.cov(centered.T))  # (D,), (D, D)
    shrunk = np.maximum(variances, 0) + shrink * variances.mean()
    if shrunk.min() <= 0:
        raise TrainingError("whitening needs --whiten-shrink above 0: some directions do not vary.")
    whitened = centered @ (directions * shrunk**-power) @ directions.T  # (L, D)
    return LabelTable(table.names, whitened.astype(np.float32), source=table.source)
