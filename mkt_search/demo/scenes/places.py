"""The places of the demo world: functions that paint the background of a scene."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Rng = np.random.Generator

SKY_BEHIND_HILLS = 0.15  # fraction of the side by which a sky extends below the horizon


class Canvas:
    """An RGB image of `side` x `side` pixels, painted in coordinates on [0, 1], y down."""

    def __init__(self, side: int, rng: Rng) -> None:
        self.side = side
        self.rng = rng
        self.image = Image.new("RGB", (side, side))
        self._draw = ImageDraw.Draw(self.image)

    def fade(self, top: float, bottom: float, first: Colour, last: Colour) -> None:
        """Fill the rows from `top` to `bottom` with a gradient; vary both colours at random."""
        a, b = self.vary(first), self.vary(last)
        rows = max(round((bottom - top) * self.side), 1)
        weight = np.linspace(0, 1, rows)[:, None]  # (rows, 1)
        column = (np.array(a) * (1 - weight) + np.array(b) * weight).astype(np.uint8)  # (rows, 3)
        band = np.ascontiguousarray(np.repeat(column[:, None], self.side, axis=1))
        self.image.paste(Image.fromarray(band), (0, round(top * self.side)))

    def vary(self, colour: Colour, by: float = 12) -> Colour:
        """Return the colour with random noise of standard deviation `by`, mostly in brightness."""
        change = self.rng.normal(0, by) + self.rng.normal(0, by / 3, 3)
        red, green, blue = np.clip(np.array(colour) + change, 0, 255).astype(int)
        return int(red), int(green), int(blue)

    def polygon(self, points: NDArray[np.float64], colour: Colour) -> None:
        """Fill a polygon (n, 2)."""
        self._draw.polygon([tuple(p) for p in points * self.side], fill=colour)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse around (x, y) with the radii rx and ry."""
        s = self.side
        self._draw.ellipse([(x - rx) * s, (y - ry) * s, (x + rx) * s, (y + ry) * s], fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        s = self.side
        self._draw.rectangle([left * s, top * s, right * s, bottom * s], fill=colour)

    def hills(self, height: float, swing: float, colour: Colour) -> None:
        """Fill everything below a random wavy line around `height`."""
        x = np.linspace(0, 1, 40)
        waves = self.rng.uniform(0, 2 * math.pi, 3)
        y = height + sum(
            swing / (i + 1) * np.sin((i + 1.3) * 2 * x + w) for i, w in enumerate(waves)
        )
        line = np.stack([x, y], axis=1)
        self.polygon(np.concatenate([line, [[1, 1.01], [0, 1.01]]]), self.vary(colour))

    def scatter(self, count: int, top: float, bottom: float, paint: Callable[..., None]) -> None:
        """Call paint(x, y) for `count` random points between two heights."""
        for x, y in zip(self.rng.random(count), self.rng.uniform(top, bottom, count), strict=True):
            paint(float(x), float(y))


def day(c: Canvas) -> None:
    """Blue sky with clouds over a meadow."""
    horizon = c.rng.uniform(0.45, 0.75)
    c.fade(0, horizon + SKY_BEHIND_HILLS, (96, 164, 232), (186, 218, 246))
    c.scatter(int(c.rng.integers(1, 4)), 0.05, 0.3, lambda x, y: _cloud(c, x, y))
    c.hills(horizon, 0.04, (118, 172, 84))
    c.hills(horizon + 0.14, 0.03, (98, 152, 70))


def night(c: Canvas) -> None:
    """Dark sky with stars over dark hills."""
    horizon = c.rng.uniform(0.55, 0.8)
    c.fade(0, horizon + SKY_BEHIND_HILLS, (10, 12, 40), (40, 40, 88))
    c.scatter(28, 0, horizon, lambda x, y: c.oval(x, y, 0.005, 0.005, (236, 236, 214)))
    c.hills(horizon, 0.05, (24, 30, 40))


def beach(c: Canvas) -> None:
    """Sky, a strip of sea, and sand."""
    sea, sand = c.rng.uniform(0.25, 0.4), c.rng.uniform(0.5, 0.62)
    c.fade(0, sea, (132, 196, 240), (214, 234, 246))
    c.fade(sea, 1, (40, 140, 180), (96, 190, 204))
    c.hills(sand, 0.025, (234, 214, 164))
    c.scatter(20, sand + 0.1, 1, lambda x, y: c.oval(x, y, 0.008, 0.005, (204, 180, 130)))


def forest(c: Canvas) -> None:
    """Trunks in front of dark green."""
    c.fade(0, 1, (44, 84, 52), (24, 50, 30))
    for x in np.sort(c.rng.random(int(c.rng.integers(6, 11)))):
        w = c.rng.uniform(0.012, 0.04)
        c.box(float(x - w), 0, float(x + w), 1, c.vary((66, 50, 38)))
    c.scatter(26, 0, 0.35, lambda x, y: c.oval(x, y, 0.09, 0.06, c.vary((38, 88, 46), 14)))
    c.hills(0.85, 0.02, (58, 72, 36))


def snow(c: Canvas) -> None:
    """Pale sky over snow, with falling flakes."""
    horizon = c.rng.uniform(0.4, 0.65)
    c.fade(0, horizon + SKY_BEHIND_HILLS, (164, 184, 206), (206, 216, 228))
    c.hills(horizon, 0.06, (226, 234, 242))
    c.hills(horizon + 0.18, 0.04, (212, 224, 238))
    c.scatter(36, 0, 1, lambda x, y: c.oval(x, y, 0.008, 0.008, (248, 250, 252)))


def city(c: Canvas) -> None:
    """Gray houses with lit windows, and a street."""
    c.fade(0, 1, (150, 160, 178), (196, 196, 200))
    x = -0.03
    while x < 1:
        width, top = float(c.rng.uniform(0.12, 0.24)), float(c.rng.uniform(0.15, 0.5))
        c.box(x, top, x + width - 0.008, 1, c.vary((104, 106, 116), 16))
        _windows(c, x, top, width)
        x += width
    c.box(0, 0.86, 1, 1, c.vary((64, 64, 70)))


def desert(c: Canvas) -> None:
    """Dunes under a yellow sky."""
    horizon = c.rng.uniform(0.4, 0.6)
    c.fade(0, horizon + SKY_BEHIND_HILLS, (240, 206, 140), (250, 226, 178))
    c.hills(horizon, 0.07, (214, 152, 88))
    c.hills(horizon + 0.16, 0.06, (196, 132, 72))
    c.hills(horizon + 0.32, 0.05, (180, 116, 62))


def sea(c: Canvas) -> None:
    """Deep water with crests."""
    horizon = c.rng.uniform(0.12, 0.3)
    c.fade(0, horizon, (150, 190, 216), (204, 220, 228))
    c.fade(horizon, 1, (34, 104, 146), (12, 48, 94))
    c.scatter(34, horizon + 0.03, 1, lambda x, y: c.box(x, y, x + 0.07, y + 0.006, (112, 168, 194)))


PAINTERS: dict[str, Callable[[Canvas], None]] = {
    painter.__name__: painter for painter in (day, night, beach, forest, snow, city, desert, sea)
}


def _cloud(c: Canvas, x: float, y: float) -> None:
    for _ in range(5):
        dx, dy = c.rng.normal(0, 0.06), c.rng.normal(0, 0.012)
        c.oval(x + dx, y + dy, 0.07, 0.035, (244, 247, 250))


def _windows(c: Canvas, left: float, top: float, width: float) -> None:
    for y in np.arange(top + 0.04, 0.82, 0.08):
        for x in np.arange(left + 0.03, left + width - 0.04, 0.055):
            lit = c.rng.random() < 0.4
            c.box(x, y, x + 0.025, y + 0.04, (238, 216, 140) if lit else (74, 80, 94))
