"""Load open_clip models: by name with pretrained weights or a local file, or from a folder.

Two things that open_clip leaves to the caller are done here: a model is built with the activation
its tag was trained with (QuickGELU for OpenAI's weights), and a local file gets the mean and std
of its model's tags.
"""

import difflib
import hashlib
import importlib
import json
import logging
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import timm
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from mkt_search.errors import ModelError
from mkt_search.files import read_text
from mkt_search.models import conv_vit as _conv_vit  # noqa: F401  registers its name
from mkt_search.models.allowed import Check, check_description
from mkt_search.models.checkpoint import CLIP_CONFIG, MAX_TEXT, hash_file, is_checkpoint
from mkt_search.models.download import DownloadForbidden, HubFile
from mkt_search.models.recommended import find_recommended
from mkt_search.models.student import check_fit, unreadable
from mkt_search.models.torchscript import is_torchscript, read_torchscript

# open_clip logs to the root logger, and would configure it; it gets a silent one of its own.
_log = logging.getLogger("open_clip")
_log.setLevel(logging.CRITICAL)
for _module in ("factory", "model", "timm_model"):
    importlib.import_module(f"open_clip.{_module}").logging = _log  # type: ignore[attr-defined]

_HUB_FILES = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
_PREPROCESS = ("mean", "std", "resize_mode", "interpolation")
_NO_WEIGHTS = (  # what open_clip raises for files of another kind
    *(RuntimeError, OSError, pickle.UnpicklingError),
    *(KeyError, ValueError, AttributeError, TypeError, AssertionError, SafetensorError),
)
_NO_IMAGE_TOWER = dict(image_size=8, patch_size=8, width=8, head_width=8, layers=1)


class ClipWeights:
    """An open_clip architecture and the source of its weights.

    Args:
        model: a name that open_clip knows, such as "ViT-B-16".
        weights: one of its pretrained tags, such as "openai", or the path of a local file.

    Raises:
        ModelError: there is no such model, tag or file; the text names the nearest.
    """

    def __init__(self, model: str, weights: str) -> None:
        if model not in open_clip.list_models():
            raise ModelError(
                f'"{model}/{weights}" is neither a checkpoint directory nor NAME/TAG of open_clip:'
                f' there is no model "{model}"{_nearest(model, open_clip.list_models())}'
            )
        self.model = model
        self.weights = weights
        self._tag = open_clip.get_pretrained_cfg(model, weights) or {}
        if not self._tag and not Path(weights).expanduser().is_file():
            tags = open_clip.list_pretrained_tags_by_model(model)
            raise ModelError(
                f'{model} has no pretrained tag "{weights}", and there is no such file'
                f"{_nearest(weights, tags)}; its tags: {', '.join(tags) or 'none'}"
            )

    @cached_property
    def path(self) -> Path:
        """The weights file; a tag is downloaded once, into the cache of the hub.

        Raises:
            ModelError: it cannot be downloaded.
        """
        if not self._tag:
            return Path(self.weights).expanduser()
        file = _hub_file(self._tag)
        known = find_recommended(f"{self.model}/{self.weights}")
        try:
            return file.cached or file.download(
                f"{self.model}/{self.weights}",
                remark=f" (license: {known.license})" if known else "",
            )
        except DownloadForbidden:
            size = f", {known.megabytes:,} MB," if known else ""
            raise ModelError(
                f"the weights of {self.model}/{self.weights}{size} are not on this machine, and"
                f" --offline forbids the download; run once without it, or"
                f" {self._way_out(file)}"
            ) from None
        except ModelError:
            raise
        except Exception as error:  # the hub, a proxy or the disk may fail in any way
            raise ModelError(
                f'the weights "{self.weights}" of {self.model} cannot be downloaded'
                f" ({unreadable(error)}); run the command again to continue. Without a network,"
                f" {self._way_out(file)}"
            ) from error

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over the architecture, the preprocessing and the bytes of the file."""
        parts = [open_clip.get_model_config(self.model), self._preprocess, self._quick_gelu]
        text = json.dumps([*parts, hash_file(self.path)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self) -> Any:
        """Build both towers in float32 on the CPU, in evaluation mode.

        Raises:
            ModelError: the file is damaged or has the weights of another architecture.
        """
        try:
            return self._load_archive() if is_torchscript(self.path) else self._load()
        except _NO_WEIGHTS as error:
            raise ModelError(_misfit(self.path, self.model, error)) from error

    def tokenizer(self) -> Any:
        """Return open_clip's tokenizer of this model."""
        return tokenizer(self.model)

    def _load(self) -> Any:
        return create_clip(
            self.model,
            pretrained=str(self.path),
            force_quick_gelu=self._quick_gelu,
            force_preprocess_cfg=self._preprocess,
        )

    def _load_archive(self) -> Any:
        """Load one of OpenAI's files, which are TorchScript."""
        archive = read_torchscript(self.path)
        model = create_clip(
            self.model, force_quick_gelu=True, force_preprocess_cfg=self._preprocess
        )
        own = model.state_dict()  # the archive stores settings as tensors too
        model.load_state_dict({n: t.float() for n, t in archive.items() if n in own})
        return model

    @property
    def _quick_gelu(self) -> bool:
        return bool(self._tag.get("quick_gelu"))

    @cached_property
    def _preprocess(self) -> dict[str, Any]:
        """The preprocessing of the tag; for a file, of the model's tags if they all agree."""
        tags = [self._tag] if self._tag else _tags(self.model)
        configs = [{key: tag[key] for key in _PREPROCESS if tag.get(key)} for tag in tags]
        agreed = configs[0] if configs and all(item == configs[0] for item in configs) else {}
        merged: dict[str, Any] = merge_preprocess_dict(asdict(PreprocessCfg()), agreed)
        return {key: merged[key] for key in _PREPROCESS}

    def _way_out(self, file: HubFile) -> str:
        name = quick_gelu_name(self.model) if self._quick_gelu else self.model
        return f"copy the file from {file.address} to this machine and use {name}/PATH/TO/FILE"


