"""Read and write checkpoints: a directory of weights and `meta.json` that defines a whole model.

    student.safetensors   every weight of the student, once
    labels.npz            the label table, if that is the label encoder
    prompt.safetensors    `context` (C, W): the learned prompt, if the label encoder has one
    tower.safetensors     the text tower, if the checkpoint has its own
    anchor.safetensors    the anchor of the student, if it has one
    meta.json             how to build the model, its provenance, its evaluation results

`meta.json` has the SHA-256 of the other files: that makes the fingerprint cheap, and a replaced or
damaged file is refused when it is loaded. Light to import: torch is loaded only to write.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mkt_search.errors import ModelError
from mkt_search.files import open_regular, read_text
from mkt_search.models.allowed import OPEN_CLIP, TIMM, check_options
from mkt_search.models.anchor_choice import AnchorChoice
from mkt_search.models.label_table import LabelTable
from mkt_search.models.stream_choice import StreamChoice, check_local_share
from mkt_search.paths import bare_name
from mkt_search.portable import sync
from mkt_search.types import (
    EQUAL_SHARES,
    MAX_DIM,
    MAX_PATCHES,
    ImageSpec,
    check_grid,
    check_whole,
)

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 3
"""The newest format of a checkpoint: 3 has unequal streams, 2 an anchor, any other is 1."""

META, STUDENT, LABELS, PROMPT, TOWER, ANCHOR = (
    "meta.json",
    "student.safetensors",
    "labels.npz",
    "prompt.safetensors",
    "tower.safetensors",
    "anchor.safetensors",
)
CLIP_CONFIG = "open_clip_config.json"  # marks a folder as an open_clip model
CLIP_WEIGHTS = "open_clip_model.safetensors"  # beside it; open_clip's HF_SAFE_WEIGHTS_NAME
BACKBONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,119}")
"""Names of architectures: no address of a model elsewhere, as `hf-hub:...` is."""

SHA256 = re.compile(r"[0-9a-f]{64}")
MAX_META = 1 << 22  # bytes of meta.json, most of which are labels
ELSEWHERE = ("\\\\", "//", "\\/", "/\\")  # how names on other machines begin in Windows
MAX_TEXT = 1_000  # characters of a template, and of a name of weights
Heads = Literal["linear", "mlp", "shared"]
TEMPLATE = "There is a {} in the scene"


@dataclass(frozen=True)
class Prompt:
    """A text tower of open_clip as the label encoder.

    Args:
        model: the name of an open_clip model; or, if `weights` is "", the folder of one, absolute
            or relative to the checkpoint.
        weights: a pretrained tag of open_clip; or a file, absolute or relative to the checkpoint;
            `TOWER` is a file with a text tower only.
        template: text with one "{}" for the label.
        lengths: "one" scales label vectors to length 1; "own" keeps the lengths of the tower,
            divided by the length for the word "label", so some labels weigh more.
    """

    model: str
    weights: str
    template: str = TEMPLATE
    lengths: Literal["one", "own"] = "one"

    def __post_init__(self) -> None:
        for name in ("model", "weights", "template"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > MAX_TEXT or "\0" in text:
                raise ValueError(f"the {name} of the prompt is no text of at most {MAX_TEXT} signs")
        if self.model.startswith(ELSEWHERE) or self.weights.startswith(ELSEWHERE):
            raise ValueError("the prompt names a model on another machine")
        if self.lengths not in ("one", "own"):
            raise ValueError('the lengths of the prompt must be "one" or "own"')


@dataclass(frozen=True)
class Meta:
    """The content of `meta.json`: everything about a checkpoint except its tensors.

    `backbone` is an architecture of `library`, `options` are its further arguments. `local_share`
    is the weight of the local stream in the score, from 0 to 1; the paper's is 1/2. `trained` is
    the provenance and `results` the evaluation; neither affects a vector, so neither is part of
    the fingerprint. `write` fills in `files` (name -> SHA-256).

    Raises:
        ValueError: a value has another type, is out of range, or is not allowed (`allowed`).
    """

    backbone: str
    image: ImageSpec
    grid: tuple[int, int]
    dim: int
    top_k: int
    library: Literal["timm", "open_clip"] = "timm"
    options: dict[str, Any] = field(default_factory=dict)
    heads: Heads = "linear"
    prompt: Prompt | None = None
    trained: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    format: int = 1
    local_share: float = EQUAL_SHARES

    def __post_init__(self) -> None:
        check_whole("format", self.format, least=1, most=FORMAT)
        check_whole("dim", self.dim, least=1, most=MAX_DIM)
        check_grid(self.grid)
        check_whole("top_k", self.top_k, least=1, most=MAX_PATCHES)
        check_local_share(self.local_share)
        if not isinstance(self.backbone, str) or not BACKBONE.fullmatch(self.backbone):
            raise ValueError(f"the backbone cannot be {str(self.backbone)[:60]!r}")
        if self.library not in ("timm", "open_clip") or self.heads not in get_args(Heads):
            raise ValueError("the library or the kind of the heads is unknown")
        for name in ("options", "trained", "results", "files"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} is not an object")
        check_options(self.options, TIMM if self.library == "timm" else OPEN_CLIP)
        for name, digest in self.files.items():
            bare_name(name)
            if not isinstance(digest, str) or not SHA256.fullmatch(digest):
                raise ValueError(f"the digest of {name} is no SHA-256")
        for name in ("seen", "unseen"):
            labels = self.trained.get(name, [])
            if not isinstance(labels, list | tuple) or not all(isinstance(x, str) for x in labels):
                raise ValueError(f"the {name} labels are not a list of text")
        for name in ("settings", "photos"):
            if not isinstance(self.trained.get(name, {}), dict):
                raise ValueError(f"{name} of the training is not an object")
        AnchorChoice.of(stage1_of(self.trained))
        StreamChoice.of(stage1_of(self.trained))


def stage1_of(trained: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the provenance of stage 1, which that of stage 2 contains."""
    first = trained.get("stage1")
    found = first.get("trained") if isinstance(first, dict) else None
    return found if isinstance(found, dict) else trained


