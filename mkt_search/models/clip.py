"""open_clip models by name, with pretrained weights or a local file: the one place that loads them.

What open_clip does quietly is done here on purpose: the activation a tag was trained with is built
(OpenAI's weights want QuickGELU), and a local file gets the mean and std of its model's tags.
"""

import contextlib
import difflib
import hashlib
import json
import logging
import pickle
import socket
import urllib.request
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import open_clip
import torch
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from mkt_search.errors import ModelError
from mkt_search.models.checkpoint import hash_file

_HUB_FILES = [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
_PREPROCESS = ("mean", "std", "resize_mode", "interpolation")


class ClipWeights:
    """An open_clip architecture and where its weights come from.

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
        """The weights file; a tag is downloaded once, into open_clip's cache."""
        if not self._tag:
            return Path(self.weights).expanduser()
        try:
            return _cached(self._tag) or _download(self._tag)
        except Exception as error:  # whatever the hub, the proxy or the disk come up with
            raise ModelError(self._offline_message()) from error

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits over the architecture, the preparation of images, and the file's bytes."""
        parts = [open_clip.get_model_config(self.model), self._preprocess, self._quick_gelu]
        text = json.dumps([*parts, hash_file(self.path)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self) -> Any:
        """Build the whole model, both towers, float32 on the CPU, in evaluation mode.

        Raises:
            ModelError: the file is damaged or holds the weights of another architecture.
        """
        try:
            return self._load_archive() if _is_torchscript(self.path) else self._load()
        except (RuntimeError, OSError, pickle.UnpicklingError, KeyError, ValueError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = " ".join(lines[:2]) or type(error).__name__
            raise ModelError(
                f"{self.path} does not hold the weights of {self.model}: {reason[:300]}"
            ) from error

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
        """OpenAI's own files: TorchScript, of which only the tensors are used."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, these files are not
            archive = torch.jit.load(self.path, map_location="cpu")  # type: ignore[no-untyped-call]
        model = create_clip(
            self.model, force_quick_gelu=True, force_preprocess_cfg=self._preprocess
        )
        own = model.state_dict()  # the archive has settings among its tensors
        model.load_state_dict({n: t.float() for n, t in archive.state_dict().items() if n in own})
        return model

    @property
    def _quick_gelu(self) -> bool:
        return bool(self._tag.get("quick_gelu"))

    @cached_property
    def _preprocess(self) -> dict[str, Any]:
        """What to do to images: as the tag says; for a file, as all tags of the model agree."""
        given = [self._tag] if self._tag else _tags(self.model)
        wanted = [{key: tag[key] for key in _PREPROCESS if tag.get(key)} for tag in given]
        agreed = wanted[0] if wanted and all(item == wanted[0] for item in wanted) else {}
        merged: dict[str, Any] = merge_preprocess_dict(asdict(PreprocessCfg()), agreed)
        return {key: merged[key] for key in _PREPROCESS}

    def _offline_message(self) -> str:
        hub, url = self._tag.get("hf_hub"), self._tag.get("url")
        source = f"https://huggingface.co/{hub}" if hub else url or self.weights
        quick = f"{self.model}-quickgelu"
        name = quick if self._quick_gelu and quick in open_clip.list_models() else self.model
        return (
            f'the weights "{self.weights}" of {self.model} cannot be downloaded. Without a network,'
            f" copy the file from {source} to this machine and name it: {name}/PATH/TO/FILE"
        )


def create_clip(model: str, **options: Any) -> Any:
    """Build an open_clip model in evaluation mode, of random weights unless `pretrained` is set.

    Raises:
        ModelError: there is no such model, or a part of it cannot be had without a network.
    """
    if model not in open_clip.list_models():
        near = _nearest(model, open_clip.list_models())
        raise ModelError(f'open_clip has no model "{model}"{near}')
    options = {"pretrained_text": False, "weights_only": True, **options}
    with _quiet():
        return open_clip.create_model(model, **options).eval()


def tokenizer(model: str) -> Any:
    """Return open_clip's tokenizer of a model: texts -> ids (L, T).

    Raises:
        ModelError: the tokenizer is one that has to be downloaded, and cannot be.
    """
    try:
        with _quiet():
            return open_clip.get_tokenizer(model)
    except Exception as error:  # transformers missing, or no network
        raise ModelError(
            f"the tokenizer of {model} cannot be had ({str(error).splitlines()[0][:120]});"
            f" install transformers and be online once, or take a model such as ViT-B-16"
        ) from error


def _cached(tag: dict[str, Any]) -> Path | None:
    """The file of a tag in the hub's cache on this machine; asks no network."""
    repository, _, name = str(tag.get("hf_hub", "")).rpartition("/")
    names = [Path(name).stem + ".safetensors", name] if name else _HUB_FILES
    for file in names if repository else []:
        found = huggingface_hub.try_to_load_from_cache(repository, file)
        if isinstance(found, str):
            return Path(found)
    return None


def _download(tag: dict[str, Any]) -> Path:
    if tag.get("hf_hub") and not urllib.request.getproxies():
        # a name that does not resolve is no network: say so now, not after a minute of retries
        socket.getaddrinfo(urlsplit(huggingface_hub.constants.ENDPOINT).hostname, None)
    with _quiet("huggingface_hub"):
        return Path(open_clip.download_pretrained(tag))


def _tags(model: str) -> list[dict[str, Any]]:
    tags = open_clip.list_pretrained_tags_by_model(model)
    return [open_clip.get_pretrained_cfg(model, tag) for tag in tags]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = {item.casefold(): item for item in known}
    near = difflib.get_close_matches(name.casefold(), names, n=3)
    return f"; did you mean {' or '.join(names[item] for item in near)}?" if near else ""


def _is_torchscript(path: Path) -> bool:
    """True for a zip archive with code in it."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


@contextlib.contextmanager
def _quiet(logger: str | None = None) -> Iterator[None]:
    """Keep remarks off a logger: open_clip writes to the root, and would configure it too."""
    root = logging.getLogger(logger)
    level, handler = root.level, logging.NullHandler()
    root.addHandler(handler)
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
