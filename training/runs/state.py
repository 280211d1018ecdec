"""The state of a training run on disk: saved after every epoch, whole or not at all.

It lies in OUT.run beside the checkpoint OUT: `state.pt` (tensors and plain values, loaded
with `weights_only`), `log.jsonl` (a line per epoch), and by default the features of the photos.
"""

import io
import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mkt_search.display import first_few
from mkt_search.errors import TrainingError
from mkt_search.models import checkpoint
from training.runs.files import save

FORMAT = 1


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

    def forget(self) -> None:
        """Remove the state, so that training starts anew."""
        self._state.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)

    def save(self, history: list[dict[str, Any]], tensors: Mapping[str, Any]) -> None:
        """Write the state after an epoch. `tensors` are state dicts and plain values, by name."""
        state = {
            "format": FORMAT,
            "settings": json.dumps(self.settings),
            "history": json.dumps(history),
            **tensors,
        }
        stream = io.BytesIO()
        torch.save(state, stream)
        save(self._state, stream.getvalue())
        lines = "".join(json.dumps(epoch) + "\n" for epoch in history)
        save(self._log, lines)

    def load(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the history and the tensors of the last epoch that was saved.

        Raises:
            TrainingError: the state is damaged, or belongs to a run with other settings.
        """
        try:
            state = torch.load(self._state, map_location="cpu", weights_only=True)
            history = json.loads(state.pop("history"))
            settings = json.loads(state.pop("settings"))
            format = state.pop("format")
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{self._state} cannot be read ({error}). Start anew with --restart."
            ) from error
        changed = [
            k for k in {**settings, **self.settings} if settings.get(k) != self.settings.get(k)
        ]
        if changed or format != FORMAT:
            raise TrainingError(self._refusal(settings, changed))
        return history, state

    def _refusal(self, settings: Mapping[str, Any], changed: list[str]) -> str:
        if not changed:
            return f"{self._state} is of another version. Start anew with --restart."
        name = changed[0]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        return (
            f"{self.folder} belongs to a run with other settings: {name} was"
            f" {settings.get(name)!r} and is now {self.settings.get(name)!r}{more}. Give another"
            " --out, or start anew with --restart."
        )


def beside(out: Path, ending: str) -> Path:
    """Return OUT with an ending, where what belongs to a checkpoint lies: OUT.run, OUT.stage1.

    Raises:
        TrainingError: OUT is a place such as "." or "/" and no name for a new folder.
    """
    if out.name in ("", ".."):
        raise TrainingError(f"{out} is no name for a new folder. Give another --out.")
    return out.with_name(out.name + ending)


def open_run(out: Path, settings: Mapping[str, Any], *, restart: bool) -> Run:
    """Return the run that makes `out`. Raises TrainingError where that would destroy something."""
    require_place(out, restart=restart)
    return Run(out, settings)


def require_place(out: Path, *, restart: bool) -> Path:
    """Return the folder of the run that makes `out`, which may be there already or not.

    Raises:
        TrainingError: something else stands where `out` would be written.
    """
    run = Run(out, {})
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return run.folder
    if not checkpoint.is_checkpoint(out):
        raise TrainingError(f"{out} exists and is no checkpoint. Give another --out.")
    if not run.is_started and not restart:
        raise TrainingError(
            f"{out} exists already. Give another --out, or replace it by --restart."
        )
    return run.folder


def diverged(run: Run, files: Sequence[str], *, epoch: int, step: int) -> TrainingError:
    """Return the error of a batch whose loss is not a number; epochs and batches count from 1."""
    return TrainingError(
        f"the loss is not a finite number in epoch {epoch}, batch {step} (photos {first_few(files)});"
        f" {_kept(run, epoch)}"
    )


def spoiled(run: Run, *, epoch: int) -> TrainingError:
    """Return the error of an epoch whose last steps left weights that are not numbers."""
    return TrainingError(
        f"the weights are not finite numbers after epoch {epoch}; {_kept(run, epoch)}"
    )


def _kept(run: Run, epoch: int) -> str:
    """What is left of the epochs before one that failed, and the way out."""
    way_out = "Lower --lr, or set --clip-grad"
    if epoch == 1:
        return f"nothing was written. {way_out}."
    return f"epoch {epoch - 1} is kept in {run.folder}. {way_out}, and start anew with --restart."
