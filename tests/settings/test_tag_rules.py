"""What is asked of tags: flags take the place of settings, and a default asks nothing."""

from mkt_search.settings.config import TagConfig
from mkt_search.settings.tag_rules import asked_of_tags

NOTHING = {"precision": None, "min_p": None, "threshold": None}


def test_settings_that_are_the_default_ask_nothing() -> None:
    assert asked_of_tags(TagConfig(), NOTHING) == {"top": 0}


def test_a_setting_is_asked_where_nothing_is_given() -> None:
    settings = TagConfig(top=3, threshold=0.25)
    assert asked_of_tags(settings, NOTHING) == {"top": 3, "threshold": 0.25}


def test_what_is_given_takes_the_place_of_every_rule_of_the_settings() -> None:
    given = {**NOTHING, "precision": 0.9}
    assert asked_of_tags(TagConfig(top=3, threshold=0.25), given) == {"top": 3, "precision": 0.9}
