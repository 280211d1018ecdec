"""Settle what a stored vector is to be: as asked for, else as in the library, else the default."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkt_search.errors import ConfigError
from mkt_search.models.build import Model
from mkt_search.models.checkpoint import is_checkpoint
from mkt_search.settings.config import Config, find_setting
from mkt_search.store.store import Store, StoredEncoding
from mkt_search.types import Encoding, Precision

SETTLED = ("local", "m", "top_k", "precision")  # settings that a stored vector is made by


@dataclass(frozen=True)
class Asked:
    """An encoding; `notice` says what a rebuild changes that was not given, "" for nothing."""

    encoding: Encoding
    notice: str = ""


def recorded(store: Store, *, rebuild: bool = False) -> StoredEncoding | None:
    """Return the encoding to go on with: that of an unfinished rebuild, else the library's own.

    Raises:
        CheckpointMismatch: its form is retired, and this is no rebuild.
    """
    building = store.building
    if building is not None and not building.retired:
        return building
    active = store.active
    if active is not None and not rebuild:
        active.check_in_use()
    return active


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


def settle(
    config: Config,
    stored: StoredEncoding | None,
    model: Model,
    *,
    dtype: str,
    rebuild: bool = False,
) -> Asked:
    """Return the encoding to write under.

    A setting that nobody gave is as the library has it; so an index is brought up to date by the
    same command without its flags, and a library goes on as it was made when a default changes. A
    rebuild that begins takes the default instead; one under way goes on as it began. What depends
    on the model (top_k) is kept only while that stays.

    Raises:
        ConfigError: a precision was given for `all`, which is stored as float16.
    """
    same_model = stored is not None and stored.encoding.checkpoint == model.fingerprint
    old = None if stored is None or _begins(rebuild, stored) else stored.encoding
    local = _given(config, "local", old)
    rows, columns = model.grid
    encoding = Encoding(
        checkpoint=model.fingerprint,
        dim=model.dim,
        grid=model.grid,
        local=local,
        m=rows * columns if local == "all" else _given(config, "m", _with(old, local=local)),
        top_k=_given(config, "top_k", old if same_model else None) or model.top_k,
        precision=_precision(config, old, local=local),
        dtype=dtype,
    )
    notice = _changes(config, stored.encoding, encoding) if stored and old is None else ""
    return Asked(encoding, notice)


def wanted_dtype(config: Config, stored: StoredEncoding | None, model: Model) -> Any:
    """Return the number format the student shall run in: that of the vectors there are, if any."""
    asked = config.model.dtype
    if asked == "auto" and stored and stored.encoding.checkpoint == model.fingerprint:
        return stored.encoding.dtype
    return asked


def _given(config: Config, key: str, old: Encoding | None) -> Any:
    """Return a setting of [index] that was given, else the library's, else the default."""
    if old is not None and not _is_given(config, key):
        return getattr(old, key)
    return getattr(config.index, key)


def _is_given(config: Config, key: str) -> bool:
    """True when a setting of [index] comes from a flag, the environment or a file."""
    return config.sources.get(f"index.{key}", "default") != "default"


def _changes(config: Config, old: Encoding, new: Encoding) -> str:
    """Return a sentence on the settings that nobody gave and that are no longer the old ones."""
    changed = [key for key in SETTLED if getattr(old, key) != getattr(new, key)]
    if "all" in (old.local, new.local):
        changed = [key for key in changed if key not in ("m", "precision")]  # fixed by `all`
    if old.checkpoint != new.checkpoint:
        changed = [key for key in changed if key != "top_k"]  # each checkpoint has its own
    keys = [key for key in changed if not _is_given(config, key) and _can_be_kept(key, old)]
    if not keys:
        return ""
    changes = ", ".join(f"{key} {getattr(old, key)} -> {getattr(new, key)}" for key in keys)
    flags = " ".join(f"{find_setting(f'index.{key}').flag} {getattr(old, key)}" for key in keys)
    return f"the rebuild takes the default where nothing is given: {changes}; keep it with {flags}"


def _begins(rebuild: bool, stored: StoredEncoding) -> bool:
    """True for a rebuild beside these vectors, False for one that goes on with them."""
    return rebuild and stored.state == "active"


def _with(old: Encoding | None, *, local: str) -> Encoding | None:
    """Return the old encoding if its local vectors are of this kind."""
    return old if old is not None and old.local == local else None


def _precision(config: Config, old: Encoding | None, *, local: str) -> Precision:
    """Return the precision of stored vectors: for `all` that of the library, else float16."""
    kept = _with(old, local="all")
    if local != "all":
        pooled: Precision = _given(config, "precision", None if kept else old)
        return pooled
    precision = kept.precision if kept else "fp16"
    if _is_given(config, "precision") and config.index.precision != precision:
        raise ConfigError(
            f"every patch is stored as float16, not {config.index.precision}: leave out precision, "
            "or choose `cover` or `topk`"
        )
    return precision


def _can_be_kept(key: str, old: Encoding) -> bool:
    """True when an old value is still one that the setting takes."""
    choices = find_setting(f"index.{key}").choices
    return not choices or getattr(old, key) in choices
