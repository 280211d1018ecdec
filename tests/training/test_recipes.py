"""Recipes: defaults by name, which a given setting beats."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from mkt_search.settings import config
from mkt_search.settings.config import Stage1Config, Stage2Config
from training.recipes import PAPER_CLIP, RECIPES, stage1_settings, stage2_settings, with_recipe

DOCS = Path(__file__).parent.parent.parent / "docs/training.md"


def test_the_names_are_the_choices_of_the_setting() -> None:
    assert config.find_setting("stage1.recipe").choices == tuple(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_default_is_a_valid_setting(name: str) -> None:
    values = {f"stage1.{key}": value for key, value in RECIPES[name].stage1.items()}
    values |= {f"stage2.{key}": value for key, value in RECIPES[name].stage2.items()}
    config.from_values(values)


def test_linear_is_the_defaults() -> None:
    assert with_recipe(Stage1Config(), given=()) == Stage1Config()


def test_flag_environment_and_file_beat_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mkt.toml").write_text('[stage1]\nrecipe = "paper"\nlr = 0.5\n')
    environ = {"MKT_STAGE1_EPOCHS": "7", "MKT_STAGE2_SCORE": "dot"}
    loaded = config.load(tmp_path, environ=environ, flags={"stage1.top_k": 3})
    found = stage1_settings(loaded)
    assert (found.lr, found.epochs, found.top_k, found.frozen) == (0.5, 7, 3, "10")
    tuning = stage2_settings(loaded)
    assert (tuning.score, tuning.score_scale) == ("dot", 1.0)


def test_a_setting_given_as_its_default_still_beats_the_recipe() -> None:
    given = config.from_values({"stage1.recipe": "paper", "stage1.lr": 3e-4})
    assert stage1_settings(given).lr == 3e-4


def test_a_label_table_takes_the_place_of_the_paper_s_text_tower() -> None:
    given = config.from_values({"stage1.recipe": "paper", "stage1.label_table": "table.npz"})
    found = stage1_settings(given)
    assert (found.text_model, found.teacher, found.lengths) == ("", PAPER_CLIP, "one")


def test_a_given_text_tower_brings_its_own_teacher() -> None:
    values = {"stage1.recipe": "paper", "stage1.text_model": "ViT-B-32/openai"}
    assert stage1_settings(config.from_values(values)).teacher == "ViT-B-32/openai"
    found = stage1_settings(config.from_values(values | {"stage1.teacher": "ViT-L-14/openai"}))
    assert found.teacher == "ViT-L-14/openai"


def test_the_table_in_the_documents_has_every_recipe() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", DOCS.read_text(), re.MULTILINE)
    written = {
        name: {key: values[column] for key, *values in rows}
        for column, name in enumerate(("linear", "finetune", "paper"))
    }
    keys = {key for recipe in RECIPES.values() for key in recipe.stage1}
    assert set(written["linear"]) == keys
    defaults = {item.name: item.default for item in fields(Stage1Config)}
    for name, recipe in RECIPES.items():
        for key in keys:
            value = recipe.stage1.get(key, defaults[key])
            assert written[name][key] == shown(value), (name, key)
    text = " ".join(DOCS.read_text().split())
    for key, value in RECIPES["paper"].stage2.items():
        assert f"`{key}` {shown(value)}" in text
    assert set(RECIPES["paper"].stage2) <= {item.name for item in fields(Stage2Config)}


def shown(value: object) -> str:
    """A value as the table in the documents shows it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value) or "-"
