"""A person's tags follow an edit in place, and stay with a picture whose path is taken."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sqlalchemy import delete

from mkt_search.models.encoder import PhotoEncoder
from mkt_search.store.prune import prune
from mkt_search.store.sql.database import transaction
from mkt_search.store.sql.schema import MiniatureRow
from mkt_search.store.store import Store
from mkt_search.types import Filters
from tests.indexer.indexed import bring_in, photos


def draw(path: Path, seed: int) -> Path:
    """Save a picture with enough detail to know it again."""
    grid = np.random.default_rng(seed).integers(0, 255, (16, 16), np.uint8)
    image = Image.fromarray(grid).resize((80, 60), Image.Resampling.BICUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.convert("RGB").save(path)
    return path


def edit(path: Path, brightness: float = 0.7) -> None:
    with Image.open(path) as image:
        edited = ImageEnhance.Brightness(image).enhance(brightness)
    edited.save(path)


def exchange(one: Path, other: Path) -> None:
    spare = one.with_name("spare")
    one.rename(spare)
    other.rename(one)
    spare.rename(other)


def tag(store: Store, path: Path, label: str) -> None:
    photo = store.catalog.photo_at(path)
    assert photo is not None
    store.catalog.add_tag([photo.id], label)


def refuse(store: Store, path: Path, label: str) -> None:
    photo = store.catalog.photo_at(path)
    assert photo is not None
    store.catalog.remove_tag([photo.id], label)


def refused(store: Store) -> set[str]:
    """Return "name: label" for labels that a person removed."""
    return {
        f"{one.path.name}: {one.label}{', missing' if one.is_missing else ''}"
        for one in store.catalog.refusals(filters=Filters())
    }


def shown(store: Store) -> set[str]:
    """Return "name: label", with "missing" for a photo that is not there."""
    return {
        f"{tag.path.name}: {tag.label}{', missing' if tag.is_missing else ''}"
        for tag in store.catalog.tags(source="human")
    }


@pytest.fixture
def album(store: Store, encoder: PhotoEncoder, tmp_path: Path) -> Path:
    """Two photos in an indexed folder, the first of them tagged."""
    folder = tmp_path / "album"
    draw(folder / "a.png", 1)
    draw(folder / "b.png", 2)
    bring_in(store, encoder, folder)
    tag(store, folder / "a.png", "mine")
    return folder


def test_an_edit_in_place_keeps_the_tags_and_so_does_its_undoing(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    before = (album / "a.png").read_bytes()
    edit(album / "a.png")
    assert bring_in(store, encoder, album).replaced == 0
    assert shown(store) == {"a.png: mine"}
    tag(store, album / "a.png", "edited")
    (album / "a.png").write_bytes(before)
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine", "a.png: edited"}


def test_another_picture_under_an_old_name_has_no_tags(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    before = (album / "a.png").read_bytes()
    draw(album / "a.png", 3)
    assert bring_in(store, encoder, album).replaced == 1
    assert shown(store) == {"a.png: mine, missing"}
    (album / "c.png").write_bytes(before)
    assert bring_in(store, encoder, album).replaced == 0
    assert shown(store) == {"c.png: mine"}


def test_a_removed_label_follows_edits_and_no_other_picture(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    refuse(store, album / "a.png", "dog")
    refuse(store, album / "b.png", "cat")
    original = (album / "b.png").read_bytes()
    edit(album / "a.png")
    draw(album / "b.png", 3)
    bring_in(store, encoder, album)
    assert refused(store) == {"a.png: dog"}
    (album / "c.png").write_bytes(original)
    bring_in(store, encoder, album)
    assert refused(store) == {"a.png: dog", "c.png: cat"}


def test_a_judgement_follows_edits_and_no_other_picture(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    for name in ("a.png", "b.png"):
        photo = store.catalog.photo_at(album / name)
        assert photo is not None
        store.catalog.add_judgements("dog", {photo.id: False}, person="ann", model="1")
    edit(album / "a.png")
    draw(album / "b.png", 3)
    bring_in(store, encoder, album)
    assert [one.path.name for one in store.catalog.judgements("dog")] == ["a.png"]


def test_of_two_words_about_a_label_an_edit_keeps_the_later(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    original = (album / "a.png").read_bytes()
    edit(album / "a.png")
    bring_in(store, encoder, album)
    refuse(store, album / "a.png", "mine")
    (album / "a.png").write_bytes(original)
    bring_in(store, encoder, album)
    assert (shown(store), refused(store)) == (set(), {"a.png: mine"})


def test_pruning_keeps_the_tags_of_a_photo_that_is_left_out(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    refuse(store, album / "b.png", "cat")
    draw(album / "c.png", 3)
    (album / ".mktignore").write_text("a.png\nb.png\n")
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine, missing"}
    with store.writing("test"):
        report = prune(store)
    assert (report.photos, report.kept) == (1, 1)
    assert shown(store) == {"a.png: mine, missing"}
    (album / ".mktignore").unlink()
    bring_in(store, encoder, album)
    assert (shown(store), refused(store)) == ({"a.png: mine"}, {"b.png: cat"})


def test_photos_that_exchange_names_keep_their_tags(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    exchange(album / "a.png", album / "b.png")
    assert bring_in(store, encoder, album).replaced == 0
    assert shown(store) == {"b.png: mine"}
    assert len(photos(store, None)) == 2


@pytest.mark.parametrize("first", ["one", "two"])
def test_photos_of_two_folders_exchange_names_whichever_is_indexed_first(
    store: Store, encoder: PhotoEncoder, tmp_path: Path, first: str
) -> None:
    one, two = draw(tmp_path / "one" / "a.png", 1), draw(tmp_path / "two" / "b.png", 2)
    bring_in(store, encoder, one.parent, two.parent)
    tag(store, one, "first")
    tag(store, two, "second")
    exchange(one, two)
    bring_in(store, encoder, tmp_path / first)
    bring_in(store, encoder, one.parent, two.parent)
    assert shown(store) == {"a.png: second", "b.png: first"}


def test_a_series_of_photos_that_look_alike_can_be_renumbered(
    store: Store, encoder: PhotoEncoder, tmp_path: Path
) -> None:
    folder = tmp_path / "series"
    for number in range(1, 4):
        draw(folder / f"{number}.png", 1)
        edit(folder / f"{number}.png", 1 - number / 10)
    bring_in(store, encoder, folder)
    for number in range(1, 4):
        tag(store, folder / f"{number}.png", f"was {number}")
    for number in (3, 2, 1):
        (folder / f"{number}.png").rename(folder / f"{number + 1}.png")
    bring_in(store, encoder, folder)
    assert shown(store) == {"2.png: was 1", "3.png: was 2", "4.png: was 3"}


def test_a_path_that_was_missing_has_another_photo_when_it_returns(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    before = (album / "a.png").read_bytes()
    (album / "a.png").unlink()
    bring_in(store, encoder, album)
    (album / "a.png").write_bytes(before)
    edit(album / "a.png")
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine, missing"}
    (album / "a.png").write_bytes(before)
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine"}


def test_a_photo_that_cannot_be_read_for_a_while_keeps_its_tags(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    before = (album / "a.png").read_bytes()
    (album / "a.png").write_bytes(before[:100])
    assert bring_in(store, encoder, album).failed == 1
    assert shown(store) == {"a.png: mine"}
    (album / "a.png").write_bytes(before)
    edit(album / "a.png")
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine"}


def test_a_tagged_photo_of_an_older_library_is_read_once_more_for_its_miniature(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    with transaction(store.catalog.engine) as session:
        session.execute(delete(MiniatureRow))
    summary = bring_in(store, encoder, album)
    assert (summary.indexed, summary.unchanged) == (0, 2)
    edit(album / "a.png")
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine"}


def test_without_a_miniature_the_tags_stay_with_the_old_picture(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    with transaction(store.catalog.engine) as session:
        session.execute(delete(MiniatureRow))
    edit(album / "a.png")
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine, missing"}


def test_a_renamed_copy_and_its_edited_original_both_have_the_tags(
    store: Store, encoder: PhotoEncoder, album: Path
) -> None:
    (album / "a_original.png").write_bytes((album / "a.png").read_bytes())
    edit(album / "a.png")
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine", "a_original.png: mine"}


def test_a_copy_that_was_indexed_before_its_edit_does_not_hide_the_edit(
    store: Store, encoder: PhotoEncoder, album: Path, tmp_path: Path
) -> None:
    edit(album / "a.png")
    copy = tmp_path / "other" / "copy.png"
    copy.parent.mkdir()
    copy.write_bytes((album / "a.png").read_bytes())
    os.utime(copy, (1, 1))
    bring_in(store, encoder, copy.parent)
    bring_in(store, encoder, album)
    assert shown(store) == {"a.png: mine", "copy.png: mine"}