def read_meta(directory: Path) -> Meta:
    """Read `meta.json`.

    Raises:
        ModelError: the directory is not a checkpoint, or one of a newer version of this program.
    """
    path = directory / META
    if not is_checkpoint(directory):
        raise ModelError(f"{directory} is not a checkpoint: there is no {META} in it")
    text = read_text(path, ModelError, at_most=MAX_META)
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    try:
        return _parse(raw)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is not a description of a checkpoint: {error}") from error


def is_checkpoint(directory: Path) -> bool:
    """Return True if the directory has a `meta.json`."""
    return (directory / META).is_file()


def fingerprint(directory: Path) -> str:
    """Return the fingerprint of the student, 12 hex digits over all that affects a photo's vectors.

    The path, the provenance, the results and the label encoder are not part of it, so a new prompt
    does not require photos to be indexed again; label encoders have their own fingerprints.

    Raises:
        ModelError: `meta.json` cannot be read.
    """
    meta = read_meta(directory)
    parts = [meta.library, meta.backbone, meta.options, meta.heads, meta.dim, meta.grid]
    parts += [meta.image.as_key(), meta.files.get(STUDENT)]
    if ANCHOR in meta.files:
        parts.append(meta.files[ANCHOR])
    if meta.local_share != EQUAL_SHARES:
        parts.append(meta.local_share)
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def checked_bytes(directory: Path, name: str, meta: Meta) -> bytes:
    """Return the content of a file of the checkpoint after comparing its SHA-256 with `meta`.

    It is read once: a file that is replaced after the comparison is not used.

    Raises:
        ModelError: the file is missing, was replaced or is damaged.
    """
    path = directory / name
    try:
        with open_regular(path) as stream:
            data = stream.read()
    except OSError as error:
        raise ModelError(f"the checkpoint {directory} is incomplete: {error}") from error
    if hashlib.sha256(data).hexdigest() != meta.files.get(name):
        raise ModelError(
            f"{path} is not the file that {META} describes: it was replaced or damaged; copy the"
            f" checkpoint again"
        )
    return data


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a regular file's bytes, as hex digits. Raises OSError."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(
    directory: Path,
    meta: Meta,
    student: "Mapping[str, Tensor]",
    *,
    labels: LabelTable | None = None,
    context: "Tensor | None" = None,
    text: "Mapping[str, Tensor] | None" = None,
    anchor: "Mapping[str, Tensor] | None" = None,
) -> Meta:
    """Write a checkpoint atomically; replace an existing one.

    Args:
        directory: where to write it.
        meta: everything but the tensors; `files` is filled in here.
        student: the tensors of `Student.state()`.
        labels: the label table to include.
        context: (C, W), the learned prompt, for a `meta.prompt`.
        text: the tensors of a text tower, for a `meta.prompt` whose weights are `TOWER`.
        anchor: the tensors of the student's anchor.

    Returns:
        The meta as written.

    Raises:
        ModelError: the directory exists and is not a checkpoint, or it cannot be written.
    """
    with _replacing(directory) as folder:
        _save(student, folder / STUDENT)
        if text is not None:
            _save(text, folder / TOWER)
        if anchor is not None:
            _save(anchor, folder / ANCHOR)
        if labels is not None:
            labels.save(folder / LABELS)
        if context is not None:
            _save({"context": context}, folder / PROMPT)
        files = {path.name: hash_file(path) for path in _entries(folder)}
        meta = replace(meta, files=files, format=_format_of(meta, has_anchor=anchor is not None))
        _save_meta(meta, folder)
    return meta


