"""Assemble models: from a checkpoint, or from open_clip by name.

Light to import and light to open: torch is loaded only when an encoder that needs it is built, so
a search with a label table never loads it.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkt_search.errors import ModelError
from mkt_search.models import checkpoint
from mkt_search.models.anchor_choice import AnchorChoice
from mkt_search.models.checkpoint import Meta, Prompt
from mkt_search.models.label_table import LabelTable
from mkt_search.models.stream_choice import StreamChoice
from mkt_search.types import (
    DEFAULT_PATCH_VECTORS,
    EQUAL_SHARES,
    ImageSpec,
    LabelEncoder,
    PatchVectors,
)

if TYPE_CHECKING:
    from torch import Tensor

    from mkt_search.models.clip import ClipFolder, ClipWeights
    from mkt_search.models.clip_student import ClipStudent
    from mkt_search.models.encoder import Dtype, PhotoEncoder, TwoStream
    from mkt_search.models.student import HeadKind, Student
    from mkt_search.models.text import PromptedTextEncoder

DEMO, DEMO_TEACHER = "demo", "demo-teacher"
"""The names of the built-in checkpoint, trained on the demo world, and of its teacher, a CLIP."""
_SHIPPED = Path(__file__).parent.parent / "demo" / "shipped"
DEMO_CHECKPOINT, DEMO_CLIP = _SHIPPED / "checkpoint", _SHIPPED / "clip"


class Model(ABC):
    """A student and a label encoder of the same vector space; each is built on first use."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def opened(self) -> "Model":
        """The model itself; another object for one that is only recorded (`models.record`)."""
        return self

    @property
    def remarks(self) -> list[str]:
        """What an evaluation should say of the model, as sentences."""
        return []

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """12 hex digits over all that affects a photo's vectors."""

    @property
    @abstractmethod
    def image(self) -> ImageSpec:
        """The student's input pixels."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """D, the length of every vector."""

    @property
    @abstractmethod
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""

    @property
    @abstractmethod
    def top_k(self) -> int:
        """The number of best patches that the local score averages."""

    @property
    @abstractmethod
    def label_fingerprint(self) -> str:
        """The fingerprint of the label encoder, without building a text tower."""

    @property
    @abstractmethod
    def local_share(self) -> float:
        """The weight of the local stream in the score, between 0 and 1."""

    @property
    def why_own(self) -> str:
        """Why the model gives only its own patch vectors; "" if it gives every form of them."""
        return "a trained student gives patch vectors as it was trained to"

    def patch_vectors(self, wanted: PatchVectors) -> PatchVectors:
        """Return the form of the patch vectors that the model gives if `wanted` is asked for."""
        return "own" if wanted != "own" and self.why_own else wanted

    @abstractmethod
    def student(self, patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS) -> "TwoStream":
        """Build the student in float32 on the CPU.

        Args:
            patch_vectors: their form; a model that has only its own gives these.

        Raises:
            ModelError: its weights are missing, damaged or do not fit.
        """

    @abstractmethod
    def label_encoder(self, templates: Sequence[str] = ()) -> LabelEncoder:
        """Return the label encoder, always the same object for the same templates.

        Args:
            templates: texts with one "{}" each for the label, over which a plain CLIP averages;
                none is its one default template. A trained checkpoint keeps what it was trained
                with.

        Raises:
            ModelError: the model has none, or its files are missing or damaged; or a template does
                not have exactly one "{}".
        """

    def photo_encoder(
        self,
        *,
        device: str = "auto",
        dtype: "Dtype" = "auto",
        patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS,
    ) -> "PhotoEncoder":
        """Build the student on a device, ready to encode photos; arguments as for `student`.

        Raises:
            ModelError: as `student`; or this machine does not have the device.
        """
        from mkt_search.models.encoder import PhotoEncoder

        return PhotoEncoder(
            self.student(patch_vectors),
            self.image,
            device=device,
            dtype=dtype,
            local_share=self.local_share,
        )


class CheckpointModel(Model):
    """The model of a checkpoint directory."""

    def __init__(self, directory: Path, *, name: str) -> None:
        super().__init__(name)
        self.directory = directory
        self.meta = checkpoint.read_meta(directory)

    @property
    def remarks(self) -> list[str]:
        """The anchor and the weights of the streams, with the curves they were chosen on."""
        trained = checkpoint.stage1_of(self.meta.trained)
        found = (AnchorChoice.of(trained), StreamChoice.of(trained))
        return [sentence for choice in found if choice for sentence in choice.sentences()]

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over the weights and how they are used; not the path or the provenance."""
        return checkpoint.fingerprint(self.directory)

    @property
    def image(self) -> ImageSpec:
        """The student's input pixels."""
        return self.meta.image

    @property
    def dim(self) -> int:
        """D, the length of every vector."""
        return self.meta.dim

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self.meta.grid

    @property
    def top_k(self) -> int:
        """The number of best patches that the local score averages."""
        return self.meta.top_k

    @property
    def local_share(self) -> float:
        """The weight of the local stream in the score, between 0 and 1."""
        return self.meta.local_share

    @cached_property
    def label_fingerprint(self) -> str:
        """The fingerprint of the label encoder, without building a text tower."""
        if checkpoint.LABELS in self.meta.files or self.meta.prompt is None:
            return self._label_encoder.fingerprint
        from mkt_search.models.text import prompt_fingerprint

        prompt = self.meta.prompt
        tower = _text_weights(prompt, directory=self.directory).fingerprint
        return prompt_fingerprint(tower, prompt.template, self._context(), prompt.lengths)

    def student(self, patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS) -> "TwoStream":
        """Build the student and load its weights. Raises ModelError if they do not fit."""
        state = self._tensors(checkpoint.STUDENT)
        source = str(self.directory / checkpoint.STUDENT)
        _check_size(self.meta, state, source=source)
        student: Student | ClipStudent = _empty_student(self.meta)
        student.load(state, source=source)
        if checkpoint.ANCHOR in self.meta.files:
            self._give_anchor(student)
        return student.eval()

    def _give_anchor(self, student: "Student | ClipStudent") -> None:
        """Give the student the anchor of the checkpoint. Raises ModelError if it does not fit."""
        from mkt_search.models.anchor import Anchor
        from mkt_search.models.student import Student

        source = str(self.directory / checkpoint.ANCHOR)
        if not isinstance(student, Student):
            raise ModelError(f"{source}: a tower of open_clip has no anchor")
        student.anchor = Anchor.of(
            self._tensors(checkpoint.ANCHOR),
            channels=student.channels,
            dim=self.meta.dim,
            source=source,
        )

    def label_encoder(self, templates: Sequence[str] = ()) -> LabelEncoder:
        """Return the label table, or the text tower with the prompt of its training."""
        return self._label_encoder

    @cached_property
    def _label_encoder(self) -> LabelEncoder:
        if checkpoint.LABELS in self.meta.files:
            data = checkpoint.checked_bytes(self.directory, checkpoint.LABELS, self.meta)
            return LabelTable.of_npz(data, source=self.name)
        if self.meta.prompt is None:
            raise ModelError(
                f"the checkpoint {self.name} has no label encoder; train it with a label table"
            )
        tower = self._tensors(checkpoint.TOWER) if checkpoint.TOWER in self.meta.files else None
        prompt, context = self.meta.prompt, self._context()
        return _prompted(prompt, directory=self.directory, tower=tower, context=context)

    def _context(self) -> "Tensor | None":
        if checkpoint.PROMPT not in self.meta.files:
            return None
        tensors = self._tensors(checkpoint.PROMPT)
        if "context" not in tensors:
            raise ModelError(
                f"{self.directory / checkpoint.PROMPT} holds no context; copy it again"
            )
        return tensors["context"]

    def _tensors(self, name: str) -> "dict[str, Tensor]":
        from mkt_search.models.student import tensors_of

        data = checkpoint.checked_bytes(self.directory, name, self.meta)
        return tensors_of(data, source=str(self.directory / name))


