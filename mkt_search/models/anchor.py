"""The anchor: what a backbone's own classifier knows, added to the vectors of a trained student.

    c(x) = sum of p_j v_j over the ten most probable classes j, divided by the sum of their p_j
    a(x) = (c(x) - center) x scale
    e    = e_student / |e_student| + a(x)

x is a feature of the backbone, p_j the classifier's probabilities and v_j the label vector of the
name of class j: ConSE (Norouzi et al., ICLR 2014; https://arxiv.org/abs/1312.5650). `center` is the
mean of c over photos. Both terms lie in the label space, so the inner product of a label with e is
the sum of its scores by student and by classifier, and a search costs what it did before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn
from torch.nn import functional

from mkt_search.errors import ModelError
from mkt_search.files import read_text
from mkt_search.models.student import StudentVectors, read_tensors
from mkt_search.types import LabelEncoder, Vector

TOP = 10  # classes in the mean, as in the paper
MAX_CLASSES = 65_536
MAX_NAMES = 1 << 24  # bytes of a file of class names
_GLOBAL = ("weight", "bias", "vectors", "center")
_PATCHES = "patch_center"


@dataclass(frozen=True)
class Classifier:
    """A linear classifier of A classes on a backbone's mean feature: (A, C), (A,), A names."""

    weight: Tensor
    bias: Tensor
    names: tuple[str, ...]


class Anchor(nn.Module):
    """Adds the classifier's part to the vectors of a student.

    Args:
        weight: (A, C), of the classes whose names have a label vector.
        bias: (A,).
        vectors: (A, D), the label vectors of the classes, times the scale.
        center: (D,), the mean of c over photos, times the scale.
        patch_center: (D,), the mean of c over patches, times the scale; None leaves the patches to
            the student.

    Raises:
        ValueError: the shapes do not fit, or a number is not finite.
    """

    weight: Tensor
    bias: Tensor
    vectors: Tensor
    center: Tensor
    patch_center: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        vectors: Tensor,
        center: Tensor,
        patch_center: Tensor | None = None,
    ) -> None:
        super().__init__()
        parts = dict(zip(_GLOBAL, (weight, bias, vectors, center), strict=True))
        _check(parts if patch_center is None else {**parts, _PATCHES: patch_center})
        for name, part in parts.items():
            self.register_buffer(name, part)
        self.register_buffer(_PATCHES, patch_center)

    @classmethod
    def of(cls, state: Mapping[str, Tensor], *, channels: int, dim: int, source: str) -> "Anchor":
        """Return the anchor of the tensors of a checkpoint.

        Args:
            state: what `state_dict` returned.
            channels: C of the backbone.
            dim: D of the label space.
            source: the name of the file in messages.

        Raises:
            ModelError: they are no anchor, or one of another backbone or label space.
        """
        if not set(_GLOBAL) <= set(state) <= {*_GLOBAL, _PATCHES}:
            raise ModelError(f"{source} is no anchor: it holds {', '.join(sorted(state)[:8])}")
        try:
            anchor = cls(**{name: tensor.float() for name, tensor in state.items()})
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{source} is no anchor: {error}") from None
        found = anchor.weight.shape[1], anchor.vectors.shape[1]
        if found != (channels, dim):
            raise ModelError(
                f"{source} is the anchor of a backbone of {found[0]} channels and labels of"
                f" {found[1]} dimensions; this student has {channels} and {dim}"
            )
        return anchor

    def scaled(self, factor: float) -> "Anchor":
        """Return the anchor with its part multiplied by a factor."""
        patches = None if self.patch_center is None else factor * self.patch_center
        vectors, center = factor * self.vectors, factor * self.center
        return Anchor(self.weight, self.bias, vectors, center, patches)

    def forward(self, features: Tensor) -> Tensor:
        """Return the part of global features, (..., C) -> (..., D)."""
        return self._mean(features) - self.center

    def add(self, vectors: StudentVectors, cls: Tensor, patches: Tensor) -> StudentVectors:
        """Return the anchored vectors.

        Args:
            vectors: the student's, (B, D) and (B, P, D).
            cls: (B, C), the features that the global vectors come from.
            patches: (B, P, C), those of the patches.
        """
        global_vectors = functional.normalize(vectors.global_vectors, dim=-1) + self(cls)
        if self.patch_center is None:
            return StudentVectors(global_vectors, vectors.patches)
        part = self._mean(patches) - self.patch_center
        return StudentVectors(global_vectors, functional.normalize(vectors.patches, dim=-1) + part)

    def _mean(self, features: Tensor) -> Tensor:
        """Return the mean of the vectors of the most probable classes: (..., C) -> (..., D)."""
        logits = (features @ self.weight.T + self.bias).float()
        best = logits.topk(min(TOP, logits.shape[-1]), dim=-1)
        shares = torch.zeros_like(logits).scatter(-1, best.indices, best.values.softmax(dim=-1))
        return shares.to(self.vectors.dtype) @ self.vectors


