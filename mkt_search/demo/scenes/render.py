"""Paint a scene of the demo world as an image."""

import colorsys
import math

import numpy as np
from PIL import Image

from mkt_search.demo.scenes.places import PAINTERS, Canvas, Colour
from mkt_search.demo.scenes.shapes import PARTS
from mkt_search.demo.scenes.world import Scene, Thing

SUPERSAMPLING = 3  # painted pixels per pixel in each direction; averaging them smooths edges

# mean hue, saturation and value on [0, 1], and by how much each varies
HSV = {
    "red": ((0.99, 0.85, 0.82), (0.012, 0.08, 0.08)),
    "orange": ((0.075, 0.92, 0.96), (0.012, 0.06, 0.04)),
    "yellow": ((0.15, 0.85, 0.97), (0.012, 0.08, 0.03)),
    "green": ((0.37, 0.75, 0.62), (0.025, 0.1, 0.1)),
    "blue": ((0.615, 0.82, 0.80), (0.02, 0.08, 0.1)),
    "purple": ((0.77, 0.68, 0.62), (0.02, 0.1, 0.09)),
    "pink": ((0.92, 0.42, 0.98), (0.02, 0.07, 0.02)),
    "white": ((0.1, 0.02, 0.97), (0.3, 0.015, 0.02)),
}


def render(scene: Scene, side: int) -> Image.Image:
    """Render the scene as an RGB image of `side` x `side` pixels; deterministic."""
    canvas = Canvas(side * SUPERSAMPLING, np.random.default_rng([scene.seed, 7]))
    PAINTERS[scene.place](canvas)
    for thing in scene.things:
        paint(canvas, thing)
    return canvas.image.reduce(SUPERSAMPLING)


def paint(canvas: Canvas, thing: Thing) -> None:
    """Paint a thing, with a shadow and a darker rim so that it is visible on any background."""
    colour = shade(thing.colour, canvas.rng)
    rotation = _rotation(thing.angle)  # (2, 2)
    center = np.array([thing.x, thing.y])
    mirror = np.array([-1 if canvas.rng.random() < 0.5 else 1, 1])
    placed = [
        (part, center + thing.size / 2 * (part.points * mirror) @ rotation.T)  # (n, 2)
        for part in PARTS[thing.shape]
    ]
    rim = thing.size * 0.03
    for dx, dy in ((rim, rim), (-rim / 2, 0), (0, -rim / 2), (rim / 2, 0), (0, rim / 2)):
        for _, points in placed:
            canvas.polygon(points + np.array([dx, dy]), _toned(colour, 0.45))
    for part, points in placed:
        canvas.polygon(points, part.own or _toned(colour, part.tone))


def shade(name: str, rng: np.random.Generator) -> Colour:
    """Return a random RGB colour, 0 to 255, that the name describes."""
    mean, spread = HSV[name]
    h, s, v = np.array(mean) + rng.uniform(-1, 1, 3) * spread
    r, g, b = colorsys.hsv_to_rgb(h % 1, min(max(s, 0), 1), min(max(v, 0), 1))
    return round(r * 255), round(g * 255), round(b * 255)


def _rotation(angle: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s], [s, c]])


def _toned(colour: Colour, tone: float) -> Colour:
    r, g, b = (min(round(channel * tone), 255) for channel in colour)
    return r, g, b
