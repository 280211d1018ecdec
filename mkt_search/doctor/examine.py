"""Look at everything that may keep MKT search from working."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mkt_search.doctor import health, machine, packages
from mkt_search.doctor.finding import Finding, gathered


def examine(directory: Path | None = None) -> Iterator[Finding]:
    """Yield what was found about the packages, the machine and the library; never raises.

    Args:
        directory: the folder of a library or the one it is in; None looks upward from the current
            folder.
    """
    yield from gathered(
        [
            ("system", machine.system),
            ("packages", packages.findings),
            ("exiftool", machine.programs),
            ("disk", lambda: machine.room(_folders(directory))),
            ("limits", machine.limits),
            ("library", partial(health.health, directory)),
        ]
    )


def _folders(directory: Path | None) -> dict[str, Path]:
    """Return where the program writes, by purpose."""
    folder, hub = health.folder_of(directory), os.environ.get("HF_HOME")
    models = {"models": Path(hub) if hub else Path.home() / ".cache" / "huggingface"}
    return models if folder is None else {"the library": folder, **models}
