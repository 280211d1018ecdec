"""Options that commands of every package share: the library, JSON, and those made of settings."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mkt_search.settings import config

Command = TypeVar("Command", bound=Callable[..., Any])


class Text(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no generic
    """Text that can be looked up and kept: bytes that are not UTF-8 are refused."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is."""
        try:
            str(value).encode("utf-8")
        except UnicodeEncodeError:
            shown = os.fsencode(value).decode("utf-8", "backslashreplace")
            self.fail(f'"{shown}" is not UTF-8 text.', param, ctx)
        return str(value)


TEXT = Text()

library_option = click.option(
    "--library",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    envvar="MKT_LIBRARY",
    show_envvar=True,
    show_default="nearest .mkt upward",
    help="The library folder, or the folder with .mkt in it.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON instead.  [default: off]"
)


def setting_option(name: str) -> Callable[[Command], Command]:
    """Add the option of the setting `section.key`; it is None where it is not given.

    `take_settings` finds it among the command's keywords.
    """
    item = config.find_setting(name)
    flag = item.flag
    if item.kind is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    return click.option(
        flag,
        name.replace(".", "__"),
        default=None,
        type=click.Choice(item.choices) if item.choices else item.kind,
        metavar=None if item.choices else {int: "N", float: "X", str: "TEXT"}.get(item.kind),
        help=item.help,
    )


def setting_options(section: str) -> Callable[[Command], Command]:
    """Add an option for every setting of a section; None or () is one that was not given."""

    def add(command: Command) -> Command:
        for item in reversed([s for s in config.settings() if s.section == section]):
            option = _list_option if item.kind is tuple else setting_option
            command = option(item.name)(command)
        return command

    return add


def _list_option(name: str) -> Callable[[Command], Command]:
    """The option of a setting that is a list: three numbers, or values each with the flag again."""
    item = config.find_setting(name)
    more: dict[str, Any] = {"multiple": True, "metavar": "NAME=VALUE"}
    if item.element is float:
        more = {"type": float, "nargs": 3, "metavar": "R G B"}
    elif item.element is int:
        more = {"type": int, "multiple": True, "metavar": "N"}
    flag = item.flag.replace("-args", "-arg")
    return click.option(flag, name.replace(".", "__"), help=item.help, **more)


def take_settings(given: dict[str, Any]) -> dict[str, Any]:
    """Take the values of every `setting_option` out of a command's keywords, by `section.key`."""
    names = [name for name in given if "__" in name]
    return {name.replace("__", "."): given.pop(name) for name in names}


def refuse_options_before(context: click.Context) -> None:
    """Refuse options between a group and its command: they would be lost without a word.

    Raises click.UsageError, which says where the first of them belongs.
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
