"""What a training run tells while it works; the command line shows it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """What an epoch did: mean losses by name, the last learning rate, validation results."""

    number: int
    losses: dict[str, float]
    rate: float
    seconds: float
    validation: dict[str, Any]


@dataclass(frozen=True)
class Listener:
    """Who wants to hear of a run: sentences, photos whose features are done, finished epochs."""

    say: Callable[[str], None] = log.info
    on_photos: Callable[[int, int], None] = lambda done, total: None
    on_epoch: Callable[[Epoch], None] = lambda epoch: None