class ClipFolder:
    """An open_clip model in a folder, of any architecture.

    The folder holds `open_clip_config.json` and `open_clip_model.safetensors`, the layout that
    open_clip and the Hugging Face hub use.

    Args:
        folder: the folder of these files.

    Raises:
        ModelError: the description is missing or malformed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / HF_SAFE_WEIGHTS_NAME
        config = folder / CLIP_CONFIG
        text = read_text(config, ModelError)
        try:
            self._config = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{config} cannot be read ({error}); copy the model again") from error
        if not isinstance(self._config, dict) or "model_cfg" not in self._config:
            raise ModelError(f'{config} does not describe a model: it has no "model_cfg"')
        try:
            check_description(self._config, named=_named_models())
        except ValueError as error:
            raise ModelError(f"{config} does not describe a model: {error}") from None

    @property
    def _name(self) -> str:
        return f"local-dir:{self.folder}"

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over the architecture, the preprocessing and the bytes of the file."""
        text = json.dumps([self._config, self._weights_hash()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self) -> Any:
        """Build both towers in float32 on the CPU, in evaluation mode.

        Raises:
            ModelError: the weights are missing, damaged or of another architecture.
        """
        self._weights_hash()
        try:
            model = open_clip.create_model(self._name, pretrained_text=False, weights_only=True)
        except Exception as error:  # a damaged description makes open_clip raise anything
            raise ModelError(_misfit(self.path, str(self.folder), error)) from error
        return model.eval()

    def tokenizer(self) -> Any:
        """Return open_clip's tokenizer of this model."""
        return tokenizer(self._name)

    def _weights_hash(self) -> str:
        try:
            return hash_file(self.path)
        except OSError as error:
            raise ModelError(
                f"the open_clip folder {self.folder} is incomplete: {error}; copy the model again"
            ) from error


def _named_models() -> dict[str, Check]:
    """Return what a description may name elsewhere: only models that timm and open_clip know.

    The tokenizer is always that of the folder, whatever its name is.
    """
    configs = [open_clip.get_model_config(name) for name in open_clip.list_models()]
    texts = {config.get("text_cfg", {}).get("hf_model_name") for config in configs if config}
    return {
        "timm_model_name": lambda name: timm.is_model(str(name)),
        "hf_model_name": lambda name: name in texts,
        "hf_tokenizer_name": lambda name: len(str(name)) < MAX_TEXT,
    }


def is_clip_folder(path: Path) -> bool:
    """Return True if the folder has open_clip's description of a model."""
    return (path / CLIP_CONFIG).is_file()


def open_clip_weights(spec: str) -> ClipWeights | ClipFolder:
    """Return the open_clip model that "NAME/TAG", "NAME/FILE" or the folder of a model names.

    Raises:
        ModelError: it is none of these; the text names the nearest.
    """
    folder = Path(spec).expanduser()
    if is_clip_folder(folder):
        return ClipFolder(folder)
    name, _, weights = spec.partition("/")
    if not name.strip(".~") or not weights or folder.is_dir():
        what = "is a checkpoint" if is_checkpoint(folder) else "is not a model of open_clip"
        raise ModelError(
            f"{spec} {what}; name a model of open_clip: NAME/TAG (ViT-B-16/openai), NAME/FILE, or"
            f" a folder with {CLIP_CONFIG}"
        )
    return ClipWeights(name, weights)


def write_clip_folder(
    folder: Path,
    model: nn.Module,
    *,
    model_cfg: dict[str, Any],
    preprocess_cfg: dict[str, Any],
    half: bool = False,
) -> None:
    """Write a model as an open_clip folder; the description, which marks the folder, comes last.

    Args:
        folder: where to write; made if it does not exist.
        model: an open_clip model of `model_cfg`.
        model_cfg: open_clip's description of the architecture.
        preprocess_cfg: mean, std, resize_mode and interpolation of its images.
        half: write the weights as float16, which halves the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    weights = folder / HF_SAFE_WEIGHTS_NAME
    save_file({n: t.half() if half else t for n, t in state.items()}, weights)
    weights.chmod(0o644)  # safetensors creates it private
    description = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / CLIP_CONFIG).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def create_clip(model: str, **options: Any) -> Any:
    """Build an open_clip model in evaluation mode; random weights unless `pretrained` is set.

    Args:
        model: a name that open_clip knows.
        options: further arguments of `open_clip.create_model`.

    Raises:
        ModelError: there is no such model.
    """
    if model not in open_clip.list_models():
        near = _nearest(model, open_clip.list_models())
        raise ModelError(f'open_clip has no model "{model}"{near}')
    options = {"pretrained_text": False, "weights_only": True, **options}
    return open_clip.create_model(model, **options).eval()


def quick_gelu_name(model: str) -> str:
    """Return open_clip's name of the same model with QuickGELU, or `model` if there is none."""
    quick = f"{model}-quickgelu"
    return quick if quick in open_clip.list_models() else model


def load_text_tower(model: str, state: Mapping[str, Tensor], *, source: str) -> Any:
    """Build an open_clip model, with a tiny image tower, for the tensors of `text_state`.

    Raises:
        ModelError: there is no such model, or the tensors, which are from `source`, do not fit.
    """
    built = create_clip(model, vision_cfg=_NO_IMAGE_TOWER)
    complaint = f"{source} does not hold the text tower of {model}"
    check_fit(text_state(built), state, complaint=complaint)
    built.load_state_dict(state, strict=False)
    return built


def text_state(model: Any) -> dict[str, Tensor]:
    """Return the tensors of an open_clip model's text tower."""
    others = ("visual.", "logit_scale", "logit_bias")
    state: dict[str, Tensor] = model.state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(others)}


