"""`mkt.toml`: every error names its line and the way out."""

import os
import re
from pathlib import Path

import pytest

from mkt_search.errors import ConfigError
from mkt_search.settings import config
from mkt_search.settings import toml as config_file
from mkt_search.settings.toml import FileValue


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(home: Path, text: str) -> Path:
    (home / "mkt.toml").write_text(text, encoding="utf-8")
    return home


def read(home: Path) -> dict[str, FileValue]:
    return config_file.read(home / "mkt.toml", list(config.settings()))


def refusal(home: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(write(home, text))
    return str(caught.value)


def test_values_come_with_their_lines(home: Path) -> None:
    write(home, "# mine\n[search]\nk = 3\n\n[index]\n  'hidden'  = true # yes\nm=2\n")
    assert read(home) == {
        "search.k": (3, "mkt.toml:3"),
        "index.hidden": (True, "mkt.toml:6"),
        "index.m": (2, "mkt.toml:7"),
    }


def test_dotted_keys_and_inline_tables_have_lines_too(home: Path) -> None:
    write(home, "search.k = 3\nindex = { m = 2 }\n")
    assert read(home) == {"search.k": (3, "mkt.toml:1"), "index.m": (2, "mkt.toml:2")}


def test_file_may_begin_with_a_byte_order_mark(home: Path) -> None:
    (home / "mkt.toml").write_text("[search]\nk = 3\n", encoding="utf-8-sig")
    assert read(home)["search.k"] == (3, "mkt.toml:2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[index]\nm = 8\nbacth_size = 3\n",
            'mkt.toml:3: unknown key "bacth_size" in [index]; did you mean "batch_size"?',
        ),
        ("# hello\n[indx]\nm = 8\n", "mkt.toml:2: unknown section [indx]; did you mean [index]?"),
        (
            "[search]\nbatch_size = 3\n",
            'mkt.toml:2: unknown key "batch_size" in [search]; it belongs under [index]',
        ),
        (
            "[tag]\nxyzzy = 3\n",
            'mkt.toml:2: unknown key "xyzzy" in [tag]; known names: "top", "precision"',
        ),
        (
            "batch_size = 3\n",
            'mkt.toml:1: "batch_size" is not in a section; put it under [index]',
        ),
        (
            "colour = 3\n",
            'mkt.toml:1: "colour" is not in a section; put every setting under its section',
        ),
        (
            '[index]\nbatch_size = "many"\n',
            'mkt.toml:2: batch_size in [index] must be a whole number, not "many"',
        ),
        (
            "[index]\nbatch_size = true\n",
            "mkt.toml:2: batch_size in [index] must be a whole number, not true",
        ),
        (
            "[index]\nbatch_size = 1.5\n",
            "mkt.toml:2: batch_size in [index] must be a whole number, not 1.5",
        ),
        ("\n[index]\nm = 0\n", "mkt.toml:3: m in [index] must be at least 1, not 0"),
        ("[index]\nm = 4000\n", "mkt.toml:2: m in [index] must be at most 1,024, not 4000"),
        ("index.m = 0\n", "mkt.toml:1: m in [index] must be at least 1, not 0"),
        (
            '[index]\npooling = "some"\n',
            'mkt.toml:2: pooling in [index] must be cover, topk or all, not "some"',
        ),
        (
            '[index]\nm = 8\nlocal = "topk"\n',
            'mkt.toml:3: "local" in [index] is now called "pooling"; rename it',
        ),
        ("[index]\nhidden = 1\n", "mkt.toml:2: hidden in [index] must be true or false, not 1"),
        ("[tag]\nthreshold = nan\n", "mkt.toml:2: threshold in [tag] must be a number, not nan"),
        (
            "[model]\ndevice = 0\n",
            "mkt.toml:2: device in [model] must be text in quotes, not 0",
        ),
        (
            '[stage1]\nmean = ["a"]\n',
            "mkt.toml:2: mean in [stage1] must be a list, each a number, not ['a']",
        ),
        (
            "[stage1]\nbackbone_args = [1]\n",
            "mkt.toml:2: backbone_args in [stage1] must be a list, each text in quotes, not [1]",
        ),
        (
            "[index\nm = 3\n",
            "mkt.toml:1: not valid TOML: Expected ']' at the end of a table declar",
        ),
        ("[index]\nm = \n", "mkt.toml:2: not valid TOML: Invalid value"),
    ],
)
def test_wrong_line_is_refused_with_its_place(home: Path, text: str, message: str) -> None:
    assert refusal(home, text).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        f"[index]\nm = {'9' * 5_000}\n",
        f"[index]\nm = 0x{'f' * 20_000}\n",
        f"[tag]\nthreshold = {'9' * 4_000}\n",
        f"[index]\nm = {'[' * 30_000}\n",
        f"[index]\n{'a.' * 5_000}a = 1\n",
        f"[{'a.' * 5_000}a]\n",
        f"[index]\n{' ' * 60_000}\n[{' ' * 1_000}x",
        "\0" * 70_000,
    ],
)
def test_values_of_thousands_of_signs_are_refused_at_once(home: Path, text: str) -> None:
    assert refusal(home, text).startswith("mkt.toml") and len(refusal(home, text)) < 300


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_pipe_is_no_settings_file(home: Path) -> None:
    os.mkfifo(home / "mkt.toml")
    with pytest.raises(ConfigError, match=r"^mkt\.toml: cannot be read \(not a regular file\)$"):
        read(home)


def test_file_that_is_not_text_is_refused_with_its_line(home: Path) -> None:
    (home / "mkt.toml").write_bytes(b"[index]\nm = 1 # \xff\n")
    with pytest.raises(ConfigError, match=r"^mkt\.toml:2: not UTF-8 text; save it as UTF-8$"):
        read(home)


def test_file_that_cannot_be_read_is_refused_with_the_reason(home: Path) -> None:
    (home / "mkt.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^mkt\.toml: cannot be read \(Is a directory\)$"):
        read(home)


def test_file_above_the_working_folder_is_named_in_full(home: Path) -> None:
    write(home, "[index]\nm = 0\n")
    below = home / "below"
    below.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(below)
        with pytest.raises(ConfigError, match=re.escape(f"{home / 'mkt.toml'}:2: m in [index]")):
            read(home)