def _format_of(meta: Meta, *, has_anchor: bool) -> int:
    """Return the lowest format that has all of a checkpoint."""
    if meta.local_share != EQUAL_SHARES:
        return 3
    return 2 if has_anchor else meta.format


def write_tuned(directory: Path, meta: Meta, source: Path, *, context: "Tensor") -> Meta:
    """Write a copy of `source` with another learned prompt, atomically.

    The files of the source are hard-linked, or copied where the disk has no links.

    Args:
        directory: where to write it.
        meta: that of the source, with its own provenance and results.
        source: the directory of a checkpoint.
        context: (C, W), the learned prompt.

    Returns:
        The meta as written.

    Raises:
        ModelError: the directory exists and is not a checkpoint, it cannot be written, or the
            source lacks a file.
    """
    kept = {name: digest for name, digest in read_meta(source).files.items() if name != PROMPT}
    tower = _own_tower(source, meta.prompt)
    with _replacing(directory) as folder:
        try:
            for name in {*kept, *([tower] if tower else [])}:
                _link_or_copy(source / name, folder / name)
        except OSError as error:
            raise ModelError(f"the checkpoint {source} cannot be copied: {error}") from error
        _save({"context": context}, folder / PROMPT)
        files = {**kept, PROMPT: hash_file(folder / PROMPT)}
        meta = replace(meta, files=files, prompt=_relocated(meta.prompt, source, directory))
        _save_meta(meta, folder)
    return meta


def _own_tower(directory: Path, prompt: Prompt | None) -> str:
    """Return the file or folder of the text tower if it is inside the checkpoint, else ""."""
    name = (prompt.weights or prompt.model) if prompt else ""
    is_inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    return name if name and is_inside and (directory / name).exists() else ""


def _relocated(prompt: Prompt | None, source: Path, directory: Path) -> Prompt | None:
    """Return the prompt with a path outside of `source` made relative to `directory`."""
    name = (prompt.weights or prompt.model) if prompt else ""
    if prompt is None or ".." not in Path(name).parts or not (source / name).exists():
        return prompt
    relative = os.path.relpath(source / name, directory)
    return replace(prompt, weights=relative) if prompt.weights else replace(prompt, model=relative)


def _link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a file or the files of a folder; copy them where the disk has no links."""
    if source.is_dir():
        for path in source.iterdir():
            _link_or_copy(path, target / path.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(
            source.resolve()
        )  # resolved: a hard link to a relative symlink would break
    except OSError:
        shutil.copyfile(source, target)


def _save(tensors: "Mapping[str, Tensor]", path: Path) -> None:
    """Write tensors. Raises OSError if the disk fails, also for an error of safetensors."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _save_meta(meta: Meta, folder: Path) -> None:
    content = asdict(meta)
    if meta.local_share == EQUAL_SHARES:  # earlier versions know no such key
        del content["local_share"]
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / META).write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def _replacing(directory: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `directory` if the block succeeds."""
    if directory.exists() and not is_checkpoint(directory) and any(_entries(directory)):
        raise ModelError(f"{directory} exists and is not a checkpoint; name another directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        yield folder
        _publish(folder, directory)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise ModelError(
                f"the checkpoint {directory} cannot be written: {error.strerror or error}; make"
                " room there, or name another directory"
            ) from error
        raise


def _publish(folder: Path, directory: Path) -> None:
    """Rename a finished folder to its place; delete the former one only after that."""
    folder.chmod(0o755)  # mkdtemp makes it private, and safetensors its files
    for path in _entries(folder):
        path.chmod(0o644)
    for path in [*_entries(folder), folder]:
        sync(path)
    former = folder.with_name(folder.name + ".former")
    if directory.exists():
        directory.rename(former)
    try:
        folder.rename(directory)
    except OSError:
        if former.exists():
            former.rename(directory)
        raise
    sync(directory.parent)
    shutil.rmtree(former, ignore_errors=True)


def _entries(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else [directory]


def _parse(raw: dict[str, Any]) -> Meta:
    if type(raw["format"]) is int and raw["format"] > FORMAT:
        raise ValueError(f"format {str(raw['format'])[:20]} is newer than this program; upgrade it")
    unknown = set(raw) - {item.name for item in fields(Meta)}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}")
    image = dict(raw["image"])
    image["mean"], image["std"] = tuple(image["mean"]), tuple(image["std"])
    rows, columns = raw["grid"]
    prompt = Prompt(**raw["prompt"]) if raw.get("prompt") else None
    return Meta(**{**raw, "image": ImageSpec(**image), "grid": (rows, columns), "prompt": prompt})
