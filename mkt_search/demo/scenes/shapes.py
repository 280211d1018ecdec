"""The shapes of the demo world as polygons in the square [-1, 1] x [-1, 1], y down.

A shape is a list of parts, painted in order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

TRUNK, DARK, GLOW = (110, 76, 48), (38, 36, 44), (250, 214, 80)


@dataclass(frozen=True)
class Part:
    """A polygon: `points` (n, 2).

    Its colour is `own` (RGB, 0 to 255), or the thing's colour times `tone`.
    """

    points: Points
    tone: float = 1.0
    own: tuple[int, int, int] | None = None


def polygon(*points: tuple[float, float]) -> Points:
    """Return points as a float64 array (n, 2)."""
    return np.array(points, np.float64)


def oval(x: float, y: float, rx: float, ry: float, *, start: float = 0, turn: float = 1) -> Points:
    """Return 40 points of an ellipse, or of an arc of it, as (40, 2) float64.

    Args:
        x: the center.
        y: the center.
        rx: the horizontal radius.
        ry: the vertical radius.
        start: where the arc begins, as a fraction of a full turn; 0 is to the right, 0.25 below.
        turn: the length of the arc, as a fraction of a full turn; 1 is the whole ellipse.
    """
    angles = 2 * math.pi * (start + np.linspace(0, turn, 40, endpoint=turn < 1))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the corners of an upright rectangle as (4, 2) float64."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def _star() -> Points:
    angles = -math.pi / 2 + np.arange(10) * math.pi / 5
    reach = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.stack([reach * np.cos(angles), reach * np.sin(angles) + 0.05], axis=1)


def _heart() -> Points:
    t = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([np.sin(t) ** 3, -(y + 2.5) / 15], axis=1)


def _cross() -> Points:
    a = 0.34
    corners = [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)]
    turned = [(-x, -y) for x, y in corners]
    return polygon(*corners, *turned)


def _ring() -> Points:
    """Return one outline around the rim and back around the hole, so the hole stays unpainted."""
    outer = oval(0, 0, 0.98, 0.98)
    inner = oval(0, 0, 0.54, 0.54)[::-1]
    return np.concatenate([outer, outer[:1], inner[-1:], inner])


def _moon() -> Points:
    outer = oval(0, 0, 0.98, 0.98, start=0.12, turn=0.76)
    inner = oval(0.42, 0, 0.78, 0.72, start=0.18, turn=0.64)[::-1]
    return np.concatenate([outer, inner])


def _flower() -> Sequence[Part]:
    angles = 2 * math.pi * np.arange(6) / 6
    petals = [Part(oval(0.58 * math.cos(a), 0.58 * math.sin(a), 0.4, 0.4)) for a in angles]
    return [*petals, Part(oval(0, 0, 0.34, 0.34), own=GLOW), Part(oval(0, 0, 0.15, 0.15), own=DARK)]


PARTS: dict[str, Sequence[Part]] = {
    "ball": [Part(oval(0, 0, 0.95, 0.95)), Part(oval(-0.3, -0.34, 0.3, 0.24), 1.35)],
    "square": [Part(box(-0.82, -0.82, 0.82, 0.82))],
    "triangle": [Part(polygon((0, -0.95), (0.98, 0.8), (-0.98, 0.8)))],
    "star": [Part(_star())],
    "heart": [Part(_heart())],
    "cross": [Part(_cross())],
    "ring": [Part(_ring())],
    "moon": [Part(_moon())],
    "arrow": [
        Part(
            polygon(
                *((-1, -0.28), (0.1, -0.28), (0.1, -0.78), (1, 0), (0.1, 0.78), (0.1, 0.28)),
                (-1, 0.28),
            )
        )
    ],
    "fish": [
        Part(polygon((0.35, 0), (1, -0.6), (0.86, 0), (1, 0.6)), 0.8),
        Part(oval(-0.2, 0, 0.8, 0.52)),
        Part(oval(-0.62, -0.12, 0.12, 0.12), own=(245, 245, 245)),
        Part(oval(-0.65, -0.12, 0.06, 0.06), own=DARK),
    ],
    "tree": [
        Part(box(-0.15, 0.3, 0.15, 1), own=TRUNK),
        Part(polygon((0, -0.3), (0.85, 0.62), (-0.85, 0.62))),
        Part(polygon((0, -1), (0.66, 0.08), (-0.66, 0.08)), 1.12),
    ],
    "house": [
        Part(box(-0.72, -0.1, 0.72, 0.95)),
        Part(polygon((0, -0.98), (0.98, -0.08), (-0.98, -0.08)), 0.68),
        Part(box(-0.16, 0.36, 0.2, 0.95), own=DARK),
        Part(box(-0.55, 0.1, -0.26, 0.4), own=GLOW),
    ],
    "flower": _flower(),
    "boat": [
        Part(polygon((-1, 0.32), (1, 0.32), (0.6, 0.92), (-0.66, 0.92))),
        Part(box(-0.07, -0.98, 0.05, 0.32), own=TRUNK),
        Part(polygon((0.1, -0.92), (0.86, 0.2), (0.1, 0.2)), 1.2),
        Part(polygon((-0.12, -0.7), (-0.12, 0.2), (-0.7, 0.2)), 0.85),
    ],
}
