"""Read and check `mkt.toml`; an error names the line and suggests the nearest name."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mkt_search.errors import ConfigError
from mkt_search.settings.setting import Setting, check, nearest


class Written(NamedTuple):
    """A value of the file and its line: `mkt.toml:12`."""

    value: Any
    place: str


def read(file: Path, known: Sequence[Setting]) -> dict[str, Written]:
    """Return the values of the file, by `section.key`.

    Raises:
        ConfigError: the file cannot be read or is not TOML, a name is unknown, or a value has the
            wrong type or is out of range.
    """
    text = _read_text(file)
    sections, places = _parse(text, file), _Places(file, text)
    found: dict[str, Written] = {}
    for section, table in sections.items():
        _check_section(section, table, known, places)
        for key, value in table.items():
            item = _known_key(section, key, known, places)
            place = places.of(section, key)
            checked = check(item, value, place=place)
            found[item.name] = Written(_beside(file, item, checked), place)
    return found


class _Places:
    """The lines of sections and keys, which tomllib does not report."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = shown(file)
        self.lines: dict[str, int] = {}
        section = ""
        for number, line in enumerate(text.splitlines(), start=1):
            header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
            key = re.match(r"\s*([\w.\"' -]+?)\s*=", line)
            if header:
                section = header[1].strip("\"'")
                self.lines.setdefault(section, number)
            elif key:
                name = re.sub("[\"' ]", "", key[1])
                self.lines.setdefault(f"{section}.{name}".lstrip("."), number)

    def of(self, section: str, key: str = "") -> str:
        """Return the line of a key, else of its section: `mkt.toml:12`."""
        inside = (line for name, line in self.lines.items() if name.startswith(f"{section}."))
        around = self.lines.get(section) or next(inside, 1)
        return f"{self.file}:{self.lines.get(f'{section}.{key}', around)}"


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise ConfigError(f"{shown(file)}:{line}: not UTF-8 text; save it as UTF-8") from None
    except OSError as problem:
        raise ConfigError(f"{shown(file)}: cannot be read ({problem.strerror})") from None


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        where = re.search(r"at line (\d+)", str(problem))
        line = int(where[1]) if where else text.count("\n") + 1
        reason = re.sub(r" \(at .*\)$", "", str(problem))
        raise ConfigError(f"{shown(file)}:{line}: not valid TOML: {reason}") from None


def _check_section(section: str, table: Any, known: Sequence[Setting], places: _Places) -> None:
    sections = list(dict.fromkeys(item.section for item in known))
    if not isinstance(table, dict):
        homes = [item.section for item in known if item.key == section]
        way_out = f"put it under [{homes[0]}]" if homes else "every setting belongs to a section"
        raise ConfigError(f'{places.of(section)}: "{section}" is outside a section; {way_out}')
    if section not in sections:
        hint = nearest(section, sections, "[{}]")
        raise ConfigError(f"{places.of(section)}: unknown section [{section}]{hint}")


def _known_key(section: str, key: str, known: Sequence[Setting], places: _Places) -> Setting:
    keys = {item.key: item for item in known if item.section == section}
    if key in keys:
        return keys[key]
    elsewhere = [item.section for item in known if item.key == key]
    hint = f"; it belongs under [{elsewhere[0]}]" if elsewhere else nearest(key, keys, '"{}"')
    raise ConfigError(f'{places.of(section, key)}: unknown key "{key}" in [{section}]{hint}')


def _beside(file: Path, item: Setting, value: Any) -> Any:
    """Return a path relative to the file, if something is there; else the value as it is."""
    if not (item.rule.is_path and value):
        return value
    near = file.parent.absolute() / Path(value).expanduser()
    return str(near) if near.exists() else value


def shown(file: Path) -> str:
    """Return a path for messages: relative to the current folder if the file is below it."""
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)
