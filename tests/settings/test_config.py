"""Settings: the order of sources, the text that documents them, and the place of the library."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from mkt_search import types
from mkt_search.errors import ConfigError, LibraryNotFound
from mkt_search.settings import config
from mkt_search.settings.config import (
    Config,
    find_home,
    find_library,
    find_setting,
    load,
    named_library,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with nothing in it or in the environment."""
    monkeypatch.chdir(tmp_path)
    for item in config.settings():
        monkeypatch.delenv(item.variable, raising=False)
    return tmp_path


def write(home: Path, text: str) -> Path:
    (home / "mkt.toml").write_text(text, encoding="utf-8")
    return home


# ---- mkt.toml documents the dataclasses ----


def documented() -> str:
    """The text of mkt.toml with the settings of training, which are comments, uncommented."""
    return re.sub(r"^# (\w+ = )", r"\1", (ROOT / "mkt.toml").read_text(), flags=re.MULTILINE)


def test_mkt_toml_sets_nothing_that_a_recipe_decides() -> None:
    written = tomllib.loads((ROOT / "mkt.toml").read_text())
    assert written["stage1"] == written["stage2"] == {}


def test_mkt_toml_has_every_setting_with_its_default() -> None:
    written = tomllib.loads(documented())
    declared: dict[str, dict[str, Any]] = {}
    for item in config.settings():
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        declared.setdefault(item.section, {})[item.key] = default
    assert written == declared


def test_comment_above_each_key_of_mkt_toml_is_the_help_of_the_setting() -> None:
    pairs = re.findall(r"^# (.*)\n(\w+) = ", documented(), flags=re.MULTILINE)
    assert pairs == [(item.rule.help, item.key) for item in config.settings()]


def test_keys_of_mkt_toml_have_the_order_of_the_dataclasses() -> None:
    written = tomllib.loads(documented())
    names = [f"{section}.{key}" for section, table in written.items() for key in table]
    assert names == [item.name for item in config.settings()]


def test_every_default_passes_its_own_check() -> None:
    for item in config.settings():
        assert config.check(item, item.default, place="default") == item.default


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("index.pooling", types.Pooling),
        ("stage1.resize", types.Resize),
    ],
)
def test_choices_are_those_of_the_type(name: str, words: Any) -> None:
    assert config.find_setting(name).choices == get_args(words)


def test_documented_text_is_the_file_in_the_repository() -> None:
    assert config.documented() == (ROOT / "mkt.toml").read_text()


def test_advanced_settings_stand_under_a_heading_at_the_end_of_their_section() -> None:
    for section in ("data", "stage1", "stage2"):
        flags = [item.rule.advanced for item in config.settings() if item.section == section]
        assert flags == sorted(flags)
        text = documented().split(f"\n[{section}]\n")[1].split("\n[")[0]
        plain, _, advanced = text.partition("# ---- Advanced ----")
        assert (plain.count(" = "), advanced.count("\n# ")) == (flags.count(False), sum(flags))


# ---- where a value comes from ----


def test_every_value_is_its_default_if_nothing_is_set(home: Path) -> None:
    loaded = load(home, environ={})
    assert loaded == Config()
    assert set(loaded.sources.values()) == {"default"}


def test_flag_beats_environment_beats_file_beats_default(home: Path) -> None:
    write(home, "[index]\nbatch_size = 2\nm = 2\nworkers = 2\n")
    environ = {"MKT_INDEX_BATCH_SIZE": "3", "MKT_INDEX_M": "3"}
    loaded = load(home, environ=environ, flags={"index.batch_size": 4})
    index = loaded.index
    assert (index.batch_size, index.m, index.workers, index.precision) == (4, 3, 2, "int8")
    assert loaded.sources["index.batch_size"] == "--batch-size"
    assert loaded.sources["index.m"] == "MKT_INDEX_M"
    assert loaded.sources["index.workers"] == "mkt.toml:4"
    assert loaded.sources["index.precision"] == "default"


def test_a_flag_that_was_not_given_changes_nothing(home: Path) -> None:
    write(home, "[index]\nm = 2\n")
    assert load(home, environ={}, flags={"index.m": None}).index.m == 2


