"""Settings: dataclass fields with help and limits, and the errors for wrong values.

`config.py` declares the settings, `toml.py` reads them from `mkt.toml`, and the command line makes
its options from them. Standard library only, as every command imports it.
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
    """The help and the limits of a setting.

    `is_path`: a relative path in `mkt.toml` is relative to that file, if something is there.
    `advanced`: help lists the setting last.
    """

    help: str
    at_least: float | None = None
    at_most: float | None = None
    is_path: bool = False
    advanced: bool = False


@dataclass(frozen=True)
class Setting:
    """A key of a section."""

    section: str
    key: str
    annotation: Any
    default: Any
    rule: Rule

    @property
    def name(self) -> str:
        """`section.key`."""
        return f"{self.section}.{self.key}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The values it takes, if they are listed; else ()."""
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def kind(self) -> type[Any]:
        """bool, int, float, str or tuple."""
        return type(self.default)

    @property
    def element(self) -> type[Any]:
        """The type of a list's values; for other settings their own type."""
        return get_args(self.annotation)[0] if self.kind is tuple else self.kind

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"MKT_{self.section}_{self.key}".upper()

    @property
    def help(self) -> str:
        """The help text with the default and the name."""
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
    """Return a value in the type of the setting.

    Args:
        item: the setting.
        value: the value to check.
        place: where it comes from; the error begins with it.

    Raises:
        ConfigError: the value has the wrong type or is out of range.
    """
    value = _converted(value, item)
    wanted = _requirement(item, value)
    if wanted:
        shown = f'"{value}"' if isinstance(value, str) else _as_toml(value)
        raise ConfigError(f"{place}: {item.key} in [{item.section}] must be {wanted}, not {shown}")
    return value


def parse(item: Setting, text: str) -> Any:
    """Parse the text of an environment variable; text that does not parse is left to `check`."""
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
    """Return `; did you mean ...?` with the most similar known name, else a list of all."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {form.format(close[0])}?"
    return f"; known are {', '.join(form.format(one) for one in known)}"


def _converted(value: Any, item: Setting) -> Any:
    """Convert 1 to 1.0 for a float, and a list to a tuple."""
    if item.kind is tuple and isinstance(value, list | tuple):
        return tuple(float(v) if item.element is float and type(v) is int else v for v in value)
    return float(value) if item.kind is float and type(value) is int else value


def _requirement(item: Setting, value: Any) -> str:
    """Return what the value should be; "" if it is valid."""
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
    """Return True for a value of exactly this type; NaN and infinity are not numbers."""
    return type(value) is kind and (kind is not float or math.isfinite(value))


def _as_toml(value: Any) -> str:
    """Return the value about as TOML writes it."""
    if isinstance(value, tuple):
        return str(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)
