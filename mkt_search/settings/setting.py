"""What a setting is: a dataclass field with its help, its limits and the words of a refusal.

`config.py` declares the settings, `config_file.py` reads them from `mkt.toml`; the command line
builds its options from them. Standard library only.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from mkt_search.errors import ConfigError

_FLAGS = {"search.k": "-k", "model.checkpoint": "--model"}  # the others follow from the key
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


@dataclass(frozen=True)
class Rule:
    """What a setting means and which values it takes.

    `is_path`: a value in `mkt.toml` that names something beside that file means that thing, from
    whichever folder the command runs. `advanced`: help lists it last.
    """

    help: str
    at_least: float | None = None
    at_most: float | None = None
    is_path: bool = False
    advanced: bool = False


@dataclass(frozen=True)
class Setting:
    """One key of one section, as `config.py` declares it."""

    section: str
    key: str
    annotation: Any
    default: Any
    rule: Rule

    @property
    def name(self) -> str:
        """`section.key`, the name flags and sources go by."""
        return f"{self.section}.{self.key}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The words it takes, when it takes only some."""
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def kind(self) -> type[Any]:
        """bool, int, float, str or tuple."""
        return type(self.default)

    @property
    def element(self) -> type[Any]:
        """The type of a list's values; its own type when it is no list."""
        return get_args(self.annotation)[0] if self.kind is tuple else self.kind

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"MKT_{self.section}_{self.key}".upper()

    @property
    def help(self) -> str:
        """What `--help` says of it, its default included."""
        words = {str: self.default or "none", bool: "on" if self.default else "off"}
        default = words.get(self.kind, self.default if self.default != () else "none")
        return f"{self.rule.help}  [default: {default}; mkt.toml: {self.name}]"

    @property
    def flag(self) -> str:
        """The option of the command line that sets it: `--batch-size`."""
        return _FLAGS.get(self.name, "--" + self.key.replace("_", "-"))


def setting(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    is_path: bool = False,
    advanced: bool = False,
) -> Any:
    """Declare a dataclass field that is a setting."""
    rule = Rule(help, at_least, at_most, is_path, advanced)
    return field(default=default, metadata={"rule": rule})


def check(item: Setting, value: Any, *, place: str) -> Any:
    """Return the value as the setting keeps it. Raises ConfigError that begins with the place."""
    value = _widened(value, item)
    wanted = _unmet(item, value)
    if wanted:
        shown = f'"{value}"' if isinstance(value, str) else _spelled(value)
        raise ConfigError(f"{place}: {item.key} in [{item.section}] must be {wanted}, not {shown}")
    return value


def parse(item: Setting, text: str) -> Any:
    """Read an environment variable's text; what cannot be read stays text for `check` to refuse."""
    try:
        if item.kind is tuple:
            return tuple(item.element(part.strip()) for part in text.split(",") if part)
        if item.kind is bool:
            word = text.strip().lower()
            return word in _TRUE if word in _TRUE | _FALSE else text
        return item.kind(text)
    except ValueError:
        return text


def nearest(name: str, known: Iterable[str], form: str) -> str:
    """`; did you mean ...?` for the most similar known name, or what there is to choose from."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {form.format(close[0])}?"
    return f"; known are {', '.join(form.format(one) for one in known)}"


def _widened(value: Any, item: Setting) -> Any:
    """Take 1 for 1.0, and a list for a tuple."""
    if item.kind is tuple and isinstance(value, list | tuple):
        return tuple(float(v) if item.element is float and type(v) is int else v for v in value)
    return float(value) if item.kind is float and type(value) is int else value


def _unmet(item: Setting, value: Any) -> str:
    """Say what the value should have been; "" when it is fine."""
    rule = item.rule
    if item.kind is tuple:
        fits = type(value) is tuple and all(_is(one, item.element) for one in value)
        return "" if fits else f"a list, each {_KINDS[item.element]}"
    if not _is(value, item.kind):
        return _KINDS[item.kind]
    if item.choices and value not in item.choices:
        return f"{', '.join(item.choices[:-1])} or {item.choices[-1]}"
    if rule.at_least is not None and value < rule.at_least:
        return f"at least {rule.at_least:,}"
    if rule.at_most is not None and value > rule.at_most:
        return f"at most {rule.at_most:,}"
    return ""


def _is(value: Any, kind: type[Any]) -> bool:
    """True for a value of exactly this type; of numbers neither NaN nor infinity is one."""
    return type(value) is kind and (kind is not float or math.isfinite(value))


def _spelled(value: Any) -> str:
    """The value as TOML writes it, near enough to be recognised."""
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)
