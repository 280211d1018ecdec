"""Scenes are written completely, rendered once, with their labels."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mkt_search.datasets.folder import read_dataset
from mkt_search.demo.scenes.photos import (
    MAX_SCENES_IN_ONE_PROCESS,
    TEST_SEED,
    photo_name,
    pixels,
    seeds_in,
    targets_of,
    write_dataset,
    write_photos,
)
from mkt_search.demo.scenes.render import render
from mkt_search.demo.scenes.world import COLOURS, LABELS, SHAPES, Scene, Thing, draw_scene
from mkt_search.progress import Progress


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_photos_are_the_rendered_scenes_with_their_labels(tmp_path: Path) -> None:
    labels = write_photos(tmp_path / "new" / "photos", [5, 2], side=48)
    assert labels == {photo_name(s): list(draw_scene(s).labels) for s in (5, 2)}
    for seed in (5, 2):
        with Image.open(tmp_path / "new" / "photos" / photo_name(seed)) as photo:
            assert (photo.format, photo.size) == ("JPEG", (48, 48))
            found = np.asarray(photo).astype(int)
        painted = np.asarray(render(draw_scene(seed), 48)).astype(int)
        assert np.abs(found - painted).mean() < 6  # JPEG


def test_an_existing_photo_is_kept(tmp_path: Path) -> None:
    (tmp_path / photo_name(1)).write_bytes(b"mine")
    events: list[Progress] = []
    labels = write_photos(tmp_path, range(3), side=32, progress=events.append)
    assert (tmp_path / photo_name(1)).read_bytes() == b"mine"
    assert list(labels) == [photo_name(seed) for seed in range(3)]
    assert [(event.done, event.total) for event in events] == [(2, 3), (3, 3)]


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(self: Image.Image, path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half a JP")
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(Image.Image, "save", save)
        with pytest.raises(OSError, match="No space left"):
            write_photos(tmp_path, range(3), side=32)
    assert list(tmp_path.iterdir()) == []
    write_photos(tmp_path, range(3), side=32)
    assert seeds_in(tmp_path) == [0, 1, 2]


def test_seeds_are_read_from_names_and_other_files_are_ignored(tmp_path: Path) -> None:
    write_photos(tmp_path, [7, 20_000_003], side=16)
    for name in ("holiday.jpg", ".scene-00000001.jpg.77", "scene-1.jpg", "scene-00000009.png"):
        (tmp_path / name).touch()
    assert seeds_in(tmp_path) == [7, 20_000_003]
    assert seeds_in(tmp_path / "absent") == []


def test_a_dataset_splits_by_seed_and_is_read_as_a_folder_of_labels(tmp_path: Path) -> None:
    write_dataset(tmp_path, train=3, test=2, side=32)
    labels = json.loads((tmp_path / "labels.json").read_text())
    splits = json.loads((tmp_path / "splits.json").read_text())
    learned, tested = range(3), range(TEST_SEED, TEST_SEED + 2)
    assert splits == {
        **{photo_name(seed): "train" for seed in learned},
        **{photo_name(seed): "test" for seed in tested},
    }
    dataset = read_dataset(tmp_path / "photos", tmp_path / "labels.json")
    assert len(dataset.files) == 5
    assert set(dataset.labels) == {label for shown in labels.values() for label in shown}


def test_targets_tell_which_words_describe_a_scene() -> None:
    scenes = [draw_scene(seed) for seed in range(12)]
    words = (*LABELS, *COLOURS, *SHAPES)
    found = targets_of(scenes, words)
    assert (found.shape, found.dtype) == ((12, len(words)), np.bool_)
    for row, scene in enumerate(scenes):
        for column, word in enumerate(words):
            shown = word == scene.place
            for thing in scene.things:
                shown = shown or word in (thing.label, thing.colour, thing.shape)
            assert found[row, column] == shown, (scene, word)


def test_targets_cover_only_the_given_words() -> None:
    scene = Scene("sea", (Thing("red", "boat", 0.5, 0.5, 0.3, 0.0),), 0)
    words = ("boat", "red", "sea", "blue", "red boat")
    assert targets_of([scene], words).tolist() == [[True, True, True, False, True]]
    assert targets_of([scene], ("moon",)).tolist() == [[False]]


@pytest.mark.parametrize("close_up", [False, True])
def test_pixels_are_the_rendered_scenes_in_order(tmp_path: Path, close_up: bool) -> None:
    found = pixels(tmp_path / "new" / "p.npy", range(4), side=32, close_up=close_up)
    expected = [np.asarray(render(draw_scene(s, close_up=close_up), 32)) for s in range(4)]
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_pixels_are_rendered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pixels(tmp_path / "p.npy", range(3), side=16, close_up=False)
    monkeypatch.setattr("mkt_search.demo.scenes.render.render", None)
    again = pixels(tmp_path / "p.npy", range(3), side=16, close_up=False)
    np.testing.assert_array_equal(first, again)


def test_interrupted_pixels_are_rendered_again(tmp_path: Path) -> None:
    def stop(event: Progress) -> None:
        if event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pixels(tmp_path / "p.npy", range(4), side=16, close_up=False, progress=stop)
    assert list(tmp_path.iterdir()) == []
    assert pixels(tmp_path / "p.npy", range(4), side=16, close_up=False).shape == (4, 16, 16, 3)
    assert hidden(tmp_path) == []


@pytest.mark.slow
def test_several_processes_render_the_same_photos(tmp_path: Path) -> None:
    count = MAX_SCENES_IN_ONE_PROCESS + 1
    several = pixels(tmp_path / "several.npy", range(count), side=16, close_up=True)
    alone = pixels(tmp_path / "alone.npy", range(count - 9, count), side=16, close_up=True)
    np.testing.assert_array_equal(several[-9:], alone)
