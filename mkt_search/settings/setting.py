"""Define a setting: a dataclass field with its help and its limits, checked with clear errors.

`config.py` declares the settings and `toml.py` reads them from `mkt.toml`; the command line builds
its options from them. Standard library only.
"""

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from mkt_search.errors import ConfigError

_FLAGS = {"search.k": "-k", "model.checkpoint": "--model"}  # other flags are derived from the key
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}
LARGEST = 2**31 - 1
"""The largest whole number of any setting or option."""

LONG = 10**30  # a longer number is not printed

_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


@dataclass(frozen=True)
class Rule:
    """The meaning of a setting and its allowed values.

    `at_least` and `at_most` are inclusive. `is_path`: a relative path in `mkt.toml` is relative to
    that file, if it exists there, whichever folder the command runs in. `advanced`: help lists the
    setting last.
    """

    help: str
    at_least: float | None = None
    at_most: float | None = None
    is_path: bool = False
    advanced: bool = False


@dataclass(frozen=True)
class Setting:
    """One key of one section, as declared in `config.py`."""

    section: str
    key: str
    annotation: Any
    default: Any
    rule: Rule

    @property
    def name(self) -> str:
        """`section.key`, its name in flags and sources."""
        return f"{self.section}.{self.key}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words; empty if any value of the type is allowed."""
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def kind(self) -> type[Any]:
        """bool, int, float, str or tuple."""
        return type(self.default)

    @property
    def element(self) -> type[Any]:
        """The type of a list's elements; the setting's own type if it is not a list."""
        return get_args(self.annotation)[0] if self.kind is tuple else self.kind

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"MKT_{self.section}_{self.key}".upper()

    @property
    def help(self) -> str:
        """The help of its option, with the default."""
        shown = {str: self.default or "none", bool: "on" if self.default else "off"}
        default = shown.get(self.kind, self.default if self.default != () else "none")
        return f"{self.rule.help}  [default: {default}; mkt.toml: {self.name}]"

    @property
    def flag(self) -> str:
        """The command-line option that sets it, such as `--batch-size`."""
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
    """Return the value, converted to the setting's type.

    Args:
        item: the setting.
        value: from a flag, the environment or the file.
        place: where the value was found; the error begins with it.

    Raises:
        ConfigError: the value is not allowed.
    """
    value = _converted(value, item)
    requirement = _violated(item, value)
    if requirement:
        shown = f'"{value}"' if isinstance(value, str) else _as_toml(value)
        raise ConfigError(
            f"{place}: {item.key} in [{item.section}] must be {requirement}, not {shown}"
        )
    return value


def parse(item: Setting, text: str) -> Any:
    """Parse the text of an environment variable; text that cannot be parsed is for `check`."""
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
    """Return a hint for an unknown name: the most similar known one, or all of them.

    `form` is a format string for a name, such as `[{}]`.
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {form.format(close[0])}?"
    return f"; known names: {', '.join(form.format(one) for one in known)}"


def _converted(value: Any, item: Setting) -> Any:
    """Convert 1 to 1.0 for a float, and a list to a tuple."""
    if item.kind is tuple and isinstance(value, list | tuple):
        return tuple(
            float(v) if item.element is float and type(v) is int and abs(v) <= LARGEST else v
            for v in value
        )
    if item.kind is float and type(value) is int and abs(value) <= LARGEST:
        return float(value)
    return value


def _violated(item: Setting, value: Any) -> str:
    """Return the requirement that the value violates, "" if it is allowed."""
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
    at_most = LARGEST if rule.at_most is None and item.kind is int else rule.at_most
    if at_most is not None and value > at_most:
        return f"at most {at_most:,}"
    return ""


def _is(value: Any, kind: type[Any]) -> bool:
    """Return True for a value of exactly this type, and False for NaN and infinity."""
    return type(value) is kind and (kind is not float or math.isfinite(value))


def _as_toml(value: Any) -> str:
    """Return the value approximately as TOML writes it."""
    if isinstance(value, tuple):
        return str(list(value))
    if isinstance(value, int) and abs(value) > LONG:
        return "a number with so many digits"
    return str(value).lower() if isinstance(value, bool) else str(value)
