"""The words and scenes of the demo world: seen and unseen labels, and the rules of a scene."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkt_search.demo.scenes import world
from mkt_search.demo.scenes.world import (
    COLOURS,
    LABELS,
    PLACES,
    SHAPES,
    THINGS,
    Scene,
    Thing,
    caption,
    covered_fraction,
    draw_scene,
    unseen_shown,
    unseen_things,
)

seeds = st.integers(0, 2**31)


@cache
def many() -> list[Scene]:
    return [draw_scene(seed) for seed in range(2_500)]


def test_every_label_occurs_once() -> None:
    assert len(set(LABELS)) == len(LABELS) == 8 + 14 * 8
    assert set(THINGS) == {f"{colour} {shape}" for colour in COLOURS for shape in SHAPES}


def test_no_word_means_two_things() -> None:
    assert len({*PLACES, *COLOURS, *SHAPES}) == len(PLACES) + len(COLOURS) + len(SHAPES)


def test_three_colours_of_every_shape_are_unseen() -> None:
    unseen = unseen_things()
    assert len(set(unseen)) == len(unseen) == 42
    assert set(unseen) < set(THINGS)
    assert set(Counter(label.split()[1] for label in unseen).values()) == {3}


def test_colour_and_shape_of_an_unseen_label_both_occur_in_seen_ones() -> None:
    seen = [label.split() for label in set(THINGS).difference(unseen_things())]
    for colour, shape in (label.split() for label in unseen_things()):
        assert sum(other == colour for other, _ in seen) >= 5
        assert sum(other == shape for _, other in seen) == 5


def test_colours_are_unseen_about_equally_often() -> None:
    counts = Counter(label.split()[0] for label in unseen_things())
    assert set(counts) == set(COLOURS)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_only_the_unseen_labels_that_scenes_show_are_returned() -> None:
    hidden, also = unseen_things()[5], unseen_things()[2]
    seen = next(label for label in THINGS if label not in unseen_things())
    assert unseen_shown([("sea", hidden), (seen, also, hidden)]) == [also, hidden]
    assert tuple(unseen_shown(scene.labels for scene in many())) == unseen_things()


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans())
def test_the_same_seed_draws_the_same_scene(seed: int, close_up: bool) -> None:
    assert draw_scene(seed, close_up=close_up) == draw_scene(seed, close_up=close_up)


def test_seeds_and_close_ups_draw_different_scenes() -> None:
    drawn = [draw_scene(seed, close_up=close) for seed in range(50) for close in (False, True)]
    assert len({(scene.place, scene.things) for scene in drawn}) == len(drawn)


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans())
def test_things_have_known_labels_and_are_inside_the_frame(seed: int, close_up: bool) -> None:
    scene = draw_scene(seed, close_up=close_up)
    assert scene.place in PLACES
    for thing in scene.things:
        assert thing.label in THINGS
        for centre in (thing.x, thing.y):
            assert thing.size / 2 <= centre <= 1 - thing.size / 2


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_scene_has_one_to_five_things_within_the_size_limits(seed: int) -> None:
    things = draw_scene(seed).things
    assert 1 <= len(things) <= 5
    assert all(world.MIN_SIZE <= thing.size <= world.MAX_SIZE for thing in things)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_close_up_has_one_large_thing(seed: int) -> None:
    (thing,) = draw_scene(seed, close_up=True).things
    assert 0.5 <= thing.size <= 0.9


def covered_by_counting(one: Thing, other: Thing, *, steps: int = 200) -> float:
    """Return the covered fraction of the smaller square, by counting a grid of points."""
    small, large = sorted((one, other), key=lambda thing: thing.size)
    offsets = ((np.arange(steps) + 0.5) / steps - 0.5) * small.size
    in_x = np.abs(small.x + offsets - large.x) <= large.size / 2
    in_y = np.abs(small.y + offsets - large.y) <= large.size / 2
    return float(in_x.mean() * in_y.mean())


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_no_thing_covers_too_much_of_another(seed: int) -> None:
    things = draw_scene(seed).things
    for i, one in enumerate(things):
        for other in things[:i]:
            assert covered_by_counting(one, other) <= world.MAX_COVERED_FRACTION + 0.02


@pytest.mark.parametrize(
    ("x", "size", "covered"), [(0.3, 0.2, 1.0), (0.4, 0.2, 0.5), (0.5, 0.2, 0.0), (0.3, 0.4, 0.5)]
)
def test_overlap_is_relative_to_the_smaller_square(x: float, size: float, covered: float) -> None:
    old = Thing("red", "ball", 0.3, 0.5, 0.2, 0.0)
    new = Thing("red", "ball", x if size == 0.2 else 0.5, 0.5, size, 0.0)
    assert covered_fraction(old, new) == pytest.approx(covered)
    assert covered_by_counting(old, new) == pytest.approx(covered, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_labels_are_the_place_and_each_thing_once(seed: int) -> None:
    scene = draw_scene(seed)
    assert scene.labels[0] == scene.place
    assert set(scene.labels[1:]) == {thing.label for thing in scene.things}
    assert len(set(scene.labels)) == len(scene.labels)


@settings(max_examples=60, deadline=None)
@given(seeds, seeds)
def test_a_caption_names_exactly_the_things_of_the_scene(seed: int, words: int) -> None:
    scene = draw_scene(seed)
    text = caption(scene, np.random.default_rng(words))
    named = Counter(label for label in THINGS for _ in range(text.count(label)))
    assert named == Counter(thing.label for thing in scene.things)
    assert not any(place in text for place in PLACES if place != scene.place)


def test_captions_vary_in_order_and_in_naming_the_place() -> None:
    scene = next(scene for seed in range(99) if len((scene := draw_scene(seed)).things) == 3)
    text = {caption(scene, np.random.default_rng(words)) for words in range(60)}
    assert len(text) > 10
    assert 0 < sum(scene.place in one for one in text) < len(text)


def test_every_label_is_drawn() -> None:
    assert {label for scene in many() for label in scene.labels} == set(LABELS)


def test_numbers_of_things_follow_their_probabilities() -> None:
    counts = Counter(len(scene.things) for scene in many())
    for count, share in enumerate(world.COUNT_PROBABILITIES, start=1):
        assert counts[count] / len(many()) == pytest.approx(share, abs=0.03)
