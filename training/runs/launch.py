"""Read the number of this process from the environment that `torchrun` sets; imports no torch."""

import os


def launched() -> tuple[int, int]:
    """Return the number of this process, from 0, and their count; (0, 1) without torchrun."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # others set RANK and WORLD_SIZE too
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def local_number() -> int | None:
    """Return the number of this process among those of its machine; None without torchrun."""
    return int(os.environ["LOCAL_RANK"]) if launched()[1] > 1 else None