def tokenizer(model: str) -> Any:
    """Return open_clip's tokenizer of a model: texts -> ids (L, T).

    Raises:
        ModelError: the tokenizer must be downloaded, and that fails.
    """
    try:
        return open_clip.get_tokenizer(model)
    except Exception as error:  # transformers missing, or no network
        raise ModelError(
            f"the tokenizer of {model} cannot be loaded ({str(error).splitlines()[0][:120]});"
            f" install transformers and be online once, or take a model such as ViT-B-16"
        ) from error


def _misfit(path: Path, model: str, error: Exception) -> str:
    return f"{path} does not hold the weights of {model}: {unreadable(error)}"


def _hub_file(tag: dict[str, Any]) -> HubFile:
    """Return the file of a tag; as safetensors, where the hub has it so."""
    repository, _, name = str(tag["hf_hub"]).rpartition("/")
    names = (str(Path(name).with_suffix(".safetensors")), name) if name else _HUB_FILES
    return HubFile(repository, names)


def _tags(model: str) -> list[dict[str, Any]]:
    tags = open_clip.list_pretrained_tags_by_model(model)
    return [open_clip.get_pretrained_cfg(model, tag) for tag in tags]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = {item.casefold(): item for item in known}
    near = difflib.get_close_matches(name.casefold(), names, n=3)
    return f"; did you mean {' or '.join(names[item] for item in near)}?" if near else ""
