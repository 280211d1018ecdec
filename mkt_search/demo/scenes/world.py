"""The words and the scenes of the demo world, drawn by chance: what there is to see, and where.

A scene is a place ("beach") with one to five things, each a shape in a colour ("red star"). Places
and things are the labels. Part of the colour-shape pairs are unseen labels: a student never has one
as a target, though it sees photos of them, as any photo shows more than its labels say.
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

UNSEEN_PER_SHAPE = 3  # of its colours
COUNT_SHARES = (0.2, 0.3, 0.25, 0.15, 0.1)  # how often a scene has 1, 2, ... 5 things
SMALLEST, LARGEST = 0.2, 0.5  # a thing's size as a share of the scene's side
MOST_HIDDEN = 0.35  # share of a thing's square that another one may cover


@dataclass(frozen=True)
class Thing:
    """A shape in a colour: centre (x, y) and size are shares of the scene's side, y grows down."""

    colour: str
    shape: str
    x: float
    y: float
    size: float
    angle: float

    @property
    def label(self) -> str:
        """Such as "red star"."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A place and the things in it, from back to front; `seed` decides all that has no name."""

    place: str
    things: tuple[Thing, ...]
    seed: int

    @property
    def labels(self) -> tuple[str, ...]:
        """What the scene shows, each label once: the place, then the things from back to front."""
        return tuple(dict.fromkeys((self.place, *(thing.label for thing in self.things))))


def unseen_things() -> tuple[str, ...]:
    """Return the unseen labels: three colours of every shape, each colour about as often."""
    shift = len(COLOURS) // UNSEEN_PER_SHAPE
    return tuple(
        f"{COLOURS[(row * UNSEEN_PER_SHAPE + part * shift) % len(COLOURS)]} {shape}"
        for row, shape in enumerate(SHAPES)
        for part in range(UNSEEN_PER_SHAPE)
    )


def unseen_shown(scenes: Iterable[Iterable[str]]) -> list[str]:
    """Return the unseen labels that scenes show, given the labels of each scene."""
    shown = {label for labels in scenes for label in labels}
    return [label for label in unseen_things() if label in shown]


def draw_scene(seed: int, *, close_up: bool = False) -> Scene:
    """Return the scene of a seed; a close-up shows one large thing."""
    rng = np.random.default_rng([seed, int(close_up)])
    place = str(rng.choice(PLACES))
    if close_up:
        thing = _thing(rng, size=float(rng.uniform(0.5, 0.9)))
        return Scene(place, (thing,), seed)
    count = 1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
    things: list[Thing] = []
    while len(things) < count:
        size = SMALLEST * (LARGEST / SMALLEST) ** float(rng.random())
        thing = _thing(rng, size=size)
        if all(_covered(old, thing) <= MOST_HIDDEN for old in things):
            things.append(thing)
    return Scene(place, tuple(things), seed)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Return a sentence about the scene, in words and an order drawn from `rng`."""
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


def _covered(old: Thing, new: Thing) -> float:
    """Return the share of the smaller thing's square that the other thing's square covers."""
    reach = (old.size + new.size) / 2
    smaller = min(old.size, new.size)
    width = min(reach - abs(old.x - new.x), smaller)
    height = min(reach - abs(old.y - new.y), smaller)
    return max(width, 0.0) * max(height, 0.0) / smaller**2
