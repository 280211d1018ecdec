"""Photos for a DataLoader: Ctrl-C reaches the run and none of its workers."""

import os
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from mkt_search.datasets.dataset import PhotoDataset
from mkt_search.types import ImageSpec
from tests.tiny import paint
from training.data.photos import WORKER_NICENESS, PhotoPixels, interrupts_deferred, loader

SPEC = ImageSpec(32, 32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def photos(tmp_path: Path) -> PhotoPixels:
    files = tuple(f"{number}.png" for number in range(4))
    for file in files:
        paint(tmp_path / file, "red", size=(32, 32))
    dataset = PhotoDataset(tmp_path, files, ("red",), np.ones((4, 1), np.int8))
    return PhotoPixels(dataset, np.arange(4), SPEC)


def test_an_interrupt_is_deferred_to_the_end_of_the_block() -> None:
    before, done = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        done.append("all of the block")
    assert done and signal.getsignal(signal.SIGINT) is before


def test_signals_are_left_alone_in_another_thread() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with interrupts_deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_workers_survive_an_interrupt_and_cause_no_warning(photos: PhotoPixels) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        batches = iter(loader(photos, batch_size=1, workers=3))
    assert not [w for w in caught if "This DataLoader will create" in str(w.message)]
    for worker in batches._workers:  # type: ignore[attr-defined]
        os.kill(worker.pid, signal.SIGINT)
    assert [int(rows[0]) for rows, _, _ in batches] == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
@pytest.mark.parametrize(("low_priority", "more"), [(True, WORKER_NICENESS), (False, 0)])
def test_workers_beside_a_student_on_the_processor_have_lower_priority(
    photos: PhotoPixels, low_priority: bool, more: int
) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    batches = iter(loader(photos, batch_size=1, workers=2, low_priority=low_priority))
    next(batches)  # the first worker is up
    worker = batches._workers[0]  # type: ignore[attr-defined]
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) == min(own + more, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
    assert len(list(batches)) == 3
