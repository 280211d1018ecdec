"""Read `mkt.toml`: check every value; every error has its line and the nearest known name."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mkt_search.errors import ConfigError
from mkt_search.files import read_text
from mkt_search.settings.setting import Setting, check, nearest

RENAMED = {"index.local": "pooling", "stage1.feature_dim": "pca_dim", "stage1.start": "head_init"}
"""Earlier names of keys: `section.key` -> the key of today."""


MAX_BYTES = 1 << 16
"""Of `mkt.toml`: eight times the file that documents every setting."""


class FileValue(NamedTuple):
    """A value in the file and its place: `mkt.toml:12`."""

    value: Any
    place: str


def read(file: Path, known: Sequence[Setting]) -> dict[str, FileValue]:
    """Return the values in the file by `section.key`.

    Raises:
        ConfigError: the file is unreadable or not TOML, or has an unknown or renamed key or a
            value that is not allowed.
    """
    text = read_text(file, ConfigError, at_most=MAX_BYTES, shown=_shown(file))
    sections, places = _parse(text, file), _Places(file, text)
    values: dict[str, FileValue] = {}
    for section, table in sections.items():
        _check_section(section, table, known, places)
        for key, value in table.items():
            item = _known_key(section, key, known, places)
            place = places.of(section, key)
            checked = check(item, value, place=place)
            values[item.name] = FileValue(_resolved(file, item, checked), place)
    return values


class _Places:
    """The lines of sections and keys in the file, which tomllib does not report."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = _shown(file)
        self.lines: dict[str, int] = {}
        section = ""
        for number, line in enumerate(text.splitlines(), start=1):
            key, sign, _ = line.partition("=")
            if line.lstrip().startswith("["):
                section = line.strip().lstrip("[").partition("]")[0].strip().strip("\"'")
                self.lines.setdefault(section, number)
            elif sign and re.fullmatch(r"[\w.\"'\s-]+", key):
                name = re.sub(r"[\"'\s]", "", key)
                self.lines.setdefault(f"{section}.{name}".lstrip("."), number)

    def of(self, section: str, key: str = "") -> str:
        """Return the place of a key, `mkt.toml:12`; that of its section if the key has no line."""
        keys = (line for name, line in self.lines.items() if name.startswith(f"{section}."))
        section_line = self.lines.get(section) or next(keys, 1)
        return f"{self.file}:{self.lines.get(f'{section}.{key}', section_line)}"


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        position = re.search(r"at line (\d+)", str(problem))
        line = int(position[1]) if position else text.count("\n") + 1
        reason = re.sub(r" \(at .*\)$", "", str(problem))
        raise ConfigError(f"{_shown(file)}:{line}: not valid TOML: {reason}") from None
    except (ValueError, RecursionError):  # thousands of digits or brackets
        raise ConfigError(f"{_shown(file)}: a value is far too long or too deep") from None


def _check_section(section: str, table: Any, known: Sequence[Setting], places: _Places) -> None:
    sections = list(dict.fromkeys(item.section for item in known))
    if not isinstance(table, dict):
        owners = [item.section for item in known if item.key == section]
        hint = f"put it under [{owners[0]}]" if owners else "put every setting under its section"
        raise ConfigError(f'{places.of(section)}: "{section}" is not in a section; {hint}')
    if section not in sections:
        hint = nearest(section, sections, "[{}]")
        raise ConfigError(f"{places.of(section)}: unknown section [{section}]{hint}")


def _known_key(section: str, key: str, known: Sequence[Setting], places: _Places) -> Setting:
    keys = {item.key: item for item in known if item.section == section}
    if key in keys:
        return keys[key]
    if f"{section}.{key}" in RENAMED:
        new = RENAMED[f"{section}.{key}"]
        raise ConfigError(
            f'{places.of(section, key)}: "{key}" in [{section}] is now called "{new}"; rename it'
        )
    elsewhere = [item.section for item in known if item.key == key]
    hint = f"; it belongs under [{elsewhere[0]}]" if elsewhere else nearest(key, keys, '"{}"')
    raise ConfigError(f'{places.of(section, key)}: unknown key "{key}" in [{section}]{hint}')


def _resolved(file: Path, item: Setting, value: Any) -> Any:
    """Return a path relative to the file as an absolute one, if it exists; else the value."""
    if not (item.rule.is_path and value):
        return value
    path = file.parent.absolute() / Path(value).expanduser()
    return str(path) if path.exists() else value


def _shown(file: Path) -> str:
    """Return the path to print: relative to the working folder if the file is in or below it."""
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)
