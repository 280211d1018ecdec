"""A process knows its number and the count of all from torchrun, and from nothing else."""

import pytest

from training.runs.launch import launched, local_number


def test_only_torchrun_tells_the_number_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in {"RANK": "7", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}.items():
        monkeypatch.setenv(name, value)
    assert launched() == (0, 1) and local_number() is None
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    assert launched() == (7, 8) and local_number() == 3
