"""Settle what a stored vector is to be: as asked for, else as in the library, else the default."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkt_search.config import Config
from mkt_search.errors import ConfigError
from mkt_search.models.build import Model
from mkt_search.models.checkpoint import is_checkpoint
from mkt_search.models.label_table import LabelTable
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import Encoding, LabelEncoder, Vector


@dataclass(frozen=True)
class Asked:
    """An encoding, and the vectors (V, D) of its reference vocabulary if its scale needs one."""

    encoding: Encoding
    vocabulary: Vector | None = None


def recorded(store: Store) -> StoredEncoding | None:
    """Return the encoding to go on with: that of an unfinished rebuild, else the library's own."""
    return store.building or store.active


def model_name(config: Config, stored: StoredEncoding | None) -> str:
    """Return the model to use, spelled so that it is found from any folder.

    Raises:
        ConfigError: none was named, and the library has none yet.
    """
    name = config.model.checkpoint or (stored.model if stored else "")
    if not name:
        raise ConfigError(
            "name the model that shall encode the photos: --model with a checkpoint folder or with"
            " NAME/TAG of open_clip (ViT-B-16/openai); or set checkpoint in mkt.toml"
        )
    folder = Path(name).expanduser()
    if is_checkpoint(folder):
        return str(folder.resolve())
    model, _, weights = name.partition("/")
    file = Path(weights).expanduser()
    return f"{model}/{file.resolve()}" if weights and file.is_file() else name


def settle(config: Config, stored: StoredEncoding | None, model: Model, *, dtype: str) -> Asked:
    """Return the encoding to write under.

    A setting that nobody gave is as the library has it; so an index is brought up to date by the
    same command without its flags. What depends on the model (top_k, the vocabulary) is kept only
    while that stays.
    """
    old = stored.encoding if stored else None
    same_model = old is not None and old.checkpoint == model.fingerprint
    local = _given(config, "local", old)
    scale = _given(config, "scale", old)
    rows, columns = model.grid
    vocabulary, name = None, ""
    if scale == "vocabulary":
        vocabulary, name = _vocabulary(config, stored if same_model else None, model)
    encoding = Encoding(
        checkpoint=model.fingerprint,
        dim=model.dim,
        grid=model.grid,
        local=local,
        m=rows * columns if local == "all" else _given(config, "m", _with(old, local=local)),
        top_k=_given(config, "top_k", old if same_model else None) or model.top_k,
        precision=_given(config, "precision", old),
        scale=scale,
        vocabulary=name,
        dtype=dtype,
    )
    return Asked(encoding, vocabulary)


def wanted_dtype(config: Config, stored: StoredEncoding | None, model: Model) -> Any:
    """Return the number format the student shall run in: that of the vectors there are, if any."""
    asked = config.model.dtype
    if asked == "auto" and stored and stored.encoding.checkpoint == model.fingerprint:
        return stored.encoding.dtype
    return asked


def _given(config: Config, key: str, old: Encoding | None) -> Any:
    """Return a setting of [index] that was given, else the library's, else the default."""
    if old is not None and config.sources.get(f"index.{key}", "default") == "default":
        return getattr(old, key)
    return getattr(config.index, key)


def _with(old: Encoding | None, *, local: str) -> Encoding | None:
    """Return the old encoding if its local vectors are of this kind."""
    return old if old is not None and old.local == local else None


def _vocabulary(config: Config, stored: StoredEncoding | None, model: Model) -> tuple[Vector, str]:
    """Return the vectors (V, D) of the reference vocabulary, and a digest of its labels."""
    if stored is not None and stored.vocabulary is not None and not config.index.vocabulary:
        return stored.vocabulary, stored.encoding.vocabulary
    encoder = model.label_encoder()
    labels = _labels(config.index.vocabulary, encoder)
    digest = hashlib.sha256("\n".join([encoder.fingerprint, *labels]).encode())
    return encoder.encode(labels), digest.hexdigest()[:12]


def _labels(file: str, encoder: LabelEncoder) -> Sequence[str]:
    from mkt_search.tagging import read_vocabulary

    if file:
        return read_vocabulary(Path(file))
    if isinstance(encoder, LabelTable):
        return encoder.names
    raise ConfigError(
        "the vocabulary scale needs labels, and this model has no table of them: name a file of "
        "them, one a line, with --vocabulary, or use --scale cosine"
    )
