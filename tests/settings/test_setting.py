"""One setting: allowed values, and the errors for others."""

from typing import Any, Literal

import pytest

from mkt_search.errors import ConfigError
from mkt_search.settings.setting import Rule, Setting, check, nearest, parse

WORD = Literal["near", "far"]


def made(annotation: Any, default: Any, **limits: Any) -> Setting:
    return Setting("part", "some_key", annotation, default, Rule("Help.", **limits))


def test_names_follow_from_section_and_key() -> None:
    item = made(int, 1)
    assert (item.name, item.variable) == ("part.some_key", "MKT_PART_SOME_KEY")
    assert item.flag == "--some-key"


@pytest.mark.parametrize(
    ("annotation", "default", "shown"),
    [
        (int, 0, "0"),
        (float, 0.5, "0.5"),
        (bool, False, "off"),
        (bool, True, "on"),
        (str, "", "none"),
        (str, "auto", "auto"),
        (tuple[float, ...], (), "none"),
    ],
)
def test_help_has_the_default_and_the_name(annotation: Any, default: Any, shown: str) -> None:
    help = made(annotation, default).help
    assert help == f"Help.  [default: {shown}; mkt.toml: part.some_key]"


@pytest.mark.parametrize(
    ("annotation", "default", "given", "kept"),
    [
        (int, 1, 5, 5),
        (float, 1.0, 5, 5.0),
        (bool, False, True, True),
        (str, "", "x", "x"),
        (WORD, "near", "far", "far"),
        (tuple[float, ...], (), [1, 0.5], (1.0, 0.5)),
        (tuple[str, ...], (), ["a"], ("a",)),
    ],
)
def test_an_allowed_value_is_kept(annotation: Any, default: Any, given: Any, kept: Any) -> None:
    found = check(made(annotation, default), given, place="here")
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("annotation", "default", "given", "wanted"),
    [
        (int, 1, "5", 'a whole number, not "5"'),
        (int, 1, 0, "at least 1, not 0"),
        (int, 1, 10_000, "at most 1,000, not 10000"),
        (int, 1, True, "a whole number, not true"),
        (float, 1.0, float("nan"), "a number, not nan"),
        (float, 1.0, float("inf"), "a number, not inf"),
        (tuple[float, ...], (), [float("nan")], "a list, each a number, not [nan]"),
        (bool, False, 1, "true or false, not 1"),
        (str, "", 5, "text in quotes, not 5"),
        (WORD, "near", "fr", 'near or far, not "fr"'),
        (tuple[float, ...], (), ["a"], "a list, each a number, not ['a']"),
        (tuple[str, ...], (), "a", 'a list, each text in quotes, not "a"'),
    ],
)
def test_another_value_is_refused_with_the_requirement(
    annotation: Any, default: Any, given: Any, wanted: str
) -> None:
    limits = {"at_least": 1, "at_most": 1000} if annotation is int else {}
    with pytest.raises(ConfigError) as caught:
        check(made(annotation, default, **limits), given, place="here")
    assert str(caught.value) == f"here: some_key in [part] must be {wanted}"


@pytest.mark.parametrize(
    ("annotation", "default", "text", "value"),
    [
        (int, 1, "1_000", 1000),
        (int, 1, "many", "many"),
        (float, 1.0, "1e-3", 0.001),
        (bool, False, " On ", True),
        (bool, True, "no", False),
        (bool, True, "perhaps", "perhaps"),
        (str, "", "text", "text"),
        (tuple[float, ...], (), "1, 2.5", (1.0, 2.5)),
        (tuple[str, ...], (), "", ()),
        (tuple[float, ...], (), "1,x", "1,x"),
    ],
)
def test_text_of_the_environment_is_parsed_by_type(
    annotation: Any, default: Any, text: str, value: Any
) -> None:
    assert parse(made(annotation, default), text) == value


def test_the_nearest_name_is_offered_or_all_of_them() -> None:
    assert nearest("bacth", ["batch", "k"], '"{}"') == '; did you mean "batch"?'
    assert nearest("xyz", ["batch", "k"], "[{}]") == "; known names: [batch], [k]"
