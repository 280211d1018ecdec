"""Where a run computes, with which seed, and where it keeps what it computes once."""

from dataclasses import dataclass
from pathlib import Path

from mkt_search.models.encoder import Dtype


@dataclass(frozen=True)
class RunSpec:
    """How a run uses the machine.

    Args:
        cache: folder of the features and vectors that are computed once.
        seed: decides initial weights, the order of photos and their augmentation.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: number format of the model's arithmetic.
        workers: processes that decode photos; 0 decodes in this one.
    """

    cache: Path
    seed: int = 0
    device: str = "auto"
    dtype: Dtype = "auto"
    workers: int = 2
