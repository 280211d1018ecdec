"""Draw random scenes of the demo world.

A scene is a place ("beach") with one to five things, each a shape in a colour ("red star"). Places
and things are the labels. Some pairs of colour and shape are unseen labels: they are never a target
of the student, although its training photos show them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

PLACES = ("day", "night", "beach", "forest", "snow", "city", "desert", "sea")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SHAPES = (
    *("ball", "square", "triangle", "star", "heart", "cross", "ring", "moon"),
    *("arrow", "fish", "tree", "house", "flower", "boat"),
)
THINGS = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)
LABELS = (*PLACES, *THINGS)

UNSEEN_PER_SHAPE = 3  # colours of each shape that are unseen labels
COUNT_PROBABILITIES = (0.2, 0.3, 0.25, 0.15, 0.1)  # of 1, 2, ... 5 things in a scene
MIN_SIZE, MAX_SIZE = 0.2, 0.5  # of a thing, as a fraction of the scene's side
MAX_COVERED_FRACTION = 0.35  # of a thing's square, by another one


@dataclass(frozen=True)
class Thing:
    """A shape in a colour.

    Center (x, y) and size are fractions of the scene's side, y down; `angle` is in radians.
    """

    colour: str
    shape: str
    x: float
    y: float
    size: float
    angle: float

    @property
    def label(self) -> str:
        """Colour and shape, such as "red star"."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A place and its things, from back to front; `seed` determines all that has no label."""

    place: str
    things: tuple[Thing, ...]
    seed: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The distinct labels of the scene: the place, then the things from back to front."""
        return tuple(dict.fromkeys((self.place, *(thing.label for thing in self.things))))


def unseen_things() -> tuple[str, ...]:
    """Return the unseen labels: three colours of every shape, evenly spread over the colours."""
    shift = len(COLOURS) // UNSEEN_PER_SHAPE
    return tuple(
        f"{COLOURS[(row * UNSEEN_PER_SHAPE + part * shift) % len(COLOURS)]} {shape}"
        for row, shape in enumerate(SHAPES)
        for part in range(UNSEEN_PER_SHAPE)
    )


def unseen_shown(scenes: Iterable[Iterable[str]]) -> list[str]:
    """Return the unseen labels among the labels of some scenes."""
    shown = {label for labels in scenes for label in labels}
    return [label for label in unseen_things() if label in shown]


def draw_scene(seed: int, *, close_up: bool = False) -> Scene:
    """Draw the scene of a seed; a close-up has one large thing."""
    rng = np.random.default_rng([seed, int(close_up)])
    place = str(rng.choice(PLACES))
    if close_up:
        thing = _thing(rng, size=float(rng.uniform(0.5, 0.9)))
        return Scene(place, (thing,), seed)
    count = 1 + int(rng.choice(len(COUNT_PROBABILITIES), p=COUNT_PROBABILITIES))
    things: list[Thing] = []
    while len(things) < count:
        size = MIN_SIZE * (MAX_SIZE / MIN_SIZE) ** float(rng.random())
        thing = _thing(rng, size=size)
        if all(covered_fraction(old, thing) <= MAX_COVERED_FRACTION for old in things):
            things.append(thing)
    return Scene(place, tuple(things), seed)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a caption of the scene; `rng` decides the order and the wording."""
    names = [thing.label for thing in scene.things]
    listed = [f"a {names[i]}" for i in rng.permutation(len(names))]
    things = " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed)
    return str(rng.choice([f"{things}, {scene.place}", f"{scene.place}: {things}", things]))


def _thing(rng: np.random.Generator, *, size: float) -> Thing:
    low, high = size / 2, 1 - size / 2
    return Thing(
        colour=str(rng.choice(COLOURS)),
        shape=str(rng.choice(SHAPES)),
        x=float(rng.uniform(low, high)),
        y=float(rng.uniform(low, high)),
        size=size,
        angle=float(rng.normal(0, math.radians(12))),
    )


def covered_fraction(one: Thing, other: Thing) -> float:
    """Return the fraction of the smaller thing's square that the other thing's square covers."""
    reach = (one.size + other.size) / 2
    smaller = min(one.size, other.size)
    width = min(reach - abs(one.x - other.x), smaller)
    height = min(reach - abs(one.y - other.y), smaller)
    return max(width, 0.0) * max(height, 0.0) / smaller**2
