"""Settings given as arguments of a Python call, checked like those of a flag."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypedDict

from mkt_search.errors import ConfigError
from mkt_search.settings.config import SECTIONS, Config, find_setting, settings
from mkt_search.settings.setting import check, nearest


class IndexSettings(TypedDict, total=False):
    """The settings of [index], and how the student runs; `mkt.toml` explains each."""

    pooling: Literal["cover", "topk", "all"]
    m: int
    top_k: int
    precision: Literal["int8", "int4"]
    batch_size: int
    workers: int
    max_pixels: int
    hidden: bool
    follow_links: bool
    optimize_from: int
    optimize_after: float
    device: str
    dtype: Literal["auto", "bfloat16", "float32"]
    patch_vectors: Literal["kk", "value", "own"]


class EvaluateSettings(TypedDict, total=False):
    """The settings of [data] and [evaluate], and how models run; `mkt.toml` explains each."""

    kind: Literal["folder", "coco", "voc", "nus-wide", "open-images"]
    photos: str
    labels: str
    splits: str
    unseen: str
    min_photos: int
    test_fraction: float
    validation: Literal["held-out", "test", "none"]
    validation_fraction: float
    unseen_fraction: float
    split_seed: int
    protocol: Literal["auto", "nus-wide", "open-images", "biam"]
    top_k: int
    f1_at: tuple[int, ...]
    depth: int
    rare_below: int
    batch_size: int
    workers: int
    device: str
    dtype: Literal["auto", "bfloat16", "float32"]
    patch_vectors: Literal["kk", "value", "own"]
    templates: tuple[str, ...]


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a configuration with some settings replaced.

    Args:
        config: the configuration, which stays as it is.
        values: new values by `section.key`; None leaves a setting as it is.

    Raises:
        ConfigError: a setting does not exist or does not take the value.
    """
    changed: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    sources = dict(config.sources)
    names = [item.name for item in settings()]
    for name, value in values.items():
        if name not in names:
            raise ConfigError(f"unknown setting {name}{nearest(name, names, '{}')}")
        if value is None:
            continue
        item = find_setting(name)
        changed[item.section][item.key] = check(item, value, place=f"argument {item.key}")
        sources[name] = "argument"
    sections = {
        section: replace(getattr(config, section), **keys)
        for section, keys in changed.items()
        if keys
    }
    return replace(config, **sections, sources=sources)


def setting_names(values: Mapping[str, Any], sections: Sequence[str]) -> dict[str, Any]:
    """Return values by `section.key`, given values by key.

    Args:
        values: values by key.
        sections: the sections to look for a key in, in this order.

    Raises:
        ConfigError: none of the sections has such a key.
    """
    known = [item for section in sections for item in settings() if item.section == section]
    by_key = {item.key: item.name for item in reversed(known)}
    for key in values:
        if key not in by_key:
            hint = nearest(key, sorted(by_key), "{}")
            raise ConfigError(f"unknown argument {key}{hint}")
    return {by_key[key]: value for key, value in values.items()}