def read_classifier(path: Path, names: Sequence[str] | None, *, channels: int) -> Classifier | None:
    """Read the classifier of a backbone from a file of weights, which may hold the backbone too.

    Args:
        path: `.safetensors`, or a `.pth` with tensors only.
        names: of its classes, in order; None takes those of ImageNet.
        channels: C of the backbone.

    Returns:
        The classifier; None if the file holds none.

    Raises:
        ModelError: it does not fit the backbone or the names, or the names are unknown.
    """
    state = read_tensors(path)
    found = [
        name.removesuffix(".weight")
        for name, tensor in state.items()
        if name.rpartition(".")[0].rpartition(".")[2] in ("classifier", "fc", "head")
        and name.endswith(".weight")
        and tensor.ndim in (2, 4)
    ]
    if len(found) != 1 or f"{found[0]}.bias" not in state:
        return None
    weight, bias = state[f"{found[0]}.weight"].flatten(1).float(), state[f"{found[0]}.bias"].float()
    if weight.shape[1] != channels:
        raise ModelError(
            f"{path} is the classifier of another backbone: it reads {weight.shape[1]:,} channels,"
            f" the backbone gives {channels:,}"
        )
    names = imagenet_names(len(weight)) if names is None else names
    if names is None:
        raise ModelError(
            f"{path} has {len(weight):,} classes, which are not those of ImageNet; give a file with"
            " their names, a class a line, as --class-names"
        )
    if not len(weight) == len(bias) == len(names):
        raise ModelError(
            f"{path} has {len(weight):,} classes, but there are {len(names):,} class names; give"
            " the file that belongs to it, a class a line, as --class-names"
        )
    return Classifier(weight, bias, tuple(names))


def imagenet_names(classes: int) -> tuple[str, ...] | None:
    """Return the class names that timm knows for so many classes of ImageNet, or None.

    1,001 are the 1,000 of ImageNet-1k after a background.
    """
    has_background = classes == 1_001
    subset = infer_imagenet_subset({"num_classes": classes - has_background})
    if subset is None:
        return None
    return (*(["background"] * has_background), *ImageNetInfo(subset).label_descriptions())


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read class names, one a line; synonyms of a class are separated by commas.

    Raises:
        ModelError: the file cannot be read or is empty.
    """
    lines = read_text(path, ModelError, at_most=MAX_NAMES).splitlines()
    names = tuple(line.strip() for line in lines)
    if not any(names):
        raise ModelError(f"{path} names no classes; give a class name a line")
    return names


def class_label(name: str, knows: Callable[[str], bool]) -> str | None:
    """Return the known label that stands for a class name, or None.

    That is the first synonym that is known; else the first known head noun of a synonym, its last
    word: "dog" for "maltese dog".
    """
    synonyms = [part.strip() for part in name.split(",") if part.strip()]
    heads = [synonym.split()[-1] for synonym in synonyms]
    return next((label for label in (*synonyms, *heads) if knows(label)), None)


def class_vectors(
    names: Sequence[str], encoder: LabelEncoder, *, knows: Callable[[str], bool]
) -> tuple[NDArray[np.int64], Vector]:
    """Return the rows of the classes whose names have a label vector, and these vectors (A, D).

    Args:
        names: of the classes, with their synonyms.
        encoder: of labels.
        knows: returns True for a label that the encoder can encode.

    Raises:
        ModelError: no class name has one.
    """
    labels = [class_label(name, knows) for name in names]
    rows = np.array([row for row, label in enumerate(labels) if label is not None], np.int64)
    if not len(rows):
        raise ModelError(
            f"none of the {len(names):,} class names, such as {names[0]}, has a label vector; take"
            " a label table with more words, or --anchor 0"
        )
    return rows, encoder.encode([label for label in labels if label is not None])


def _check(parts: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless the tensors are finite and fit each other."""
    weight, vectors = parts["weight"], parts["vectors"]
    if weight.ndim != 2 or vectors.ndim != 2 or not 0 < len(weight) <= MAX_CLASSES:
        raise ValueError(f"it must have 1 to {MAX_CLASSES:,} classes")
    shapes = {
        "bias": (len(weight),),
        "vectors": (len(weight), vectors.shape[1]),
        "center": (vectors.shape[1],),
        _PATCHES: (vectors.shape[1],),
    }
    for name, part in parts.items():
        if tuple(part.shape) != shapes.get(name, tuple(weight.shape)):
            raise ValueError(f"its {name} has the shape {tuple(part.shape)}")
        if not bool(part.isfinite().all()):
            raise ValueError(f"its {name} has numbers that are not finite")
