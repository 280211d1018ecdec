"""Options shared by the commands of every package."""

import json
import re
from typing import Any

import click
import pytest
from click.testing import CliRunner

from mkt_search.settings import config
from mkt_search.terminal.options import (
    TEXT,
    Command,
    Group,
    advanced_option,
    option,
    setting_option,
    take_settings,
)

SHARED = ("model.checkpoint", "index.pooling", "index.m", "index.hidden", "tag.threshold")


@click.command()
@setting_option("model.checkpoint")
@setting_option("index.pooling")
@setting_option("index.m")
@setting_option("index.hidden")
@setting_option("tag.threshold")
def show(**given: Any) -> None:
    click.echo(json.dumps(take_settings(given)))
    assert not given


def run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(show, arguments)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_option_that_is_not_given_says_nothing() -> None:
    assert run() == dict.fromkeys(SHARED)


def test_given_options_are_settings_by_name() -> None:
    flags = run("--model", "x", "--pooling", "all", "--m", "4", "--no-hidden", "--threshold", "0.5")
    assert flags == dict(zip(SHARED, ("x", "all", 4, False, 0.5), strict=True))


@pytest.mark.parametrize("name", SHARED)
def test_help_is_that_of_the_setting(name: str) -> None:
    helps = [option.help for option in show.params if isinstance(option, click.Option)]
    assert config.find_setting(name).help in helps


def test_word_that_is_no_choice_is_a_usage_error() -> None:
    result = CliRunner().invoke(show, ["--pooling", "some"])
    assert result.exit_code == 2
    assert "'cover', 'topk', 'all'" in result.stderr


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (("--m", "0"), "--m: m in [index] must be at least 1, not 0"),
        (("--threshold", "5"), "--threshold: threshold in [tag] must be at most 1, not 5.0"),
        (("--threshold", "nan"), "--threshold: threshold in [tag] must be a number, not nan"),
        (("--m", "many"), "'many' is not a valid integer"),
    ],
)
def test_a_value_that_a_setting_does_not_take_is_a_usage_error(
    given: tuple[str, str], complaint: str
) -> None:
    result = CliRunner().invoke(show, given)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_bytes_that_are_not_utf_8_are_a_usage_error() -> None:
    @click.command()
    @click.option("--label", type=TEXT)
    def command(label: str) -> None:
        click.echo(label)

    assert CliRunner().invoke(command, ["--label", "Hündin"]).stdout == "Hündin\n"
    result = CliRunner().invoke(command, ["--label", "bad\udcff"])
    assert result.exit_code == 2
    assert '"bad\\xff" is not UTF-8 text' in result.stderr


def test_help_lists_options_by_section_and_the_advanced_ones_last() -> None:
    @click.command(cls=Command)
    @advanced_option("--depth", help="How deep.")
    @option("--after", section="Filters", help="Photos taken later.")
    @setting_option("model.device")
    @click.option("--plain", help="An option without a section.")
    def command(**given: Any) -> None:
        """Do it."""

    text = CliRunner().invoke(command, ["--help"]).stdout
    _, options, filters, advanced = re.split("\n(?:Options|Filters|Advanced options):\n", text)
    assert [line.split()[0] for line in options.splitlines()] == ["--plain", "--help"]
    assert filters == "  --after TEXT  Photos taken later.\n"
    assert re.findall("^  (--\\w+)", advanced, re.MULTILINE) == ["--depth", "--device"]


def test_a_command_can_say_which_settings_are_advanced() -> None:
    @click.command(cls=Command)
    @setting_option("model.checkpoint", advanced=True)
    @setting_option("model.device", advanced=False)
    def command(**given: Any) -> None:
        """Do it."""

    text = CliRunner().invoke(command, ["--help"]).stdout
    assert text.index("--device") < text.index("Advanced options") < text.index("--model")


def test_help_of_a_group_lists_options_and_commands() -> None:
    @click.group(cls=Group, invoke_without_command=True)
    @advanced_option("--depth", help="How deep.")
    def group(**given: Any) -> None:
        """Do it."""

    @group.command()
    def part() -> None:
        """Do a part."""

    text = CliRunner().invoke(group, ["--help"]).stdout
    assert text.index("Advanced options:") < text.index("Commands:\n  part  Do a part.")
