"""What several backgrounds are painted with: gradients, clouds, hills and speckles."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from scripts.coco_lite.chance import Chance
from scripts.coco_lite.paints import Colour, darker

Size = tuple[int, int]
"""Width and height in pixels."""


def two_fields(
    size: Size, horizon: float, above: tuple[Colour, Colour], below: tuple[Colour, Colour]
) -> Image.Image:
    """Two gradients, each from its first colour down to its second."""
    width, height = size
    edge = round(height * horizon)
    rows = np.concatenate(
        [np.linspace(*above, max(edge, 1)), np.linspace(*below, max(height - edge, 1))]
    )[:height]
    return Image.fromarray(np.repeat(rows[:, None], width, axis=1).astype(np.uint8))


def clouds(image: Image.Image, horizon: float, chance: Chance) -> None:
    """White noise smoothed to clouds, thinner towards the horizon; paints on the image."""
    size = image.size
    cover = chance.noise(size, max(size) / 5) + 0.5 * chance.noise(size, max(size) / 14)
    cover = np.clip((cover - chance.between(0, 0.5)) * 2, 0, 1)
    fade = np.clip(1 - np.arange(size[1]) / (size[1] * horizon), 0, 1)[:, None]
    image.paste((250, 250, 252), mask=Image.fromarray((cover * fade * 230).astype(np.uint8)))


def ridge(
    draw: ImageDraw.ImageDraw, size: Size, level: float, swing: float, fill: Colour, chance: Chance
) -> None:
    """Fills everything below a wavy line around `level`; both are shares of the height."""
    width, height = size
    phase, waves = chance.between(0, 6.28), chance.between(4, 8)
    x = np.linspace(0, 1, 80)
    y = level - swing * (0.5 + 0.35 * np.sin(waves * x + phase) + 0.15 * np.sin(2.3 * waves * x))
    line = np.stack([x * width, y * height], axis=1).ravel().tolist()
    draw.polygon([*line, width, height, 0, height], fill=fill)


def speckles(
    draw: ImageDraw.ImageDraw, size: Size, top: float, count: int, colour: Colour, chance: Chance
) -> None:
    """`count` small dots of about one colour below `top`, a share of the height."""
    width, height = size
    for _ in range(count):
        x, y = chance.between(0, width), height * chance.between(top, 1)
        radius = width * chance.between(0.002, 0.006)
        tone = darker(colour, chance.between(0, 0.25))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tone)
