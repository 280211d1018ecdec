"""The state of a training run on disk: saved after every epoch, whole or not at all.

It lies in OUT.run beside the checkpoint OUT: `state.pt` (tensors and plain values, loaded with
`weights_only`), `log.jsonl` (a line for each epoch), and by default the features of the photos.
"""

import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from training.runs.files import save
from training.runs.history import Epoch

FORMAT = 3


@dataclass(frozen=True)
class SavedState:
    """The last epoch on disk: the epochs so far, and state dicts and plain values by name."""

    history: list[Epoch]
    tensors: dict[str, Any]


class Run:
    """The working folder of a run.

    Args:
        out: the checkpoint that the run makes.
        settings: all that decides its result, as plain values; a state of others is refused.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.folder = beside(out, ".run")
        self.settings = settings
        self._state = self.folder / "state.pt"
        self._log = self.folder / "log.jsonl"

    @property
    def is_started(self) -> bool:
        """True when an epoch of this run is on disk."""
        return self._state.exists()

    def delete_state(self) -> None:
        """Remove the state and the log, so that training starts from scratch."""
        self._state.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)

    def save(self, history: list[Epoch], tensors: Mapping[str, Any]) -> None:
        """Write the state after an epoch.

        Raises:
            TrainingError: the disk refuses it; the state of the epoch before is kept.
        """
        epochs = [asdict(epoch) for epoch in history]
        state = {
            "format": FORMAT,
            "settings": json.dumps(self.settings),
            "history": json.dumps(epochs),
            **tensors,
        }
        stream = io.BytesIO()
        torch.save(state, stream)
        save(self._state, stream.getbuffer())
        save(self._log, "".join(json.dumps(epoch) + "\n" for epoch in epochs))

    def load(self) -> SavedState:
        """Return the state of the last epoch.

        Raises:
            TrainingError: the state is damaged, or belongs to a run with other settings.
        """
        try:
            with zipfile.ZipFile(self._state) as archive:  # torch.load ignores the checksums
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"{damaged} is damaged")
            state = torch.load(self._state, map_location="cpu", weights_only=True)
            if state.pop("format") != FORMAT:
                raise TrainingError(
                    f"{self._state} was written by another version. Start over with --restart."
                )
            settings = json.loads(state.pop("settings"))
            history = [Epoch(**epoch) for epoch in json.loads(state.pop("history"))]
        except (
            OSError,
            RuntimeError,
            EOFError,
            LookupError,
            TypeError,
            ValueError,
            pickle.UnpicklingError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise TrainingError(
                f"{self._state} cannot be read ({error}). Start over with --restart."
            ) from error
        self._require_same(settings)
        return SavedState(history, state)

    def failure(self, reason: Exception, *, epoch: int) -> TrainingError:
        """Return the error of a failed epoch (from 1): the reason, what is kept, the way out."""
        kept, restart = "nothing was written", ""
        if epoch > 1:
            kept = f"epoch {epoch - 1} is kept in {self.folder}"
            restart = ", and start over with --restart"
        return TrainingError(f"{reason}; {kept}. Lower --lr, or set --clip-grad{restart}.")

    def _require_same(self, settings: Mapping[str, Any]) -> None:
        changed = [
            key
            for key in {**settings, **self.settings}
            if settings.get(key) != self.settings.get(key)
        ]
        if not changed:
            return
        name = changed[0]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise TrainingError(
            f"{self.folder} belongs to a run with other settings: {name} was"
            f" {settings.get(name)!r} and is now {self.settings.get(name)!r}{more}. Give another"
            " --out, or start over with --restart."
        )


def beside(out: Path, ending: str) -> Path:
    """Return OUT with an ending: the folder beside a checkpoint for OUT.run or OUT.stage1.

    Raises:
        TrainingError: OUT is a path such as "." or "/" that cannot name a new folder.
    """
    if out.name in ("", ".."):
        raise TrainingError(f"{out} does not name a new folder. Give another --out.")
    return out.with_name(out.name + ending)


def require_writable(out: Path, *, restart: bool) -> Path:
    """Return the folder of the run that makes `out`, existing or not.

    Raises:
        TrainingError: writing `out` would replace something that no run can continue.
    """
    run = Run(out, {})
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return run.folder
    if not checkpoint.is_checkpoint(out):
        raise TrainingError(f"{out} exists and is not a checkpoint. Give another --out.")
    if not run.is_started and not restart:
        raise TrainingError(f"{out} exists. Give another --out, or replace it with --restart.")
    return run.folder
