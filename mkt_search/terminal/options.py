"""Options that several commands share, and help that lists advanced ones last."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from mkt_search.errors import ConfigError
from mkt_search.settings import config
from mkt_search.settings.setting import LARGEST, Setting, check

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

ADVANCED = "Advanced options"


class Option(click.Option):
    """An option that help lists under the heading `section`."""

    def __init__(self, *args: Any, section: str = "Options", **more: Any) -> None:
        super().__init__(*args, **more)
        self.section = section


option = partial(click.option, cls=Option)
advanced_option = partial(click.option, cls=Option, section=ADVANCED)


class Command(click.Command):
    """A command whose help lists options under their headings, the advanced ones last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of each section."""
        sections: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for name in sorted(sections, key=lambda name: name == ADVANCED):
            with formatter.section(name):
                formatter.write_dl(sections[name])


class Group(click.Group, Command):
    """A group of commands that is itself a command with options."""


class Text(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no generic
    """Text in UTF-8; other bytes are refused."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text unchanged."""
        try:
            str(value).encode("utf-8")
        except UnicodeEncodeError:
            shown = os.fsencode(value).decode("utf-8", "backslashreplace")
            self.fail(f'"{shown}" is not UTF-8 text.', param, ctx)
        return str(value)


TEXT = Text()
COUNT = click.IntRange(min=1, max=LARGEST)

library_option = click.option(
    "--library",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    envvar="MKT_LIBRARY",
    show_envvar=True,
    show_default="nearest .mkt upward",
    help="Library folder, or the folder that contains its .mkt.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class SettingValue(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no generic
    """The value of a setting; one that the setting does not take is a usage error."""

    def __init__(self, item: Setting) -> None:
        self._item = item
        self.name = item.kind.__name__

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value in the setting's type."""
        of_kind = click.types.convert_type(self._item.kind)(value, param, ctx)
        try:
            return check(self._item, of_kind, place=self._item.flag)
        except ConfigError as problem:
            raise click.UsageError(str(problem), ctx) from problem


def setting_option(name: str, *, advanced: bool | None = None) -> Callable[[Decorated], Decorated]:
    """Add the option of the setting `section.key`; its value is None if it is not given.

    `take_settings` takes it out of the command's keywords.

    Args:
        name: `section.key`.
        advanced: whether help lists it last; None takes it from the setting's declaration.
    """
    item = config.find_setting(name)
    flag = item.flag
    if item.kind is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    return option(
        flag,
        name.replace(".", "__"),
        default=None,
        type=_type(item),
        metavar=None if item.choices else {int: "N", float: "X", str: "TEXT"}.get(item.kind),
        help=item.help,
        section=_section(item, advanced),
    )


def _type(item: Setting) -> Any:
    if item.kind is bool:
        return bool
    return click.Choice(item.choices) if item.choices else SettingValue(item)


def setting_options(section: str) -> Callable[[Decorated], Decorated]:
    """Add an option for every setting of a section, as `setting_option` does."""

    def add(command: Decorated) -> Decorated:
        for item in reversed([s for s in config.settings() if s.section == section]):
            make = _list_option if item.kind is tuple else setting_option
            command = make(item.name)(command)
        return command

    return add


def _list_option(name: str) -> Callable[[Decorated], Decorated]:
    """Return the option of a list: three numbers, or a value each time the flag is repeated."""
    item = config.find_setting(name)
    more: dict[str, Any] = {"multiple": True, "metavar": "NAME=VALUE"}
    if item.element is float:
        more = {"type": float, "nargs": 3, "metavar": "R G B"}
    elif item.element is int:
        more = {"type": int, "multiple": True, "metavar": "N"}
    flag = item.flag.replace("-args", "-arg")
    return option(flag, name.replace(".", "__"), help=item.help, section=_section(item), **more)


def _section(item: Setting, advanced: bool | None = None) -> str:
    is_advanced = item.rule.advanced if advanced is None else advanced
    return ADVANCED if is_advanced else "Options"


def take_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Take the values of all `setting_option`s out of a command's keywords, by `section.key`.

    A value that was not given is None.
    """
    values = {name: given.pop(name) for name in list(given) if "__" in name}
    return {
        name.replace("__", "."): None if value == () else value for name, value in values.items()
    }


def refuse_options_before(context: click.Context) -> None:
    """Refuse options between a group and its command, which would otherwise be ignored.

    Raises:
        click.UsageError: it says where the first of them belongs.
    """
    given = [name for name in context.params if _is_given(context, name)]
    if given:
        flag = next(p.opts[0] for p in context.command.params if p.name == given[0])
        name = context.invoked_subcommand or ""
        assert isinstance(context.command, click.Group)
        command = context.command.get_command(context, name)
        if command is None or not any(flag in p.opts for p in command.params):
            raise click.UsageError(f"`mkt {context.info_name} {name}` has no {flag}; leave it out.")
        raise click.UsageError(
            f"Give {flag} after {name}: mkt {context.info_name} {name} {flag} ..."
        )


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
