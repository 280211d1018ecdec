"""The tensors of an archive are read; a program in it never runs."""

import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mkt_search.models.torchscript import is_torchscript, read_torchscript


class Traced(nn.Module):
    """A model with parameters, buffers and a module inside."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.table = nn.Parameter(torch.arange(6).reshape(2, 3).half().T)

    def forward(self, x: Tensor) -> Tensor:
        """Use every part."""
        return torch.as_tensor(self.norm(self.inner(x)) * self.scale + self.table.sum())


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(Traced().eval()), tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_the_tensors_are_those_of_the_state_dict(archive: Path) -> None:
    assert is_torchscript(archive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected: dict[str, Tensor] = torch.jit.load(archive).state_dict()  # type: ignore[no-untyped-call]
    found = read_torchscript(archive)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


class Trap:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch trapped",)


def written(path: Path, content: object) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(content, protocol=2))
        archive.writestr("a/constants.pkl", b"")
    return path


def test_a_pickle_with_a_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="is not part of a model"):
        read_torchscript(written(tmp_path / "trap.pt", Trap()))
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_another_file_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    assert not is_torchscript(tmp_path / "a.pt")
