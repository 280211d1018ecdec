"""Import modules and print what came of it; a process of its own, which a broken one may end.

Run by `packages.py` as `python -m mkt_search.doctor.probe MODULE...`. Prints a line of JSON before
and after each module, so that one that crashes the interpreter is known.
"""

import importlib
import json
import os
import sys
from typing import Any


def main(modules: list[str]) -> None:
    """Import modules one after another, then look for a GPU if torch is among them."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a module prints is no answer

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    for module in modules:
        answer(module=module)
        answer(module=module, error=_error_of(module))
    if "torch" in modules:
        answer(device=_device())
    answers.flush()
    os._exit(0)  # some libraries crash while the interpreter ends


def _error_of(module: str) -> str:
    """Import a module; return what went wrong, "" for nothing and "absent" if there is none."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as problem:
        return "absent" if problem.name == module else str(problem)
    except BaseException as problem:  # a module may even exit
        return f"{type(problem).__name__}: {problem}"
    return ""


def _device() -> str:
    """Return what torch computes on; "" if that is unknown."""
    try:
        import torch

        if torch.cuda.is_available():
            facts = torch.cuda.get_device_properties(0)
            return f"{facts.name}, {facts.total_memory / 1e9:.0f} GB"
        if torch.backends.mps.is_available():
            return "Apple GPU (mps)"
        built = (
            f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU"
        )
        return f"none; torch is {built}"
    except Exception:
        return ""


if __name__ == "__main__":
    main(sys.argv[1:])