def test_flag_that_is_zero_or_false_counts_as_given(home: Path) -> None:
    write(home, "[tag]\ntop = 9\n[index]\nhidden = true\n")
    loaded = load(home, environ={}, flags={"tag.top": 0, "index.hidden": False})
    assert (loaded.tag.top, loaded.index.hidden) == (0, False)


def test_process_environment_is_read_by_default(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKT_SEARCH_K", "7")
    assert load(home).search.k == 7


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("MKT_INDEX_HIDDEN", "Yes", "hidden", True),
        ("MKT_INDEX_HIDDEN", "0", "hidden", False),
        ("MKT_INDEX_MAX_PIXELS", "1_000", "max_pixels", 1000),
        ("MKT_INDEX_POOLING", "all", "pooling", "all"),
    ],
)
def test_environment_text_becomes_a_value(
    home: Path, variable: str, text: str, name: str, value: Any
) -> None:
    assert getattr(load(home, environ={variable: text}).index, name) == value


def test_lists_come_from_the_file_and_from_the_environment(home: Path) -> None:
    write(home, "[stage1]\nmean = [0, 0.5, 1]\n")
    assert load(home, environ={}).stage1.mean == (0.0, 0.5, 1.0)
    environ = {"MKT_STAGE1_MEAN": "0.1, 0.2, 0.3", "MKT_STAGE1_BACKBONE_ARGS": "a=1,b=2"}
    loaded = load(home, environ=environ).stage1
    assert loaded.mean == (0.1, 0.2, 0.3)
    assert loaded.backbone_args == ("a=1", "b=2")


def test_a_whole_number_is_accepted_for_a_number(home: Path) -> None:
    assert load(write(home, "[tag]\nthreshold = 1\n"), environ={}).tag.threshold == 1.0


def test_the_file_of_the_nearest_folder_is_used(home: Path) -> None:
    write(home, "[search]\nk = 3\n")
    below = home / "a" / "b"
    below.mkdir(parents=True)
    assert load(below, environ={}).search.k == 3


def test_library_folder_itself_leads_to_the_file_beside_it(home: Path) -> None:
    write(home, "[search]\nk = 3\n")
    (home / ".mkt").mkdir()
    assert load(home / ".mkt", environ={}).search.k == 3


def test_a_path_in_the_file_is_relative_to_it(home: Path) -> None:
    (home / "student").mkdir()
    write(home, '[model]\ncheckpoint = "student"\n')
    below = home / "below"
    below.mkdir()
    assert load(below, environ={}).model.checkpoint == str(home / "student")


def test_a_name_of_open_clip_is_not_a_path(home: Path) -> None:
    write(home, '[model]\ncheckpoint = "ViT-B-16/openai"\n')
    assert load(home, environ={}).model.checkpoint == "ViT-B-16/openai"


# ---- what is refused, and how ----