class AnchorAlone(Model):
    """The anchor of a checkpoint without its heads: what its backbone knew before training.

    Args:
        model: a checkpoint with an anchor.
    """

    def __init__(self, model: CheckpointModel) -> None:
        super().__init__(f"{model.name}, anchor alone")
        self._model = model

    @property
    def fingerprint(self) -> str:
        """12 hex digits over all that affects a photo's vectors."""
        return hashlib.sha256(f"anchor of {self._model.fingerprint}".encode()).hexdigest()[:12]

    @property
    def image(self) -> ImageSpec:
        """The student's input pixels."""
        return self._model.image

    @property
    def dim(self) -> int:
        """D, the length of every vector."""
        return self._model.dim

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self._model.grid

    @property
    def top_k(self) -> int:
        """The number of best patches that the local score averages."""
        return self._model.top_k

    @property
    def local_share(self) -> float:
        """The weight of the local stream in the score, between 0 and 1."""
        return self._model.local_share

    @property
    def label_fingerprint(self) -> str:
        """The fingerprint of the label encoder."""
        return self._model.label_fingerprint

    def student(self, patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS) -> "TwoStream":
        """Build the student with heads that give zero vectors."""
        from mkt_search.models.student import Student

        student = self._model.student()
        assert isinstance(student, Student)  # a tower of open_clip has no anchor
        for head in (student.global_head, student.local_head):
            for parameter in head.parameters():
                parameter.detach().zero_()
        return student

    def label_encoder(self, templates: Sequence[str] = ()) -> LabelEncoder:
        """Return the label encoder of the checkpoint."""
        return self._model.label_encoder()


