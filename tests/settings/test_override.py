"""Settings given as arguments."""

from dataclasses import fields

import pytest

from mkt_search.errors import ConfigError
from mkt_search.settings.config import Config, DataConfig, EvaluateConfig, IndexConfig, ModelConfig
from mkt_search.settings.override import EvaluateSettings, IndexSettings, override, setting_names


def test_given_settings_replace_others_and_count_as_given() -> None:
    config = Config()
    found = override(config, {"index.m": 4, "model.device": "cpu", "index.workers": None})
    assert (found.index.m, found.model.device) == (4, "cpu")
    assert found.index.workers == config.index.workers
    assert dict(found.sources) == {"index.m": "argument", "model.device": "argument"}
    assert config == Config()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"index.mm": 4}, "unknown setting index.mm; did you mean index.m"),
        ({"index.m": 0}, r"argument m: m in \[index\] must be at least 1, not 0"),
        ({"index.m": "4"}, "a whole number"),
    ],
)
def test_a_wrong_setting_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        override(Config(), values)


def test_the_settings_of_an_index_run_are_those_of_the_file() -> None:
    declared = {item.name: item.type for item in [*fields(IndexConfig), *fields(ModelConfig)]}
    for key in ("checkpoint", "templates", "label_file"):  # these decide no vector of a photo
        del declared[key]
    assert IndexSettings.__annotations__ == declared


def test_the_settings_of_an_evaluation_are_those_of_the_file() -> None:
    sections = (DataConfig, EvaluateConfig, ModelConfig)
    declared = {item.name: item.type for section in sections for item in fields(section)}
    for key in ("checkpoint", "label_file"):  # measured are the names of labels
        del declared[key]
    assert EvaluateSettings.__annotations__ == declared


def test_keys_are_found_in_the_first_section_that_has_them() -> None:
    names = setting_names({"workers": 2, "device": "cpu"}, ("index", "evaluate", "model"))
    assert names == {"index.workers": 2, "model.device": "cpu"}
    assert setting_names({"workers": 2}, ("evaluate", "index")) == {"evaluate.workers": 2}


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown argument wokers; did you mean workers"):
        setting_names({"wokers": 2}, ("index", "model"))
