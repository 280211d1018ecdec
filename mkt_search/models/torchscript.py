"""Read the tensors of a TorchScript archive, the form of OpenAI's files, and run nothing in it.

`torch.jit.load` compiles the program in the archive and may run parts of it. Here the program is
not read: of the pickled module only its attributes are taken, and nothing but tensors is made.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mkt_search.files import open_regular

_DEPTH = 64  # of modules inside modules


class _Module:
    """A module of the archive: its attributes, without its program."""


class _Attributes(pickle.Unpickler):
    """Makes tensors, modules without a program, and plain values; refuses anything else."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(_read(archive, f"{folder}/data.pkl")))
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, torch.storage.TypedStorage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name in the pickle stands for. Raises UnpicklingError."""
        if module.split(".")[0] == "__torch__":
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return torch._utils._rebuild_tensor_v2
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name.endswith("Storage") and name in dir(torch):
            return getattr(torch, name)._dtype
        if module == "torch.jit._pickle" and name.startswith(("build_", "restore_")):
            return lambda data, *_: data
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a model")

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage that a tensor names: ("storage", dtype, key, device, numbers)."""
        kind, dtype, key, _device, _numbers = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not str(key).isalnum():
            raise pickle.UnpicklingError("it names an impossible storage")
        if key not in self._storages:
            data = bytearray(_read(self._archive, f"{self._folder}/data/{key}"))
            numbers = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
            self._storages[key] = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
                wrap_storage=numbers.untyped_storage(), dtype=dtype, _internal=True
            )
        return self._storages[key]


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a file of the archive; a compressed one, which torch never writes, is refused."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} in it is compressed")
    return archive.read(name)


def is_torchscript(path: Path) -> bool:
    """Return True for a zip archive with a program in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return the tensors of an archive by their names in its `state_dict`.

    Raises:
        OSError, ValueError, KeyError, UnpicklingError: it is damaged, or holds something else.
    """
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        folder = archive.namelist()[0].partition("/")[0]
        root = _Attributes(archive, folder).load()
    found: dict[str, Tensor] = {}
    _collect(root, "", found, _DEPTH)
    return found


def _collect(module: Any, prefix: str, found: dict[str, Tensor], depth: int) -> None:
    if depth == 0:
        raise ValueError("its modules are nested too deeply")
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            found[prefix + name] = value
        elif isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", found, depth - 1)
