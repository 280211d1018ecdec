"""Where label vectors come from, and how those of a table are made easier to learn."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mkt_search.errors import TrainingError
from mkt_search.models.build import ClipModel
from mkt_search.models.checkpoint import Prompt
from mkt_search.models.clip import is_clip_folder, open_clip_weights
from mkt_search.models.label_table import LabelTable
from mkt_search.types import LabelEncoder

LabelTransform = Literal["none", "center", "whiten"]


@dataclass(frozen=True)
class LabelSpace:
    """A label encoder, and what a checkpoint has to carry to have it again: a table or a prompt."""

    encoder: LabelEncoder
    table: LabelTable | None = None
    prompt: Prompt | None = None

    def knows(self, label: str) -> bool:
        """True when the encoder has a vector for the label; a text tower has one for any text."""
        return self.table is None or label in self.table


def from_table(path: Path, kind: LabelTransform, *, power: float, shrink: float) -> LabelSpace:
    """Read a label table and transform it; the transformed one goes into the checkpoint."""
    table = transform(LabelTable.read(path), kind, power=power, shrink=shrink)
    return LabelSpace(table, table=table)


def from_text_model(spec: str) -> LabelSpace:
    """Take the text tower of an open_clip model in the plain template: NAME/TAG, NAME/FILE, DIR.

    Raises:
        ModelError: it is none of these.
    """
    name, _, weights = spec.partition("/")
    if is_clip_folder(Path(spec).expanduser()):
        name, weights = str(Path(spec).expanduser().resolve()), ""
    elif Path(weights).expanduser().is_file():  # the checkpoint is used from other folders too
        weights = str(Path(weights).expanduser().resolve())
    model = ClipModel(open_clip_weights(spec), name=spec)
    return LabelSpace(model.label_encoder(), prompt=Prompt(name, weights))


def transform(
    table: LabelTable, kind: LabelTransform, *, power: float = 0.25, shrink: float = 1.0
) -> LabelTable:
    """Return the table with its vectors centred or whitened over all of its labels.

    `center` subtracts the mean. `whiten` also divides each principal direction by
    (variance + shrink x mean variance) ** power, so that the few directions most words share stop
    deciding every product: 0.5 is whitening in full, 0 is `center`. Photos play no part in it.
    """
    if kind == "none":
        return table
    if kind == "center":
        return table.centered()
    centred = (table.vectors - table.vectors.mean(axis=0)).astype(np.float64)
    variances, directions = np.linalg.eigh(np.cov(centred.T))
    shrunk = np.maximum(variances, 0) + shrink * variances.mean()
    if shrunk.min() <= 0:
        raise TrainingError("whitening needs --whiten-shrink above 0: some directions do not vary.")
    whitened = centred @ (directions * shrunk**-power) @ directions.T
    return LabelTable(table.names, whitened.astype(np.float32), source=table.source)
