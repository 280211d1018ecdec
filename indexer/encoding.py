"""Decide what a stored vector is: as given, else as in the library, else the default."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkt_search.errors import CheckpointMismatch, ConfigError
from mkt_search.models.build import Model
from mkt_search.models.checkpoint import is_checkpoint
from mkt_search.photos.decode import DECODER
from mkt_search.settings.config import Config, find_setting
from mkt_search.store.manifest import StoredEncoding
from mkt_search.store.store import Store
from mkt_search.types import Encoding, Precision

if TYPE_CHECKING:
    from mkt_search.models.encoder import Dtype

ENCODING_SETTINGS = (
    "pooling",
    "m",
    "top_k",
    "precision",
)  # of [index]; they decide a stored vector


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

    Raises:
        ConfigError: no model is named, and the library has none yet.
    """
    name = config.model.checkpoint or (stored.model if stored else "")
    if not name:
        raise ConfigError(
            "name the model that encodes the photos: --model with a checkpoint folder or with "
            "NAME/TAG of open_clip (ViT-B-16/openai); or set checkpoint in mkt.toml"
        )
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
        ConfigError: a precision was given for `all`, which is stored as float16.
    """
    same_model = stored is not None and stored.encoding.checkpoint == model.fingerprint
    begins = rebuild and stored is not None and stored.state == "active"
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
    if (
        config.model.dtype == "auto"
        and stored is not None
        and stored.encoding.checkpoint == model.fingerprint
    ):
        dtype: Dtype = stored.encoding.dtype  # type: ignore[assignment]
        return dtype
    return config.model.dtype


def _given_or_kept(config: Config, key: str, old: Encoding | None) -> Any:
    """Return a setting of [index] that was given, else the library's, else the default."""
    if old is not None and not _is_given(config, key):
        return getattr(old, key)
    return getattr(config.index, key)


def _is_given(config: Config, key: str) -> bool:
    """Return True if a setting of [index] comes from a flag, the environment or a file."""
    return config.sources.get(f"index.{key}", "default") != "default"


def _notice(config: Config, old: Encoding, new: Encoding) -> str:
    """Return a sentence on the settings that were not given and that a rebuild changes."""
    changed = [key for key in ENCODING_SETTINGS if getattr(old, key) != getattr(new, key)]
    if "all" in (old.pooling, new.pooling):
        changed = [key for key in changed if key not in ("m", "precision")]  # fixed by `all`
    if old.checkpoint != new.checkpoint:
        changed = [key for key in changed if key != "top_k"]  # each checkpoint has its own
    keys = [key for key in changed if not _is_given(config, key) and _is_still_taken(key, old)]
    if not keys:
        return ""
    changes = ", ".join(f"{key} {getattr(old, key)} -> {getattr(new, key)}" for key in keys)
    flags = " ".join(f"{find_setting(f'index.{key}').flag} {getattr(old, key)}" for key in keys)
    return f"the rebuild takes the default where nothing is given: {changes}; keep it with {flags}"


def _precision(config: Config, old: Encoding | None, *, pooling: str) -> Precision:
    """Return the precision of stored vectors: for `all` that of the library, else float16."""
    kept = old if old is not None and old.pooling == "all" else None
    if pooling != "all":
        pooled: Precision = _given_or_kept(config, "precision", None if kept else old)
        return pooled
    precision = kept.precision if kept else "fp16"
    if _is_given(config, "precision") and config.index.precision != precision:
        raise ConfigError(
            f"every patch is stored as float16, not {config.index.precision}: leave out precision, "
            "or choose `cover` or `topk`"
        )
    return precision


def _is_still_taken(key: str, old: Encoding) -> bool:
    """Return True if an old value is still one that the setting takes."""
    choices = find_setting(f"index.{key}").choices
    return not choices or getattr(old, key) in choices