class ClipModel(Model):
    """An open_clip model: its image tower as the student, its text tower as the label encoder."""

    def __init__(
        self, weights: "ClipWeights | ClipFolder", *, name: str, why_own: str = ""
    ) -> None:
        """Name the model; `why_own` says why its own patch vectors are the best it has."""
        super().__init__(name)
        self._averaged: dict[tuple[str, ...], LabelEncoder] = {}
        self._why_own = why_own
        self._weights = weights

    @property
    def fingerprint(self) -> str:
        """12 hex digits over the architecture, the preprocessing and the weights file."""
        return self._weights.fingerprint

    @property
    def image(self) -> ImageSpec:
        """The pixels that the tower was trained on."""
        return self._student.image

    @property
    def dim(self) -> int:
        """D, the length of every vector."""
        return self._student.dim

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""
        return self._student.grid

    @property
    def top_k(self) -> int:
        """The paper's fraction of the patches, 18 of 196."""
        rows, columns = self.grid
        return max(1, round(rows * columns * 18 / 196))

    @property
    def local_share(self) -> float:
        """The weight of the local stream in the score, between 0 and 1."""
        return EQUAL_SHARES

    @property
    def label_fingerprint(self) -> str:
        """The fingerprint of the label encoder, without building a text tower."""
        from mkt_search.models.text import prompt_fingerprint

        return prompt_fingerprint(self._weights.fingerprint, checkpoint.TEMPLATE, None, "one")

    @property
    def why_own(self) -> str:
        """Why the tower gives only its own patch vectors; "" if it gives every form of them."""
        return self._why_own or self._student.why_own

    def student(self, patch_vectors: PatchVectors = DEFAULT_PATCH_VECTORS) -> "ClipStudent":
        """Return a copy of the image tower: a `PhotoEncoder` casts it in place."""
        student = deepcopy(self._student)
        student.patch_vectors = "own" if self._why_own else patch_vectors
        return student

    def label_encoder(self, templates: Sequence[str] = ()) -> LabelEncoder:
        """Return the text tower with templates; none is its one default template."""
        if not templates:
            return self.plain_encoder
        key = tuple(templates)
        if key not in self._averaged:
            from mkt_search.models.templates import TemplatesEncoder

            self._averaged[key] = TemplatesEncoder(self.plain_encoder, templates)
        return self._averaged[key]

    @cached_property
    def _clip(self) -> Any:
        return self._weights.load()

    @cached_property
    def _student(self) -> "ClipStudent":
        from mkt_search.models.clip_student import clip_student

        return clip_student(self._clip, "own")

    @cached_property
    def plain_encoder(self) -> "PromptedTextEncoder":
        """The text tower in its one default template, in which training uses it."""
        from mkt_search.models.text import PromptedTextEncoder

        return PromptedTextEncoder(
            self._clip,
            self._weights.tokenizer(),
            template=checkpoint.TEMPLATE,
            tower=self._weights.fingerprint,
        )


def locate(spec: str | Path) -> str:
    """Return the folder of a built-in model, or the name itself."""
    name = str(spec)
    return {DEMO: str(DEMO_CHECKPOINT), DEMO_TEACHER: str(DEMO_CLIP)}.get(name, name)


def takes_templates(spec: str) -> bool:
    """Return True if a model is a plain CLIP, whose labels are put into templates."""
    return not checkpoint.is_checkpoint(Path(locate(spec)).expanduser())


def is_here(spec: str) -> bool:
    """Return True if a model can be opened without a download: built in, a folder or NAME/FILE."""
    path = Path(locate(spec)).expanduser()
    _, _, weights = spec.partition("/")
    return path.is_dir() or (bool(weights) and Path(weights).expanduser().is_file())


