"""Finished epochs: what each of them did, and the callback that receives them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """A finished epoch.

    Args:
        number: from 1 to `total`.
        total: epochs of the whole run.
        losses: means over the epoch: "loss" first, then its unweighted parts where there are more.
        rate: learning rate of the last step.
        seconds: wall time, the validation included.
        validation: results on the validation photos, as in `meta.json`; empty without any.
    """

    number: int
    total: int
    losses: dict[str, float]
    rate: float
    seconds: float
    validation: dict[str, Any]


EpochCallback = Callable[[Epoch], None]
"""Receives an epoch after its state and checkpoint are on disk; it may raise to stop the run."""


def ignore_epoch(epoch: Epoch) -> None:
    """Do nothing."""
