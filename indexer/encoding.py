"""Decide what a stored vector is: as given, else as in the library, else the default."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkt_search.errors import CheckpointMismatch, ConfigError
from mkt_search.models.build import Model
from mkt_search.models.checkpoint import is_checkpoint
from mkt_search.models.recommended import DEFAULT
from mkt_search.photos.decode import DECODER
from mkt_search.settings.config import Config, find_setting
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store
from mkt_search.types import DEFAULT_PATCH_VECTORS, Encoding, PatchVectors, Precision

if TYPE_CHECKING:
    from mkt_search.models.encoder import Dtype

ENCODING_SETTINGS = {
    "pooling": "index",
    "m": "index",
    "top_k": "index",
    "precision": "index",
    "patch_vectors": "model",
}
"""The settings that decide a stored vector, and the section of each."""


@dataclass(frozen=True)
class EncodingPlan:
    """The encoding that a run writes, and the name of its model.

    `notice` says which settings that were not given a rebuild changes; "" if there are none.
    """

    encoding: Encoding
    model: str
    rebuild: bool = False
    notice: str = ""


def recorded(store: Store, *, rebuild: bool = False) -> StoredEncoding | None:
    """Return the encoding to continue with: that of an unfinished rebuild, else the active one.

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
    """Return the name of the model to use, such that it is found from any folder.

    It is the model that is named, else the library's own, else the recommended default.
    """
    name = config.model.checkpoint or (stored.model if stored else DEFAULT)
    folder = Path(name).expanduser()
    if is_checkpoint(folder):
        return str(folder.resolve())
    model, _, weights = name.partition("/")
    file = Path(weights).expanduser()
    return f"{model}/{file.resolve()}" if weights and file.is_file() else name


def resolve_encoding(
    config: Config,
    stored: StoredEncoding | None,
    model: Model,
    *,
    dtype: str,
    rebuild: bool = False,
) -> EncodingPlan:
    """Return the encoding to write under.

    A setting that was not given is as the library has it: so `mkt index` without flags updates a
    library, also after a default has changed. A rebuild that begins takes the default instead; one
    under way continues as it began. `top_k` depends on the model and is kept only with it.

    Args:
        config: settings; its `sources` say which were given.
        stored: the encoding to continue with, or to rebuild.
        model: the model to encode with.
        dtype: number format of the student.
        rebuild: encode every photo again.

    Raises:
        ConfigError: a precision was given for `all`, which is stored as float16; or patch vectors
            that the model does not give.
    """
    same_model = _is_of(stored, model)
    begins = _begins(stored, rebuild=rebuild)
    old = None if stored is None or begins else stored.encoding
    pooling = _given_or_kept(config, "pooling", old)
    rows, columns = model.grid
    kept = old if old is not None and old.pooling == pooling else None
    encoding = Encoding(
        checkpoint=model.fingerprint,
        dim=model.dim,
        grid=model.grid,
        pooling=pooling,
        m=rows * columns if pooling == "all" else _given_or_kept(config, "m", kept),
        top_k=_given_or_kept(config, "top_k", old if same_model else None) or model.top_k,
        precision=_precision(config, old, pooling=pooling),
        dtype=dtype,
        decoder=DECODER,
        patch_vectors=wanted_patch_vectors(config, stored, model, rebuild=rebuild),
    )
    notice = _notice(config, stored.encoding, encoding) if stored is not None and begins else ""
    return EncodingPlan(encoding, model.name, rebuild, notice)


def check_decoder(stored: StoredEncoding) -> None:
    """Check that photos decoded now give the pixels that the stored vectors were made from.

    Raises:
        CheckpointMismatch: another version decoded them.
    """
    if stored.encoding.decoder != DECODER:
        raise CheckpointMismatch(
            f"the photos of this library were decoded by another version (decoder "
            f"{stored.encoding.decoder}, now {DECODER}), so missing vectors cannot be made again: "
            "run `mkt index --rebuild` to encode every photo; all tags stay"
        )


def wanted_dtype(config: Config, stored: StoredEncoding | None, model: Model) -> "Dtype":
    """Return the number format to run the student in: that of its stored vectors, if any."""
    if config.model.dtype == "auto" and stored is not None and _is_of(stored, model):
        dtype: Dtype = stored.encoding.dtype  # type: ignore[assignment]
        return dtype
    return config.model.dtype


