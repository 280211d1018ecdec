"""The packages that the program needs, and those of its extras, as they are installed.

What is needed is read from the metadata of the installed program, so that pyproject.toml is the one
place that names it. Whether a package works is found by importing it, in another process.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from mkt_search.doctor.finding import Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROGRAM = "mkt-search"
EXTRAS = {
    "cpu": "FAISS for the processor",
    "gpu": "FAISS for CUDA",
    "heif": "HEIC photos",
    "raw": "camera RAW",
    "web": "the app in the browser",
    "map": "the map of a library",
    "parquet": "tags as Parquet",
    "plots": "plots of an evaluation",
    "datasets": "the files of NUS-WIDE",
    "postgres": "PostgreSQL instead of SQLite",
}
"""What each extra is for; those for developers are left out."""

FAISS = ("cpu", "gpu")
"""The extras of which one is required."""

MODULES = {
    "faiss-cpu": "faiss",
    "faiss-gpu-cu12": "faiss",
    "open-clip-torch": "open_clip",
    "opentsne": "openTSNE",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
"""What a package is imported as, where that is not its name."""

SECONDS = 120.0
"""How long importing all packages may take, on a slow disk."""


@dataclass(frozen=True)
class Probed:
    """What came of importing modules: the error of each, "" for none, and the GPU that torch has.

    An error is "absent" if there is no such module.
    """

    errors: Mapping[str, str]
    device: str = ""


def needs(lines: Iterable[str]) -> "list[tuple[Requirement, str]]":
    """Return the requirements for this system, each with its extra ("" for none).

    Args:
        lines: requirements as in the metadata of a package.
    """
    from packaging.requirements import Requirement

    found = []
    for need in map(Requirement, lines):
        for extra in ("", *EXTRAS):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                found.append((need, extra))
                break  # one without an extra counts for all
    return found


def module_of(name: str) -> str:
    """Return what a package is imported as."""
    plain = name.lower().replace("_", "-")
    return MODULES.get(plain, plain.replace("-", "_"))


def probe(modules: Iterable[str], *, seconds: float = SECONDS) -> Probed:
    """Import modules in other processes; begin again after one that ends its process.

    Args:
        modules: names of modules.
        seconds: how long each process may take.
    """
    left, errors, device = list(dict.fromkeys(modules)), dict[str, str](), ""
    while left:
        answers, end = _answers(left, seconds)
        errors |= {a["module"]: a["error"] for a in answers if "error" in a}
        device = next((a["device"] for a in answers if "device" in a), device)
        begun = [a["module"] for a in answers if "module" in a]
        if begun and begun[-1] not in errors:
            errors[begun[-1]] = end
        elif not begun:  # not even the interpreter ran
            errors |= dict.fromkeys(left, end)
        left = [module for module in left if module not in errors]
    return Probed(errors, device)


def _answers(modules: list[str], seconds: float) -> tuple[list[dict[str, Any]], str]:
    """Return what a process said of the modules, and how it ended."""
    command = [sys.executable, "-m", "mkt_search.doctor.probe", *modules]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
        out, end = done.stdout, f"importing it ended Python (exit code {done.returncode})"
    except subprocess.TimeoutExpired as problem:
        out, end = problem.stdout or b"", f"importing it took more than {seconds:.0f} s"
    lines = out.decode("utf-8", "replace").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")], end


def findings() -> Iterator[Finding]:
    """Yield what was found about the program, its packages, its extras, and the GPU."""
    yield Finding("Python", "ok", f"{platform.python_version()} at {sys.executable}")
    try:
        lines = metadata.requires(PROGRAM) or []
    except metadata.PackageNotFoundError:
        fix = "install it: `pip install .` in the checkout"
        yield Finding("MKT search", "problem", "it is not installed as a package", fix)
        return
    yield Finding("MKT search", "ok", metadata.version(PROGRAM))
    wanted = needs(lines)
    probed = probe(module_of(need.name) for need, _ in wanted)
    yield from about(wanted, probed, versions(wanted))
    if probed.device:
        yield Finding("GPU", "absent" if probed.device.startswith("none") else "ok", probed.device)


def versions(wanted: "Iterable[tuple[Requirement, str]]") -> dict[str, str]:
    """Return the installed version of each package that is there."""
    found = {}
    for need, _ in wanted:
        try:
            found[need.name] = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            continue
    return found


def about(
    wanted: "Iterable[tuple[Requirement, str]]", probed: Probed, installed: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield what is wrong with packages that are required, then a line for each extra.

    Args:
        wanted: from `needs`.
        probed: from `probe`.
        installed: from `versions`.
    """
    by_extra: dict[str, list[Finding]] = {}
    for need, extra in wanted:
        by_extra.setdefault(extra, []).append(_about_one(need, extra, probed, installed))
    required = by_extra.pop("", [])
    sound = [f"{one.what} {one.found}" for one in required if one.state == "ok"]
    yield Finding("packages", "ok", ", ".join(sound))
    yield from (one for one in required if one.state != "ok")
    if all(_state(by_extra.get(extra, ())) == "absent" for extra in FAISS):
        fix = f'pip install "{PROGRAM}[cpu]"'
        yield Finding("FAISS", "problem", "it is not installed, and one is required", fix)
    for extra, gives in EXTRAS.items():
        if extra in by_extra:
            yield _about_extra(extra, gives, by_extra[extra])


def _about_one(
    need: "Requirement", extra: str, probed: Probed, installed: Mapping[str, str]
) -> Finding:
    error, version = probed.errors.get(module_of(need.name), ""), installed.get(need.name, "")
    target = f"{PROGRAM}[{extra}]" if extra else PROGRAM
    fix = f'pip install "{target}"'
    if (extra in FAISS or error == "absent") and not version:
        return Finding(need.name, "absent" if extra else "problem", "not installed", fix)
    if error:
        fix = f"pip install --force-reinstall {need.name}"
        return Finding(need.name, "problem", f"{version} cannot be imported: {error}".strip(), fix)
    if version and not need.specifier.contains(version, prereleases=True):
        fix = f'pip install --upgrade "{target}"'
        return Finding(need.name, "problem", f"{version}, but {need.specifier} is needed", fix)
    return Finding(need.name, "ok", version)


def _state(parts: Iterable[Finding]) -> str:
    """Return "problem" if a part is wrong, "absent" if one is missing, else "ok"."""
    states = {part.state for part in parts} or {"absent"}
    return next(state for state in ("problem", "absent", "ok") if state in states)


def _about_extra(extra: str, gives: str, parts: list[Finding]) -> Finding:
    what = f"extra {extra}"
    state = _state(parts)
    if state == "problem":
        one = next(part for part in parts if part.state == "problem")
        return Finding(what, "problem", f"{gives}: {one.what} {one.found}", one.fix)
    if state == "absent":
        return Finding(what, "absent", gives, f'pip install "{PROGRAM}[{extra}]"')
    return Finding(what, "ok", f"{gives} ({', '.join(f'{p.what} {p.found}' for p in parts)})")
