"""Settings given as arguments of a Python call, checked like those of a flag."""

from collections.abc import Mapping
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
    optimize_from: int
    optimize_after: float
    device: str
    dtype: Literal["auto", "bfloat16", "float32"]


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
