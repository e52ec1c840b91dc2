"""One picture: a place, one to four things in it, their light and shadow."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageFilter

from scripts.coco_lite.backgrounds import BACKGROUNDS, Background
from scripts.coco_lite.chance import Chance
from scripts.coco_lite.themes import THEMES
from scripts.coco_lite.things import THINGS
from scripts.coco_lite.things.thing import Thing

SIZES = ((320, 240),) * 4 + ((320, 213),) * 2 + ((240, 320),) * 3 + ((213, 320), (320, 256))
"""COCO's commonest aspect ratios, 4:3 and 3:2, lying and standing."""

SUPERSAMPLING = 2
TRIES = 40


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A finished picture, RGB, and the sorted names of the things in it."""

    picture: Image.Image
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Placed:
    """A thing's cut-out and the position of its upper left corner."""

    thing: Thing
    cut_out: Image.Image
    left: int
    top: int

    @property
    def bottom(self) -> int:
        return self.top + self.cut_out.height

    def overlap(self, other: _Placed) -> float:
        """The share of the smaller one's box that both cover."""
        across = min(self.left + self.cut_out.width, other.left + other.cut_out.width)
        across -= max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        areas = [one.cut_out.width * one.cut_out.height for one in (self, other)]
        return max(0, across) * max(0, down) / min(areas)


def draw_picture(theme: str, chance: Chance) -> Drawn:
    """Draws a picture of a theme.

    Args:
        theme: a key of `THEMES`.
        chance: everything random; the same stream gives the same picture.
    """
    names = _choose(theme, chance)
    size = chance.one_of(SIZES)
    large = (size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING)
    background = BACKGROUNDS[theme](large, chance)
    small = dataclasses.replace(background, image=background.image.reduce(SUPERSAMPLING))
    canvas = small.image.copy()
    for placed in sorted(_place(names, small, chance), key=_depth):
        _ground(canvas, placed, small)
        canvas.paste(placed.cut_out, (placed.left, placed.top), placed.cut_out)
    return Drawn(_photographed(canvas, chance), tuple(sorted(set(names))))


def _choose(theme: str, chance: Chance) -> list[str]:
    """One to four names; now and then there are two of a kind."""
    count = chance.one_of((1, 2, 2, 2, 3, 3, 3, 4, 4))
    names = chance.some_of(THEMES[theme], count)
    if count < 4 and chance.happens(0.3):
        names.append(names[0])
    return names


def _place(names: list[str], background: Background, chance: Chance) -> list[_Placed]:
    """Gives each thing a place of its own: of many tries the one that hides the least."""
    slots = chance.shuffled([(number + 0.5) / len(names) for number in range(len(names))])
    placed: list[_Placed] = []
    for name, slot in zip(names, slots):
        best, least = None, 2.0
        for _ in range(TRIES):
            new = _try_place(THINGS[name], slot, len(names), background, chance)
            hidden = max((new.overlap(other) for other in placed), default=0.0)
            if hidden < least:
                best, least = new, hidden
            if least < 0.1:
                break
        placed.append(best)
    return placed


def _try_place(
    thing: Thing, slot: float, count: int, background: Background, chance: Chance
) -> _Placed:
    width, height = background.image.size
    horizon = background.horizon
    middle = (slot + chance.between(-0.5, 0.5) * (0.3 if count == 1 else 0.8 / count)) * width
    size = thing.size * min(width, height) * chance.between(0.85, 1.2) * (1.18 - 0.08 * count)
    depth = chance.between(0.25, 0.95)
    if thing.place == "ground":
        size *= 0.75 + 0.5 * depth
        foot = height * (horizon + (1 - horizon) * depth)
    elif thing.place == "far":
        foot = height * (horizon + 0.02 + 0.3 * (1 - horizon) * depth)
    cut_out = thing.portrait(max(24, round(size)), chance)
    if thing.place == "free" and chance.happens(0.5):
        cut_out = cut_out.rotate(chance.between(-28, 28), Image.Resampling.BICUBIC, expand=True)
        cut_out = cut_out.crop(cut_out.getbbox())
    if chance.happens(0.5):
        cut_out = cut_out.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if background.water and thing.place == "ground":
        cut_out = cut_out.crop((0, 0, cut_out.width, round(cut_out.height * 0.94)))
    if thing.place in ("air", "free"):
        reach = horizon if thing.place == "free" else horizon * 0.8
        foot = max(cut_out.height, chance.between(0.1, reach + 0.06) * height)
    left = min(max(round(middle - cut_out.width / 2), 2), width - cut_out.width - 2)
    top = min(max(round(foot) - cut_out.height, 2), height - cut_out.height - 2)
    return _Placed(thing, cut_out, left, top)


def _depth(placed: _Placed) -> tuple[int, int]:
    """The order of painting: the sky first, then from the horizon to the front."""
    return (placed.thing.place not in ("air", "free"), placed.bottom)


def _ground(canvas: Image.Image, placed: _Placed, background: Background) -> None:
    """A shadow where a thing stands, foam where it floats."""
    if placed.thing.place in ("air", "free"):
        return
    floats = background.water and placed.thing.place == "ground"
    width, height = placed.cut_out.size
    across, down = round(width * 1.15), max(6, round(height * 0.1))
    mask = Image.new("L", (across * 2, down * 4))
    x, y = np.meshgrid(np.linspace(-2, 2, mask.width), np.linspace(-2, 2, mask.height))
    strength = np.clip(1.25 - np.hypot(x, y), 0, 1) * (150 if floats else 120)
    mask = Image.fromarray(strength.astype(np.uint8))
    colour = (226, 240, 246) if floats else (20, 22, 30)
    corner = (placed.left + width // 2 - mask.width // 2, placed.bottom - mask.height // 2 - 1)
    canvas.paste(colour, (*corner, corner[0] + mask.width, corner[1] + mask.height), mask)


def _photographed(canvas: Image.Image, chance: Chance) -> Image.Image:
    """Uneven light, a little grain and blur, as from a camera."""
    light = 1 + 0.05 * chance.noise(canvas.size, 120) + chance.between(-0.06, 0.06)
    grain = 3.5 * chance.noise(canvas.size, 2)
    soft = canvas.filter(ImageFilter.GaussianBlur(0.4))
    pixels = np.asarray(soft, dtype=np.float32) * light[..., None] + grain[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
