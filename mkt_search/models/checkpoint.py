"""A checkpoint: a directory of weights and `meta.json`, from which a model can be rebuilt anywhere.

    student.safetensors   every weight of the student, once
    labels.npz            the label table, when that is the label encoder
    prompt.safetensors    `context` (C, W): the learned prompt, when that is a text tower
    tower.safetensors     the text tower, when its weights are this checkpoint's alone
    meta.json             how to build the model, what trained it, what it reached

`meta.json` keeps the SHA-256 of the other files: it makes the fingerprint cheap, and files that
were exchanged or damaged are refused when they are loaded. Light to import: torch is loaded only to
write.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mkt_search.errors import ModelError
from mkt_search.models.label_table import LabelTable
from mkt_search.types import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
META, STUDENT, LABELS, PROMPT, TOWER = (
    "meta.json",
    "student.safetensors",
    "labels.npz",
    "prompt.safetensors",
    "tower.safetensors",
)
CLIP_CONFIG = "open_clip_config.json"  # makes a folder that of an open_clip model
CLIP_WEIGHTS = "open_clip_model.safetensors"  # beside it; open_clip's HF_SAFE_WEIGHTS_NAME
TEMPLATE = "There is a {} in the scene"


@dataclass(frozen=True)
class Prompt:
    """A text tower of open_clip as the label encoder.

    `weights` is a pretrained tag of open_clip, or a file: absolute, or relative to the checkpoint.
    "" says that `model` is the folder of an open_clip model, absolute or relative likewise. `TOWER`
    is a text tower alone. `lengths` says how long a label's vector is: "one"; or its "own", as the
    tower gives it, in units of that of the word "label", so that some labels weigh more.
    """

    model: str
    weights: str
    template: str = TEMPLATE
    lengths: Literal["one", "own"] = "one"


@dataclass(frozen=True)
class Meta:
    """All that is said of a checkpoint besides its tensors.

    `backbone` is a name of `library` and `options` its further arguments. `trained` tells what made
    the checkpoint and `results` what it reached; neither changes a vector, so neither counts in the
    fingerprint. `files` (name -> SHA-256) is filled in by `write`.
    """

    backbone: str
    image: ImageSpec
    grid: tuple[int, int]
    dim: int
    top_k: int
    library: Literal["timm", "open_clip"] = "timm"
    options: dict[str, Any] = field(default_factory=dict)
    heads: Literal["linear", "mlp", "shared"] = "linear"
    prompt: Prompt | None = None
    trained: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def read_meta(directory: Path) -> Meta:
    """Read `meta.json`. Raises ModelError when this is no checkpoint, or one of a newer program."""
    path = directory / META
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"{directory} is not a checkpoint: there is no {META} in it") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    try:
        return _parse(raw)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is not a description of a checkpoint: {error}") from error


def is_checkpoint(directory: Path) -> bool:
    """True when the directory holds a `meta.json`."""
    return (directory / META).is_file()


def fingerprint(directory: Path) -> str:
    """Return 12 hex digits over what decides a photo's vectors: the weights and how they are used.

    The path, the story, the results and the label encoder do not count, so photos need not be
    indexed again for a new prompt; label encoders have fingerprints of their own.
    """
    meta = read_meta(directory)
    parts = [meta.library, meta.backbone, meta.options, meta.heads, meta.dim, meta.grid]
    text = json.dumps([*parts, meta.image.as_key(), meta.files.get(STUDENT)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def checked_file(directory: Path, name: str, meta: Meta) -> Path:
    """Return the path of a file of the checkpoint. Raises ModelError if it was changed."""
    path = directory / name
    try:
        found = hash_file(path)
    except OSError as error:
        raise ModelError(f"the checkpoint {directory} is incomplete: {error}") from error
    if found != meta.files.get(name):
        raise ModelError(
            f"{path} is not the file that {META} names: it was changed or damaged; copy the"
            f" checkpoint again"
        )
    return path


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(
    directory: Path,
    meta: Meta,
    student: "Mapping[str, Tensor]",
    *,
    labels: LabelTable | None = None,
    context: "Tensor | None" = None,
    text: "Mapping[str, Tensor] | None" = None,
) -> Meta:
    """Write a whole checkpoint or none; one that is already there is replaced.

    Args:
        student: the tensors of `Student.state()`.
        labels: the label table to carry along.
        context: (C, W), the learned prompt, for a `meta.prompt`.
        text: the tensors of a text tower, for a `meta.prompt` whose weights are `TOWER`.

    Returns:
        The meta as written, with the hashes of the files.

    Raises:
        ModelError: the directory exists and is something else than a checkpoint.
    """
    with _making(directory) as made:
        _save(student, made / STUDENT)
        if text is not None:
            _save(text, made / TOWER)
        if labels is not None:
            labels.save(made / LABELS)
        if context is not None:
            _save({"context": context}, made / PROMPT)
        meta = replace(meta, files={path.name: hash_file(path) for path in _entries(made)})
        _save_meta(meta, made)
    return meta


def write_tuned(directory: Path, meta: Meta, source: Path, *, context: "Tensor") -> Meta:
    """Write a checkpoint that is `source` with another learned prompt, whole or not at all.

    The files of the source are taken over byte for byte: linked where the disk can, else copied.

    Args:
        meta: that of the source, with a story and results of its own.
        context: (C, W), the learned prompt.

    Returns:
        The meta as written, with the hashes of the files.

    Raises:
        ModelError: the directory exists and is something else than a checkpoint, or the source
            lacks a file.
    """
    kept = {name: digest for name, digest in read_meta(source).files.items() if name != PROMPT}
    tower = _own_tower(source, meta.prompt)
    with _making(directory) as made:
        try:
            for name in {*kept, *([tower] if tower else [])}:
                _take(source / name, made / name)
        except OSError as error:
            raise ModelError(f"the checkpoint {source} cannot be copied: {error}") from error
        _save({"context": context}, made / PROMPT)
        files = {**kept, PROMPT: hash_file(made / PROMPT)}
        meta = replace(meta, files=files, prompt=_seen_from(directory, source, meta.prompt))
        _save_meta(meta, made)
    return meta


def _own_tower(directory: Path, prompt: Prompt | None) -> str:
    """The file or folder of the text tower, if it lies in the checkpoint; else empty."""
    name = (prompt.weights or prompt.model) if prompt else ""
    is_inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    return name if name and is_inside and (directory / name).exists() else ""


def _seen_from(directory: Path, source: Path, prompt: Prompt | None) -> Prompt | None:
    """The prompt as another checkpoint has to say it whose text tower lies beside the source."""
    name = (prompt.weights or prompt.model) if prompt else ""
    if prompt is None or ".." not in Path(name).parts or not (source / name).exists():
        return prompt
    near = os.path.relpath(source / name, directory)
    return replace(prompt, weights=near) if prompt.weights else replace(prompt, model=near)


def _take(source: Path, target: Path) -> None:
    """Link a file or the files of a folder; copy them where the disk has no links."""
    if source.is_dir():
        for path in source.iterdir():
            _take(path, target / path.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source.resolve())  # never a link to a link, which may be relative
    except OSError:
        shutil.copyfile(source, target)


def _save(tensors: "Mapping[str, Tensor]", path: Path) -> None:
    """Write tensors. Raises OSError, of safetensors' own error too, when the disk does not."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _save_meta(meta: Meta, folder: Path) -> None:
    text = json.dumps(asdict(meta), indent=2, ensure_ascii=False)
    (folder / META).write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def _making(directory: Path) -> Iterator[Path]:
    """Lend a folder to fill; it takes the place of `directory` when all went well."""
    if directory.exists() and not is_checkpoint(directory) and any(_entries(directory)):
        raise ModelError(f"{directory} exists and is not a checkpoint; name another directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield made
        _publish(made, directory)
    except BaseException as error:
        shutil.rmtree(made, ignore_errors=True)
        if isinstance(error, OSError):
            raise ModelError(
                f"the checkpoint {directory} cannot be written: {error.strerror or error}; make"
                " room there, or name another directory"
            ) from error
        raise


def _publish(made: Path, directory: Path) -> None:
    """Put a finished directory in its place; the former one goes only when the new one stands."""
    made.chmod(0o755)  # mkdtemp makes it private, safetensors its files
    for path in _entries(made):
        path.chmod(0o644)
    for path in [*_entries(made), made]:
        _sync(path)
    former = made.with_name(made.name + ".former")
    if directory.exists():
        directory.rename(former)
    try:
        made.rename(directory)
    except OSError:
        if former.exists():
            former.rename(directory)
        raise
    _sync(directory.parent)
    shutil.rmtree(former, ignore_errors=True)


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else [directory]


def _sync(path: Path) -> None:
    with contextlib.suppress(PermissionError):  # Windows opens no directories
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _parse(raw: dict[str, Any]) -> Meta:
    if raw["format"] > FORMAT:
        raise ValueError(f"format {raw['format']} is newer than this program; upgrade it")
    unknown = set(raw) - {item.name for item in fields(Meta)}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}")
    image = dict(raw["image"])
    image["mean"], image["std"] = tuple(image["mean"]), tuple(image["std"])
    rows, columns = raw["grid"]
    prompt = Prompt(**raw["prompt"]) if raw.get("prompt") else None
    return Meta(**{**raw, "image": ImageSpec(**image), "grid": (rows, columns), "prompt": prompt})
