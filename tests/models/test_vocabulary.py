"""Vocabularies: what a file is read as, and what the ones that ship keep to."""

import logging
import os
import re
from pathlib import Path

import pytest

from mkt_search.errors import QueryError
from mkt_search.models.label_file import LabelFile
from mkt_search.models.vocabulary import (
    about_labels,
    read_kinds,
    read_vocabulary,
    shipped_vocabularies,
    vocabulary_file,
)
from mkt_search.settings.config import Config
from mkt_search.spelling import label_key

# Words of the vocabularies that ship which are names, and labels that have no singular.
NAMES = set(
    """
    Advent American Chihuahua Christmas Dalmatian Day Dead Diwali Easter Eve Ferris
    German Halloween Japanese Labrador Lunar Milky New QR Rubik's Santa Claus Thanksgiving TV RV
    Valentine's Way Year Year's
    """.split()
)
PLURALS = set(
    """
    Christmas Christmas_lights bagpipes billiards binoculars block_of_flats blowing_bubbles
    blowing_out_candles bunch_of_flowers chest_of_drawers chopsticks crisps
    electronics fallen_leaves feeding_animals fish_and_chips flip-flops footprints french_fries
    flock_of_birds fries glasses goggles gymnastics headphones herd_of_animals high_heels
    holding_hands jeans sea_of_clouds
    martial_arts noodles northern_lights painted_nails pajamas pants pliers
    potato_chips rain_boots rapids rhinoceros ribs roller_skates ruins scissors scrambled_eggs
    shorts star_trails string_lights sunglasses sunlight_through_leaves sweets
    thumbs_up trousers washing_dishes wellingtons
    """.split()
)
SINGULAR = ("ss", "us", "is", "lens")
MOST_TOKENS = 77  # that CLIP reads


def test_a_vocabulary_is_one_label_a_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeff# animals\r\ndog\r\n\n  polar bear  \ndog\nÜber\n".encode())
    assert read_vocabulary(file) == ["dog", "polar bear", "Über"]


def test_a_vocabulary_has_a_label_once_in_its_first_spelling(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(
        "Beach\nCafe\u0301\nbeach\nCAF\u00c9\nred\u00a0car\nred car\n\u200b\n".encode()
    )
    assert read_vocabulary(file) == ["Beach", "Caf\u00e9", "red car"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX")
def test_a_pipe_a_device_or_a_huge_file_is_no_vocabulary(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"")
    os.truncate(tmp_path / "large", 10**9)  # of NULs, which take no room
    for file in (tmp_path / "pipe", tmp_path / "large", Path("/dev/zero")):
        with pytest.raises(QueryError, match="cannot be read"):
            read_vocabulary(file)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "has no labels"),
        (b"# only\n\n", "has no labels"),
        (b"\xff\xfe\xff", "not UTF-8"),
        (b"dog\n" + b"x" * 1_001, r"2: not a label"),
        (bytes(1_000), "1: not a label"),
    ],
)
def test_an_unusable_vocabulary_is_a_sentence(tmp_path: Path, data: bytes, complaint: str) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes(data)
    with pytest.raises(QueryError, match=rf"labels\.txt.*{complaint}"):
        read_vocabulary(file)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tags.csv", 'path,label,score\r\na.jpg,dog,0.5\r\nb.jpg,"sea, salt",\r\n'),
        ("tags.tsv", "Label\tn\ndog\t1\n\nsea, salt\t2\n"),
        ("one.csv", 'dog\n# comment\n"sea, salt"\nDOG\n'),
    ],
)
def test_a_table_gives_its_column_of_labels(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_vocabulary(tmp_path / name) == ["dog", "sea, salt"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("tags.csv", "a.jpg,dog\nb.jpg,sea\n", 'none of its columns has the heading "label"'),
        ("labels.json", '["dog", "sea"]\n', "write labels as text, one a line"),
        ("tags.csv", "\n,\n", "has no labels"),
    ],
)
def test_a_file_whose_lines_are_no_labels_is_refused(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(QueryError, match=complaint):
        read_vocabulary(tmp_path / name)


def test_a_missing_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"none\.txt: cannot be read \(No such file"):
        read_vocabulary(tmp_path / "none.txt")
    with pytest.raises(QueryError, match="directory"):
        read_vocabulary(tmp_path)


