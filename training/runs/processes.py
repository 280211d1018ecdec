"""The processes of a run: one alone, or those that `torchrun` started, one for each device.

Every process takes its part of each batch. Losses are sums over a process's photos, divided by
counts over all of them; gradients are summed. So a step is that of one process with the whole
batch, up to rounding. The first process alone writes files and reports.

torch's DistributedDataParallel would average gradients as they come up, of one call of one wrapped
module. A step here calls the heads alone on cached features, or goes through the vocabulary in
pieces, each with a backward pass; one sum after the last is shorter and exact.
"""

import atexit
import contextlib
import datetime
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, distributed, nn

from mkt_search.datasets.dataset import Rows
from mkt_search.errors import TrainingError
from mkt_search.models.encoder import choose_device
from training.runs.launch import launched, local_number

LONGEST_WAIT = datetime.timedelta(days=2)
"""For the first process, which computes features and results alone. `torchrun` ends the others when
it dies."""

ENDED = (
    "another process of this run ended; its own message, or torchrun's, says why. The same command"
    " continues after the last saved epoch."
)

Result = TypeVar("Result")


class Processes:
    """The processes of a run as one of them sees them.

    Args:
        number: of this process, from 0.
        count: of all of them.
    """

    def __init__(self, number: int = 0, count: int = 1) -> None:
        self.number = number
        self.count = count

    @property
    def is_first(self) -> bool:
        """True in the process that writes."""
        return self.number == 0

    def part(self, rows: Rows) -> Rows:
        """Return this process's part of a batch; the parts of all processes are the batch."""
        return np.array_split(rows, self.count)[self.number]

    def require_parts(self, photos: int) -> None:
        """Raise TrainingError where a process would have no part of a batch."""
        if photos < self.count:
            raise TrainingError(
                f"{self.count} processes cannot share {photos} photos; start fewer, or raise"
                " --batch-size."
            )

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes, without a gradient.

        Raises:
            TrainingError: another process ended.
        """
        if self.count == 1:
            return tensor
        total = tensor.detach().clone()
        with _naming_the_dead():
            distributed.all_reduce(total)
        return total

    def any(self, mask: Tensor) -> Tensor:
        """Return where a mask is True in any process. Raises TrainingError as `sum` does."""
        return mask if self.count == 1 else self.sum(mask.int()) > 0

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the processes, in one exchange.

        Raises:
            TrainingError: another process ended.
        """
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]  # the same in every process
        total = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        pieces = torch.split(total, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def share_weights(self, module: nn.Module) -> None:
        """Give every process the first one's parameters and buffers.

        Raises:
            TrainingError: another process ended.
        """
        if self.count == 1:
            return
        with _naming_the_dead():
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, src=0)

    def all_rows(self, rows: Rows) -> Rows:
        """Return the rows of every process, sorted. Raises TrainingError as `sum` does."""
        if self.count == 1:
            return np.sort(rows)
        parts: list[Any] = [None] * self.count
        with _naming_the_dead():
            distributed.all_gather_object(parts, rows)
        return np.sort(np.concatenate(parts))

    def from_first(self, compute: Callable[[], Result]) -> Result:
        """Return what the first process computes; the others wait for it.

        Raises:
            TrainingError: another process ended.
        """
        if self.count == 1:
            return compute()
        box: list[Any] = [compute() if self.is_first else None]
        with _naming_the_dead():
            distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return cast(Result, box[0])

    def first_then_others(self, compute: Callable[[], Result]) -> Result:
        """Return what each process computes, the first one before the others.

        The others then find on disk what the first one wrote.

        Raises:
            TrainingError: another process ended.
        """
        found = compute() if self.is_first else None
        self.from_first(lambda: None)
        return compute() if found is None else found


ALONE = Processes()


def join(device: str) -> Processes:
    """Join the processes that `torchrun` started, if it did, until this one ends.

    Args:
        device: that of this process, as `process_device` names it.

    Raises:
        TrainingError: another process cannot be reached.
    """
    number, count = launched()
    if count == 1:
        return ALONE
    if not distributed.is_initialized():
        own = choose_device(device)
        if own.type == "cuda":
            torch.cuda.set_device(own)
        backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
        with _naming_the_dead():
            distributed.init_process_group(backend, timeout=LONGEST_WAIT)
        atexit.register(distributed.destroy_process_group)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _on_end)
    return Processes(number, count)


def process_device(device: str) -> str:
    """Return the device of this process: of several on one machine, each has a GPU of its own."""
    number = local_number()
    wants_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    return f"cuda:{number}" if number is not None and wants_gpu else device


def _on_end(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM, by which `torchrun` ends the processes that are left."""
    raise _ended()


@contextlib.contextmanager
def _naming_the_dead() -> Iterator[None]:
    """Raise TrainingError where an exchange fails because another process ended."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise _ended() from error


def _ended() -> TrainingError:
    """Return the error of a process that is left. It ends by this alone, so it says so once."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return TrainingError(ENDED)
