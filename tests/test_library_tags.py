"""Tags from Python: set by a run or by hand, listed, exported, and taken back."""

from pathlib import Path

import pytest

from mkt_search import Filters, Library, read_vocabulary
from mkt_search.errors import QueryError

RED, BLUE = "red.png", "blue.png"


def labels(library: Library, name: str, **wanted: str) -> set[str]:
    """Return the labels of a photo."""
    return {tag.label for tag in library.tags(**wanted) if tag.path.name == name}  # type: ignore[arg-type]


def test_a_run_sets_tags_and_is_taken_back_and_those_set_by_hand_stay(own_library: Path) -> None:
    with Library.open(own_library) as library:
        library.add_tag(own_library / "photos" / RED, "mine")
        done = library.tag(["red", "blue"], top=1)
        assert labels(library, RED) == {"red", "mine"} and labels(library, BLUE) == {"blue"}
        assert labels(library, RED, source="auto") == {"red"}
        library.untag(done.run)
        assert labels(library, RED) == {"mine"} and labels(library, BLUE) == set()


def test_a_label_that_was_removed_stays_away_until_it_is_allowed(own_library: Path) -> None:
    photo = own_library / "photos" / BLUE
    with Library.open(own_library) as library:
        library.tag(["blue"], top=1)
        assert library.remove_tag(photo, "Blue") == 1
        assert [(found.path, found.label) for found in library.refusals()] == [(photo, "blue")]
        assert library.tag(["blue"], top=1).refused == 1 and labels(library, BLUE) == set()
        assert library.allow_tag(photo, "blue") == 1 and not list(library.refusals())
        library.tag(["blue"], top=1)
        assert labels(library, BLUE) == {"blue"}


def test_tags_are_exported_as_they_are_listed(own_library: Path, tmp_path: Path) -> None:
    with Library.open(own_library) as library:
        library.add_tag([own_library / "photos" / name for name in (RED, BLUE)], "=mine")
        count = library.export_tags(tmp_path / "tags.csv", label="=mine")
        assert count == len(list(library.tags(label="=mine"))) >= 2
    assert (tmp_path / "tags.csv").read_text().count(",'=mine,,human,") == count


def test_a_label_without_letters_and_an_unknown_source_are_refused(own_library: Path) -> None:
    with Library.open(own_library) as library:
        with pytest.raises(QueryError, match="The label is empty"):
            library.add_tag(own_library / "photos" / RED, " \u200b")
        with pytest.raises(QueryError, match='no source "me"'):
            library.tags(source="me")


def test_a_synonym_is_its_label_in_tags_filters_and_vocabularies(own_library: Path) -> None:
    (own_library / "labels.toml").write_text(
        '[color]\n[red]\nparent = "color"\nsynonyms = ["crimson"]\n', encoding="utf-8"
    )
    with Library.open(own_library) as library:
        assert library.tag(["crimson", "red", "blue"], top=1).labels == 2
        assert labels(library, RED, label="Crimson") == {"red"}
        filters = Filters(tag="crimson")
        assert {hit.path.name for hit in library.search("blue", filters=filters)} >= {RED}
        assert RED in {photo.path.name for photo in library.photos(filters=filters)}
        assert library.remove_tag(own_library / "photos" / RED, "crimson") == 1
        assert {refusal.label for refusal in library.refusals(label="crimson")} == {"red"}


def test_a_search_for_a_synonym_is_a_search_for_that_text(own_library: Path) -> None:
    with Library.open(own_library) as library:
        before = [(hit.path, hit.score) for hit in library.search("blue")]
    (own_library / "labels.toml").write_text('[red]\nsynonyms = ["blue"]\n', encoding="utf-8")
    with Library.open(own_library) as library:
        assert [(hit.path, hit.score) for hit in library.search("blue")] == before


def test_tags_have_the_parents_of_their_labels(own_library: Path, tmp_path: Path) -> None:
    (own_library / "labels.toml").write_text('[color]\n[red]\nparent = "color"\n')
    with Library.open(own_library) as library:
        library.tag(["red", "blue"], top=1)
        assert {tag.hierarchy for tag in library.tags()} == {"color|red", "blue"}
        library.export_tags(tmp_path / "tags.csv")
    assert ",color|red," in (tmp_path / "tags.csv").read_text()


def test_phrases_of_a_vocabulary_count_in_its_run_alone(own_library: Path, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text('[red]\nphrases = ["blue"]\n')
    with Library.open(own_library) as library:
        plain = [(hit.path, hit.score) for hit in library.search("red")]
        library.tag(["red"], top=1, threshold=0.0)
        red = {tag.path: tag.score for tag in library.tags()}
        library.tag(read_vocabulary(tmp_path / "my.toml"), top=1, threshold=0.0)
        assert {tag.path: tag.score for tag in library.tags()} != red
        assert [(hit.path, hit.score) for hit in library.search("red")] == plain