def test_wrong_environment_value_names_the_variable(home: Path) -> None:
    message = (
        "environment variable MKT_INDEX_BATCH_SIZE: batch_size in [index] must be a whole number,"
        ' not "many"'
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        load(home, environ={"MKT_INDEX_BATCH_SIZE": "many"})


def test_misspelled_environment_variable_is_refused_with_the_nearest(home: Path) -> None:
    with pytest.raises(ConfigError, match=r"MKT_INDEX_BACTH_SIZE; did you mean MKT_INDEX_BATCH_"):
        load(home, environ={"MKT_INDEX_BACTH_SIZE": "3"})


@pytest.mark.parametrize(
    ("name", "near"), [("MKT_LIBARY", "MKT_LIBRARY"), ("MKT_SERCH_K", "MKT_SEARCH_K")]
)
def test_a_misspelled_section_of_a_variable_is_refused(home: Path, name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"variable {name}; did you mean {near}"):
        load(home, environ={name: "3"})


def test_a_renamed_environment_variable_is_refused_with_its_new_name(home: Path) -> None:
    with pytest.raises(ConfigError, match="MKT_INDEX_LOCAL; it is now called MKT_INDEX_POOLING"):
        load(home, environ={"MKT_INDEX_LOCAL": "topk"})


def test_other_mkt_variables_are_ignored(home: Path) -> None:
    assert load(home, environ={"MKT_LIBRARY": "/somewhere", "MKT_TOKEN": "x"}) == Config()


def test_flag_out_of_range_is_refused_by_its_name(home: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"--batch-size: batch_size in .index. must be at least 1"
    ):
        load(home, environ={}, flags={"index.batch_size": 0})


@pytest.mark.parametrize(
    "name",
    [
        *("data.split_seed", "stage1.seed", "stage2.seed", "stage1.warmup_epochs"),
        *("stage1.min_lr", "stage1.weight_decay", "stage1.clip_grad"),
        *("stage2.min_lr", "stage2.weight_decay", "stage2.clip_grad"),
    ],
)
def test_negative_values_are_refused(home: Path, name: str) -> None:
    value = type(find_setting(name).default)(-1)
    with pytest.raises(ConfigError, match=r"must be at least 0, not -1"):
        load(home, environ={}, flags={name: value})


def test_values_make_a_configuration_without_file_or_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, "[search]\nk = 3\n")
    monkeypatch.setenv("MKT_SEARCH_K", "7")
    found = config.from_values({"stage1.lr": 1, "data.photos": Path("a"), "stage1.frozen": 3})
    assert (found.stage1.lr, found.data.photos, found.stage1.frozen) == (1.0, "a", "3")
    assert found.search.k == config.SearchConfig().k
    assert (found.sources["stage1.lr"], found.sources["search.k"]) == ("given", "default")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"stage1.lrr": 1.0}, r'unknown setting "stage1\.lrr"; did you mean "stage1\.lr"'),
        ({"stage1.epochs": 1.5}, r"stage1\.epochs: epochs in \[stage1\] must be a whole number"),
        ({"data.photos": True}, "must be text in quotes"),
    ],
)
def test_wrong_values_are_refused_by_their_name(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        config.from_values(values)


# ---- where the library is ----


def test_library_is_the_nearest_mkt_folder_upward(home: Path) -> None:
    (home / ".mkt").mkdir()
    inner = home / "trip"
    (inner / ".mkt").mkdir(parents=True)
    (inner / "day").mkdir()
    assert find_library(inner / "day") == inner / ".mkt"
    assert find_library(home) == home / ".mkt"


def test_folder_with_only_mkt_toml_ends_the_search(home: Path) -> None:
    (home / ".mkt").mkdir()
    inner = home / "trip"
    inner.mkdir()
    (inner / "mkt.toml").write_text("")
    assert find_home(inner) == inner
    with pytest.raises(
        LibraryNotFound, match=r"has a mkt\.toml but no library yet\. Run `mkt init"
    ):
        find_library(inner)


def test_without_a_library_the_error_says_how_to_create_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "find_home", lambda start: None)
    with pytest.raises(LibraryNotFound, match="Run `mkt init` in the folder"):
        find_library(home)


def test_named_library_is_the_folder_or_its_mkt(home: Path) -> None:
    (home / ".mkt").mkdir()
    assert named_library(home) == home / ".mkt"
    assert named_library(home / ".mkt") == home / ".mkt"


def test_named_library_with_another_name_is_known_by_its_database(home: Path) -> None:
    (home / "mkt.db").touch()
    assert named_library(home) == home


def test_named_folder_without_a_library_is_refused(home: Path) -> None:
    with pytest.raises(LibraryNotFound, match="no library in"):
        named_library(home)
    with pytest.raises(LibraryNotFound, match="no library in"):
        named_library(home / ".mkt")


def test_labels_toml_beside_the_library_is_the_default_file_of_labels(home: Path) -> None:
    assert load(home).model.label_file == ""
    (home / ".mkt").mkdir()
    (home / "labels.toml").touch()
    (home / "below").mkdir()
    assert load(home / "below").model.label_file == str(home / "labels.toml")
    write(home, '[model]\nlabel_file = "other.toml"')
    assert load(home).model.label_file == "other.toml"