def wanted_patch_vectors(
    config: Config, stored: StoredEncoding | None, model: Model, *, rebuild: bool = False
) -> PatchVectors:
    """Return the form of patch vectors to encode with; "own" if the model gives only its own.

    Raises:
        ConfigError: one was given that the model does not give.
    """
    is_kept = stored is not None and _is_of(stored, model) and not _begins(stored, rebuild=rebuild)
    old = stored.encoding if stored is not None and is_kept else None
    wanted: PatchVectors = _given_or_kept(config, "patch_vectors", old)
    found = model.patch_vectors(wanted)
    if found != wanted and is_given(config, "patch_vectors"):
        raise ConfigError(
            f"{model.name} has no patch vectors {wanted}, only its own: {model.why_own}; leave out"
            " --patch-vectors"
        )
    return found


def newer_patch_vectors(encoding: Encoding, model: Model) -> str:
    """Return a sentence if a rebuild would give better patch vectors than the model's own."""
    better = model.patch_vectors(DEFAULT_PATCH_VECTORS)
    if encoding.patch_vectors != "own" or better == "own":
        return ""
    return (
        "this library was made with the tokens of the model's last block as patch vectors, which"
        f" tell less where a label is than those that new libraries take (patch_vectors own ->"
        f" {better}); `mkt index --rebuild` encodes every photo again, and all tags stay"
    )


def _is_of(stored: StoredEncoding | None, model: Model) -> bool:
    return stored is not None and stored.encoding.checkpoint == model.fingerprint


def _begins(stored: StoredEncoding | None, *, rebuild: bool) -> bool:
    return rebuild and stored is not None and stored.state == "active"


def _given_or_kept(config: Config, key: str, old: Encoding | None) -> Any:
    """Return a setting that was given, else the library's, else the default."""
    if old is not None and not is_given(config, key):
        return getattr(old, key)
    return getattr(getattr(config, ENCODING_SETTINGS[key]), key)


def is_given(config: Config, key: str) -> bool:
    """Return True if a setting comes from a flag, the environment or a file."""
    return config.sources.get(_name(key), "default") != "default"


def _name(key: str) -> str:
    return f"{ENCODING_SETTINGS[key]}.{key}"


def _notice(config: Config, old: Encoding, new: Encoding) -> str:
    """Return a sentence on the settings that were not given and that a rebuild changes."""
    changed = [key for key in ENCODING_SETTINGS if getattr(old, key) != getattr(new, key)]
    if "all" in (old.pooling, new.pooling):
        changed = [key for key in changed if key not in ("m", "precision")]  # fixed by `all`
    if old.checkpoint != new.checkpoint:
        own = ("top_k", "patch_vectors")  # each checkpoint has its own
        changed = [key for key in changed if key not in own]
    keys = [key for key in changed if not is_given(config, key) and _is_still_taken(key, old)]
    if not keys:
        return ""
    changes = ", ".join(f"{key} {getattr(old, key)} -> {getattr(new, key)}" for key in keys)
    flags = " ".join(f"{find_setting(_name(key)).flag} {getattr(old, key)}" for key in keys)
    return f"the rebuild takes the default where nothing is given: {changes}; keep it with {flags}"


def _precision(config: Config, old: Encoding | None, *, pooling: str) -> Precision:
    """Return the precision of stored vectors: for `all` that of the library, else float16."""
    kept = old if old is not None and old.pooling == "all" else None
    if pooling != "all":
        pooled: Precision = _given_or_kept(config, "precision", None if kept else old)
        return pooled
    precision = kept.precision if kept else "fp16"
    if is_given(config, "precision") and config.index.precision != precision:
        raise ConfigError(
            f"every patch is stored as float16, not {config.index.precision}: leave out precision, "
            "or choose `cover` or `topk`"
        )
    return precision


def _is_still_taken(key: str, old: Encoding) -> bool:
    """Return True if an old value is still one that the setting takes."""
    choices = find_setting(_name(key)).choices
    return not choices or getattr(old, key) in choices
