"""`labels.toml`: the phrases of labels, their mean, and one sentence for what it cannot be."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.errors import ConfigError
from mkt_search.models.label_file import LabelFile, read_label_file
from mkt_search.scoring import unit
from mkt_search.types import Vector

TEXT = """
[crane]
phrases = ["a construction crane", "a tower crane"]

["Polar  bear"]
phrases = ["white bear"]

[empty]
"""


def vectors_of(texts: Sequence[str]) -> Vector:
    """Return unit vectors (L, 4), random and always the same for a text."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=4) for text in texts]
    return unit(np.array(rows, np.float32).reshape(-1, 4))


@pytest.fixture
def file(tmp_path: Path) -> LabelFile:
    (tmp_path / "labels.toml").write_text(TEXT, encoding="utf-8")
    return read_label_file(str(tmp_path / "labels.toml"))


def test_a_label_has_its_phrases_and_another_one_its_name(file: LabelFile) -> None:
    assert file.texts("crane") == ("a construction crane", "a tower crane")
    assert file.texts("dog") == ("dog",) and file.texts("empty") == ("empty",)


def test_a_label_is_found_in_every_spelling(file: LabelFile) -> None:
    assert file.texts("CRANE") == file.texts("crane")
    assert file.texts("polar\u00a0bear") == ("white bear",)


def test_the_vector_is_the_mean_of_the_phrases_and_of_length_one(file: LabelFile) -> None:
    found = file.vectors(["crane", "dog", "polar bear"], vectors_of)
    mean = vectors_of(["a construction crane", "a tower crane"]).mean(axis=0)
    np.testing.assert_allclose(found[0], unit(mean), atol=1e-6)
    np.testing.assert_array_equal(found[1:], vectors_of(["dog", "white bear"]))


def test_lengths_that_a_checkpoint_keeps_are_averaged_too(file: LabelFile) -> None:
    lengths = {"a construction crane": 0.5, "a tower crane": 1.5}

    def with_lengths(texts: Sequence[str]) -> Vector:
        return vectors_of(texts) * np.array([[lengths[text]] for text in texts], np.float32)

    assert np.linalg.norm(file.vectors(["crane"], with_lengths)) == pytest.approx(1.0)


def test_each_text_is_asked_for_once(file: LabelFile) -> None:
    asked: list[str] = []

    def counting(texts: Sequence[str]) -> Vector:
        asked.extend(texts)
        return vectors_of(texts)

    file.vectors(["crane", "dog", "crane", "a tower crane"], counting)
    assert asked == ["a construction crane", "a tower crane", "dog"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["crane", "dog", "empty", "polar bear"]), max_size=6))
def test_a_label_has_the_same_vector_in_every_list(labels: list[str]) -> None:
    phrases = {"crane": ("one crane", "two cranes", "dog"), "polar bear": ("dog",)}
    file = LabelFile(phrases)
    together = file.vectors(labels, vectors_of).reshape(-1, 4)
    for label, vector in zip(labels, together, strict=True):
        np.testing.assert_array_equal(file.vectors([label], vectors_of)[0], vector)


def test_no_file_is_no_phrases() -> None:
    assert read_label_file("") == LabelFile()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dog = 3", r"\[dog\] must be a table, with its phrases as `phrases = \[...\]`"),
        ('dog = ["a dog"]', r"\[dog\] must be a table"),
        ('[dog]\nphrase = ["a"]', r'\[dog\] has the unknown key "phrase"; did you mean "phrases"'),
        ('[dog]\nphrases = "a dog"', "phrases must be a list of texts in quotes"),
        ("[dog]\nphrases = [1]", "phrases must be a list of texts in quotes"),
        ('[dog]\nphrases = [" "]', "has an empty phrase; leave it out"),
        ('[dog]\nphrases = ["a"]\n[DOG]', r"\[DOG\] is there twice, in another spelling"),
        (f"[dog]\nphrases = {[str(n) for n in range(101)]}", "has 101 phrases; keep 100"),
        ('["\u200b"]', "is an empty label; leave it out"),
        ("[dog]\nparent = 3", r"\[dog\]: parent must be one text in quotes"),
        ('[dog]\ngroup = " "', r"\[dog\]: group must be one text in quotes"),
        ('[dog]\nsynonyms = "pup"', "synonyms must be a list of texts in quotes"),
        ('[dog]\nsynonyms = [""]', "has an empty synonym; leave it out"),
        ('[dog]\nsynonyms = ["CAT"]\n[cat]', 'the synonym "CAT" is a label of its own'),
        ('[dog]\nsynonyms = ["Dog"]', 'the synonym "Dog" is a label of its own'),
        (
            '[dog]\nsynonyms = ["pet"]\n[cat]\nsynonyms = ["Pet"]',
            r'\[cat\]: "Pet" is a synonym of "dog" already',
        ),
        ('[dog]\nparent = "animal"', r'the parent "animal" has no table; add \[animal\]'),
        ('[dog]\nparent = "animl"\n[animal]', 'no table; did you mean "animal"?'),
        ('[dog]\nparent = "Dog"', r"\[dog\] is below itself \(dog < dog\); take out one parent"),
        (
            '[a]\nparent = "b"\n[b]\nparent = "c"\n[c]\nparent = "b"',
            r"is below itself \(a < b < c < b\)",
        ),
        ('["a|b"]\nparent = "c"\n[c]', r'"\|" separates the levels of a hierarchy'),
        ("[dog", "not valid TOML"),
        ("a = " + "[" * 5_000, "too deep|not valid TOML"),
    ],
)
def test_anything_else_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "labels.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=words) as caught:
        read_label_file(str(tmp_path / "labels.toml"))
    assert "labels.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        read_label_file(str(tmp_path / "nowhere.toml"))


FAMILY = """
[animal]
group = "animals"

[Dog]
parent = "ANIMAL"
synonyms = ["puppy", "doggy"]

[poodle]
parent = "dog"

[crane]
group = "machines"
phrases = ["a tower crane"]
"""


@pytest.fixture
def family(tmp_path: Path) -> LabelFile:
    (tmp_path / "labels.toml").write_text(FAMILY, encoding="utf-8")
    return read_label_file(str(tmp_path / "labels.toml"))


def test_a_synonym_names_its_label_in_every_spelling(family: LabelFile) -> None:
    assert family.name("PUPPY") == "Dog" and family.name("cat") == "cat"
    assert family.distinct_names(["doggy", "cat", "dog", "puppy"]) == ["Dog", "cat"]


def test_a_synonym_has_no_part_in_a_vector(family: LabelFile) -> None:
    assert family.texts("dog") == ("dog",) and family.texts("puppy") == ("puppy",)


def test_a_label_is_below_its_parents_and_in_the_group_of_the_nearest(family: LabelFile) -> None:
    assert family.ancestors("poodle") == ("animal", "Dog") and family.ancestors("crane") == ()
    assert family.groups["poodle"] == "animals" and family.groups["crane"] == "machines"


def test_phrases_of_another_file_count_for_labels_without_their_own(family: LabelFile) -> None:
    other = LabelFile({"crane": ("a bird",), "dog": ("a dog that barks",)})
    both = family.with_phrases_of(other)
    assert both.texts("crane") == ("a tower crane",)
    assert both.texts("dog") == ("a dog that barks",)