def test_a_vocabulary_of_tables_brings_what_they_say_along(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('[pet]\ngroup = "home"\n[cat]\nparent = "pet"\n[sea]\n')
    vocabulary = read_vocabulary(tmp_path / "my.toml")
    assert vocabulary == ["pet", "cat", "sea"]
    assert vocabulary.about.ancestors("cat") == ("pet",)
    assert read_kinds(tmp_path / "my.toml") == {"pet": "home", "cat": "home"}


def test_phrases_in_use_come_before_those_of_the_vocabulary() -> None:
    everyday = read_vocabulary("everyday")
    own = LabelFile({"crane": ("a bird",)})
    assert about_labels(everyday, own).texts("crane") == ("a bird",)
    assert about_labels(everyday, own).texts("bat") == everyday.about.texts("bat") != ("bat",)
    assert about_labels(["bat"], own) is own


def test_a_file_comes_before_the_vocabulary_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "everyday").mkdir()
    assert len(read_vocabulary("everyday")) > 1_000
    (tmp_path / "everyday").rmdir()
    (tmp_path / "everyday").write_text("my dog\n")
    with caplog.at_level(logging.WARNING):
        assert read_vocabulary("everyday") == ["my dog"]
    assert "the file everyday of this folder; rename it" in caplog.text


@pytest.mark.parametrize("name", ["evryday", "Everyday", "holidays"])
def test_a_name_that_is_neither_a_file_nor_ships_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = rf'no file "{name}", and no vocabulary of that name ships.*everyday'
    with pytest.raises(QueryError, match=words) as caught:
        read_vocabulary(name)
    assert "\n" not in str(caught.value)


@pytest.fixture(params=shipped_vocabularies())
def shipped(request: pytest.FixtureRequest) -> LabelFile:
    return read_vocabulary(request.param).about


def test_everyday_ships_with_about_1_500_labels_in_groups() -> None:
    everyday = read_vocabulary("everyday")
    assert 1_300 <= len(everyday) <= 1_700
    assert len({*read_kinds("everyday").values()}) == 20


def test_each_label_that_ships_has_a_group_and_is_there_once(shipped: LabelFile) -> None:
    names = [*shipped.labels, *(text for some in shipped.synonyms.values() for text in some)]
    assert len({*map(label_key, names)}) == len(names)
    assert {label_key(label) for label in shipped.labels} == shipped.groups.keys()


def test_labels_that_ship_are_singular_and_in_lower_case_except_names(shipped: LabelFile) -> None:
    names = [*shipped.labels, *(text for some in shipped.synonyms.values() for text in some)]
    for name in names:
        assert re.fullmatch(r"[A-Za-z'\- ]+", name), name
        assert all(word in NAMES or word.islower() for word in name.split()), name
        is_plural = name.endswith("s") and not name.endswith(SINGULAR)
        assert not is_plural or name.replace(" ", "_") in PLURALS, name
        if not name.endswith("s"):
            assert f"{name}s" not in names, name


def test_labels_that_ship_guess_nothing_about_people(shipped: LabelFile) -> None:
    refused = r"""\b(man|men|woman|women|boy|girl|gender|fat|obese|ugly|beautiful|sexy|pregnant
        |disabled|blind|deaf|ill|sick|patient|wheelchair|jew|jewish|muslim|christian|hindu|buddhist
        |asian|african|black person|white person|homeless|refugee|gay|lesbian|monkey|ape|gorilla
        |chimpanzee|nude|naked|underwear|lingerie)\b"""
    for label in shipped.labels:
        for text in (label, *shipped.texts(label), *shipped.synonyms.get(label_key(label), ())):
            assert not re.search(refused, text, re.X | re.I), text


@pytest.mark.slow
def test_every_text_that_ships_fits_into_clip(shipped: LabelFile) -> None:
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    template = max(Config().model.templates, key=len)
    for label in shipped.labels:
        for text in (label, *shipped.texts(label)):
            assert len(tokenizer.encode(template.format(text))) + 2 <= MOST_TOKENS, text


def test_the_file_that_ships_has_one_label_a_line_below_its_group() -> None:
    lines = vocabulary_file("everyday").read_text(encoding="utf-8").splitlines()
    labels = [line for line in lines if line and not line.startswith("#")]
    assert len(labels) == len(read_vocabulary("everyday"))
    assert max(map(len, lines)) <= 120