def open_model(spec: str | Path) -> Model:
    """Open a checkpoint directory, or an open_clip model by name.

    Args:
        spec: a checkpoint directory; or "demo" or "demo-teacher", which are built in; or NAME/TAG
            of open_clip, such as "ViT-B-16/openai"; or NAME/FILE with a local weights file,
            "ViT-B-16-quickgelu//home/me/clip.safetensors"; or the folder of an open_clip model.

    Raises:
        ModelError: it is none of these; the text names the nearest.
    """
    name, path = str(spec), locate(spec)
    directory = Path(path).expanduser()
    if checkpoint.is_checkpoint(directory):
        return CheckpointModel(directory, name=name)
    model, _, weights = path.partition("/")
    is_name = model not in ("", ".", "..", "~") and bool(weights) and not directory.is_dir()
    if not is_name and not (directory / checkpoint.CLIP_CONFIG).is_file():
        raise ModelError(
            f"there is no checkpoint at {path}; name the directory of one, or a model of open_clip"
            f" as NAME/TAG (ViT-B-16/openai) or NAME/FILE"
        )
    from mkt_search.models.clip import open_clip_weights

    is_demo = directory == DEMO_CLIP
    why_own = "its training taught its patches what they show" if is_demo else ""
    return ClipModel(open_clip_weights(path), name=name, why_own=why_own)


def create_student(
    backbone: str,
    *,
    image_size: tuple[int, int],
    dim: int,
    heads: "HeadKind" = "linear",
    weights: Path | None = None,
    **timm_kwargs: Any,
) -> "Student":
    """Build a new student for training: a timm backbone and new heads.

    Args:
        backbone: a timm architecture.
        image_size: height and width in pixels, which may differ.
        dim: D, the length of the label vectors.
        heads: the kind of the two heads, see `create_heads`.
        weights: a local file for the backbone; None leaves it random.
        timm_kwargs: further arguments of the backbone; store them in `Meta.options`.

    Raises:
        ModelError: unknown backbone, or weights that do not fit.
    """
    from mkt_search.models import student as parts

    body = parts.create_backbone(backbone, image_size=image_size, weights=weights, **timm_kwargs)
    channels, grid = parts.measure_backbone(body, image_size)
    return parts.Student(body, *parts.create_heads(heads, channels, dim), dim=dim, grid=grid)


def _empty_student(meta: Meta) -> "Student | ClipStudent":
    """Build the student that a checkpoint describes, without loading its weights."""
    size = (meta.image.height, meta.image.width)
    if meta.library == "timm":
        return create_student(
            meta.backbone, image_size=size, dim=meta.dim, heads=meta.heads, **meta.options
        )
    from mkt_search.models.clip import create_clip
    from mkt_search.models.clip_student import clip_student

    return clip_student(create_clip(meta.backbone, **meta.options), "own")


def _check_size(meta: Meta, state: "Mapping[str, Tensor]", *, source: str) -> None:
    """Check that tensors fit the student that a checkpoint describes, before it takes memory.

    Raises:
        ModelError: they do not.
    """
    if meta.library != "timm":
        return  # an architecture of open_clip, which has the size that it has
    import torch

    from mkt_search.models.student import Student, check_fit

    try:
        with torch.device("meta"):  # shapes without memory
            student = _empty_student(meta)
            if isinstance(student, Student):
                student.take_shape(state)
            own = student.state()
    except (NotImplementedError, RuntimeError):
        return  # a few architectures compute with real numbers when they are built
    check_fit(own, state, complaint=f"{source} does not fit this student")


def _text_weights(prompt: Prompt, *, directory: Path) -> "ClipWeights | ClipFolder":
    """Locate the weights of a checkpoint's text tower: in its directory, beside it, or a tag."""
    from mkt_search.models.clip import ClipFolder, ClipWeights

    beside = directory / prompt.weights
    if not prompt.weights:
        return ClipFolder(directory / prompt.model)
    return ClipWeights(prompt.model, str(beside) if beside.is_file() else prompt.weights)


def _prompted(
    prompt: Prompt,
    *,
    directory: Path,
    tower: "dict[str, Tensor] | None",
    context: "Tensor | None",
) -> "PromptedTextEncoder":
    """Build the text tower that a checkpoint names, with its prompt.

    Args:
        prompt: the prompt.
        directory: the checkpoint.
        tower: the tensors of its own tower, if it has one.
        context: (C, W), the learned context.
    """
    from mkt_search.models.clip import load_text_tower
    from mkt_search.models.text import PromptedTextEncoder

    weights = _text_weights(prompt, directory=directory)
    is_own = prompt.weights == checkpoint.TOWER and tower is not None
    source = str(directory / prompt.weights)
    return PromptedTextEncoder(
        load_text_tower(prompt.model, tower or {}, source=source) if is_own else weights.load(),
        weights.tokenizer(),
        template=prompt.template,
        tower=weights.fingerprint,
        context=context,
        lengths=prompt.lengths,
    )
