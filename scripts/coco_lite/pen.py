"""Draws one thing in a box of 100 by 100 and cuts it out, smooth at the edges and shaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from scripts.coco_lite.paints import PAINTS, Colour, darker, lighter

SUPERSAMPLING = 3
COATS = ("plain", "stripes", "dots", "checks")


class Pen:
    """Shapes on a transparent square; x to the right and y down, both from 0 to 100.

    A paint is a name in `PAINTS` or one of the thing's own colours: "main", which wears the
    coat (a texture), "shade" and "shine", darker and lighter than main, and "second".

    Args:
        pixels: side of the square in the finished picture.
        main: the thing's main colour.
        second: its other colour.
        coat: one of `COATS`.
    """

    def __init__(self, pixels: int, main: Colour, second: Colour, coat: str = "plain"):
        side = pixels * SUPERSAMPLING
        self._unit = side / 100
        self._canvas = Image.new("RGBA", (side, side))
        self._own = {
            "main": main,
            "shade": darker(main),
            "shine": lighter(main),
            "second": second,
        }
        self._coat = None if coat == "plain" else _coat(coat, side, main)

    def oval(self, paint: str, x: float, y: float, across: float, down: float = 0) -> None:
        """An ellipse around (x, y) with half axes `across` and `down` (0: a circle)."""
        down = down or across
        corners = self._pixels((x - across, y - down, x + across, y + down))
        self._apply(paint, lambda draw, fill: draw.ellipse(corners, fill=fill))

    def box(self, paint: str, *corners: float, round: float = 0) -> None:
        """A rectangle from (left, top) to (right, bottom), its corners rounded."""
        scaled = self._pixels(corners)
        radius = round * self._unit
        self._apply(paint, lambda draw, fill: draw.rounded_rectangle(scaled, radius, fill=fill))

    def shape(self, paint: str, *points: float) -> None:
        """A polygon: x, y, x, y, …"""
        scaled = self._pixels(points)
        self._apply(paint, lambda draw, fill: draw.polygon(scaled, fill=fill))

    def blob(self, paint: str, *points: float) -> None:
        """A closed smooth curve through the points, filled."""
        self.shape(paint, *_smooth(points, closed=True))

    def line(self, paint: str, width: float, *points: float) -> None:
        """A line through the points with round ends."""
        scaled = self._pixels(points)
        thick = max(1, int(width * self._unit))

        def stroke(draw: ImageDraw.ImageDraw, fill: Colour | int) -> None:
            draw.line(scaled, fill=fill, width=thick, joint="curve")
            for x, y in _pairs(scaled):
                half = thick / 2 - 0.5
                draw.ellipse((x - half, y - half, x + half, y + half), fill=fill)

        self._apply(paint, stroke)

    def bend(self, paint: str, width: float, *points: float) -> None:
        """A smooth line through the points with round ends."""
        self.line(paint, width, *_smooth(points, closed=False))

    def cut_out(self) -> Image.Image:
        """The thing, cropped to what was drawn: RGBA, its light from the upper left."""
        lit = _lit(self._canvas)
        return lit.reduce(SUPERSAMPLING).crop(lit.reduce(SUPERSAMPLING).getbbox())

    def _pixels(self, numbers: tuple[float, ...]) -> list[float]:
        return [number * self._unit for number in numbers]

    def _apply(
        self, paint: str, shape: Callable[[ImageDraw.ImageDraw, Colour | int], None]
    ) -> None:
        if paint == "main" and self._coat:
            mask = Image.new("L", self._canvas.size)
            shape(ImageDraw.Draw(mask), 255)
            self._canvas.paste(self._coat, mask=mask)
        else:
            colour = self._own[paint] if paint in self._own else PAINTS[paint]
            shape(ImageDraw.Draw(self._canvas), colour)


def _pairs(numbers: list[float]) -> Iterator[tuple[float, float]]:
    return zip(numbers[::2], numbers[1::2])


def _smooth(points: tuple[float, ...], closed: bool, steps: int = 12) -> list[float]:
    """Catmull-Rom: a curve through all of the points."""
    knots = np.array(points, dtype=float).reshape(-1, 2)
    ends = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    knots = np.concatenate([ends[0], knots, ends[1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2)
        + 0.5 * (3 * b - a - 3 * c + d) * t**3
        for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:])
    ]
    curve = np.concatenate(parts if closed else [*parts, knots[-1:]])
    return curve.ravel().tolist()


def _coat(kind: str, side: int, main: Colour) -> Image.Image:
    """The main colour with a pattern of a lighter or darker one; 14 repeats a side."""
    y, x = np.mgrid[:side, :side] * (14 / side)
    pattern = {
        "stripes": (x + 0.35 * y) % 1 < 0.45,
        "dots": (x % 1 - 0.5) ** 2 + (y % 1 - 0.5) ** 2 < 0.08,
        "checks": (x % 1 < 0.5) != (y % 1 < 0.5),
    }[kind]
    bright = sum(main) > 380
    other = darker(main, 0.25) if bright else lighter(main, 0.4)
    pixels = np.where(pattern[..., None], np.array(other), np.array(main)).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGBA")


def _lit(canvas: Image.Image) -> Image.Image:
    """Darkens the lower right inside of the outline, as if the thing were round."""
    alpha = canvas.getchannel("A")
    reach = max(2, canvas.width // 28)
    soft = alpha.filter(ImageFilter.GaussianBlur(reach))
    soft = ImageChops.offset(soft, -reach // 2, -reach // 2)
    light = soft.point([round(165 + 90 * level / 255) for level in range(256)])
    shaded = ImageChops.multiply(canvas.convert("RGB"), Image.merge("RGB", [light] * 3))
    shaded.putalpha(alpha)
    return shaded
