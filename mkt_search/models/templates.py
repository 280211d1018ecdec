"""Label vectors of a plain CLIP: the mean of a label's vectors in several templates.

The vector in each template has length 1, and so has their mean (Radford et al., Learning
transferable visual models from natural language supervision, 2021, section 3.1.4;
https://arxiv.org/abs/2103.00020). Light to import.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mkt_search.scoring import unit
from mkt_search.types import Vector

if TYPE_CHECKING:
    from mkt_search.models.text import PromptedTextEncoder


def templates_fingerprint(plain: str, templates: Sequence[str]) -> str:
    """Return the fingerprint of a label encoder that averages over templates, 12 hex digits.

    Args:
        plain: the fingerprint of the same text tower in its one default template.
        templates: texts with one "{}" each for the label.
    """
    return hashlib.sha256(json.dumps([plain, *templates]).encode()).hexdigest()[:12]


class TemplatesEncoder:
    """A `LabelEncoder` that averages over templates.

    Args:
        plain: the text tower in its one default template.
        templates: one or more texts with one "{}" each for the label.

    Raises:
        ModelError: a template does not have exactly one "{}".
    """

    def __init__(self, plain: "PromptedTextEncoder", templates: Sequence[str]) -> None:
        self.dim = plain.dim
        self.fingerprint = templates_fingerprint(plain.fingerprint, templates)
        self._encoders = [plain.with_template(template) for template in templates]

    def encode(self, labels: Sequence[str]) -> Vector:
        """Return (L, D) float32 of length 1. Raises ModelError if a label is too long."""
        vectors = [encoder.encode(labels) for encoder in self._encoders]  # one (L, D) each
        return unit(np.mean(vectors, axis=0, dtype=np.float32))
