"""Eight places, each in several lights: the part of a picture that tells its theme."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scripts.coco_lite.brushes import Size, clouds, ridge, speckles, two_fields
from scripts.coco_lite.chance import Chance
from scripts.coco_lite.paints import darker, lighter, mix


@dataclasses.dataclass(frozen=True)
class Background:
    """An empty place.

    Attributes:
        image: RGB.
        horizon: where the ground begins, as a share of the height from the top.
        water: whether things float on the ground instead of standing on it.
    """

    image: Image.Image
    horizon: float
    water: bool = False


DAY, EVENING, CLOUDY = (
    ((92, 156, 222), (206, 230, 246)),
    ((96, 92, 156), (250, 178, 122)),
    ((140, 152, 166), (214, 220, 224)),
)


def sea(size: Size, chance: Chance) -> Background:
    """Sky with clouds over water with waves."""
    horizon = chance.between(0.34, 0.5)
    sky = chance.one_of((DAY, DAY, EVENING, CLOUDY))
    near = chance.one_of(((18, 84, 138), (22, 104, 132), (36, 78, 110)))
    image = two_fields(size, horizon, sky, (mix(near, sky[1], 0.45), near))
    clouds(image, horizon, chance)
    draw = ImageDraw.Draw(image)
    width, height = size
    for _ in range(90):
        depth = chance.between(0.02, 1) ** 1.3
        y = height * (horizon + (1 - horizon) * depth)
        x, half = chance.between(-0.1, 1) * width, width * (0.02 + 0.07 * depth)
        colour = lighter(near, chance.between(0.15, 0.5))
        box = (x - half, y - 2 - 5 * depth, x + half, y + 2 + 5 * depth)
        draw.arc(box, 200, 340, colour, max(1, round(2.5 * depth)))
    return Background(image, horizon, water=True)


def reef(size: Size, chance: Chance) -> Background:
    """Deep water with rays of light, rocks and bubbles over sand."""
    horizon = chance.between(0.68, 0.78)
    top, bottom = chance.one_of(
        (
            ((84, 190, 208), (14, 74, 118)),
            ((64, 164, 186), (10, 54, 84)),
            ((96, 200, 184), (16, 92, 104)),
        )
    )
    sand = chance.one_of(((196, 178, 132), (168, 164, 140), (206, 186, 150)))
    image = two_fields(size, horizon, (top, bottom), (mix(sand, bottom, 0.45), sand))
    width, height = size
    rays = Image.new("L", size)
    draw = ImageDraw.Draw(rays)
    for _ in range(5):
        x, spread = chance.between(0, 1.1) * width, chance.between(0.03, 0.09) * width
        ray = (x, 0, x + spread, 0, x - width * 0.16 + spread * 2, height, x - width * 0.28, height)
        draw.polygon(ray, fill=46)
    image.paste((220, 250, 250), mask=rays.filter(ImageFilter.GaussianBlur(width / 60)))
    draw = ImageDraw.Draw(image)
    ridge(
        draw,
        size,
        horizon + 0.01,
        chance.between(0.08, 0.2),
        mix(bottom, (50, 60, 80), 0.5),
        chance,
    )
    ridge(draw, size, horizon + 0.05, 0.03, mix(sand, bottom, 0.3), chance)
    for _ in range(chance.whole(8, 22)):
        x, y = chance.between(0, width), chance.between(0, height * horizon)
        radius = width * chance.between(0.003, 0.012)
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(box, outline=lighter(top, 0.6), width=max(1, round(radius / 3)))
    speckles(draw, size, horizon + 0.06, 80, sand, chance)
    return Background(image, horizon + 0.04)


def street(size: Size, chance: Chance) -> Background:
    """Houses in the distance, a pavement and a road."""
    horizon = chance.between(0.46, 0.58)
    sky = chance.one_of((DAY, CLOUDY, EVENING))
    asphalt = chance.one_of(((86, 88, 94), (104, 102, 100), (72, 76, 86)))
    image = two_fields(size, horizon, sky, (lighter(asphalt, 0.12), asphalt))
    clouds(image, horizon, chance)
    draw = ImageDraw.Draw(image)
    width, height = size
    x = -chance.between(0, 0.1) * width
    while x < width:
        wide, top = chance.between(0.1, 0.22) * width, height * chance.between(0.06, 0.34)
        wall = mix(chance.one_of(((150, 120, 106), (170, 164, 156), (122, 128, 142))), sky[1], 0.35)
        draw.rectangle((x, top, x + wide, height * horizon), fill=wall)
        lamp = chance.one_of((darker(wall, 0.35), (250, 224, 150), lighter(wall, 0.3)))
        step = width * 0.035
        for row in np.arange(top + step * 0.6, height * horizon - step, step * 1.4):
            for column in np.arange(x + step * 0.4, x + wide - step * 0.8, step):
                draw.rectangle((column, row, column + step * 0.5, row + step * 0.8), fill=lamp)
        x += wide
    curb = height * (horizon + 0.1)
    draw.rectangle((0, height * horizon, width, curb), fill=(178, 174, 168))
    draw.rectangle((0, curb, width, curb + height * 0.012), fill=(120, 118, 116))
    lane = height * (horizon + (1 - horizon) * 0.62)
    for start in np.arange(-chance.between(0, 0.2), 1, 0.2):
        left = start * width
        draw.rectangle(
            (left, lane, left + width * 0.11, lane + height * 0.018), fill=(232, 226, 204)
        )
    return Background(image, horizon)


def kitchen(size: Size, chance: Chance) -> Background:
    """A tiled or striped wall behind a table."""
    horizon = chance.between(0.46, 0.6)
    wall = chance.one_of(((222, 214, 196), (186, 208, 200), (234, 214, 196), (190, 202, 218)))
    table = chance.one_of(((168, 112, 66), (132, 86, 52), (206, 168, 118), (196, 196, 192)))
    image = two_fields(size, horizon, (darker(wall, 0.08), wall), (darker(table, 0.2), table))
    draw = ImageDraw.Draw(image)
    width, height = size
    edge, step = height * horizon, max(size) * chance.between(0.07, 0.12)
    joint = darker(wall, 0.16)
    if chance.happens(0.6):
        for y in np.arange(edge, 0, -step):
            draw.line((0, y, width, y), fill=joint, width=3)
        for x in np.arange(chance.between(-1, 0) * step, width, step):
            draw.line((x, 0, x, edge), fill=joint, width=3)
    else:
        for x in np.arange(chance.between(-1, 0) * step, width, step):
            draw.rectangle((x, 0, x + step / 2, edge), fill=mix(wall, joint, 0.45))
    draw.rectangle((0, edge, width, edge + height * 0.02), fill=lighter(table, 0.25))
    for _ in range(26):
        y, x = chance.between(edge + height * 0.03, height), chance.between(-0.4, 1) * width
        reach = chance.between(0.15, 0.5) * width
        draw.line((x, y, x + reach, y), fill=darker(table, chance.between(0.08, 0.22)), width=3)
    return Background(image, horizon)


def snow(size: Size, chance: Chance) -> Background:
    """Mountains behind fields of snow, sometimes while it snows."""
    horizon = chance.between(0.42, 0.56)
    sky = chance.one_of((DAY, CLOUDY, ((160, 150, 196), (246, 208, 206))))
    image = two_fields(size, horizon, sky, ((214, 226, 240), (246, 248, 252)))
    draw = ImageDraw.Draw(image)
    width, height = size
    for _ in range(chance.whole(2, 4)):
        x, peak = chance.between(0, 1) * width, height * chance.between(0.1, 0.3)
        foot, half = height * (horizon + 0.01), width * chance.between(0.2, 0.4)
        rock = mix((96, 110, 138), sky[1], chance.between(0.15, 0.5))
        draw.polygon((x - half, foot, x, peak, x + half, foot), fill=rock)
        cap = (foot - peak) * 0.35
        slope = half * 0.35
        zigzag = (
            x + slope * 0.4,
            peak + cap * 0.7,
            x,
            peak + cap,
            x - slope * 0.5,
            peak + cap * 0.7,
        )
        cap_shape = (x - slope, peak + cap, x, peak, x + slope, peak + cap, *zigzag)
        draw.polygon(cap_shape, fill=(244, 247, 252))
    ridge(draw, size, horizon + 0.06, 0.05, (226, 235, 245), chance)
    ridge(draw, size, horizon + 0.24, 0.05, (238, 243, 249), chance)
    for _ in range(chance.one_of((0, 60, 140))):
        x, y = chance.between(0, width), chance.between(0, height)
        radius = width * chance.between(0.002, 0.006)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(252, 253, 255))
    return Background(image, horizon)


def meadow(size: Size, chance: Chance) -> Background:
    """Hills and grass with small flowers."""
    horizon = chance.between(0.4, 0.54)
    sky = chance.one_of((DAY, DAY, CLOUDY, EVENING))
    grass = chance.one_of(((88, 150, 62), (112, 164, 70), (74, 128, 58), (140, 156, 72)))
    image = two_fields(size, horizon, sky, (lighter(grass, 0.15), darker(grass, 0.12)))
    clouds(image, horizon, chance)
    draw = ImageDraw.Draw(image)
    width, height = size
    ridge(draw, size, horizon - 0.03, 0.09, mix(grass, sky[1], 0.45), chance)
    ridge(draw, size, horizon + 0.04, 0.06, mix(grass, sky[1], 0.18), chance)
    for _ in range(170):
        depth = chance.between(0.1, 1)
        x, y = chance.between(0, width), height * (horizon + (1 - horizon) * depth)
        tall = height * 0.03 * depth
        blade = (x, y, x + chance.between(-0.5, 0.5) * tall, y - tall)
        draw.line(blade, fill=darker(grass, chance.between(0.1, 0.35)), width=2)
    petal = chance.one_of(((250, 246, 240), (250, 220, 90), (230, 120, 140)))
    speckles(draw, size, horizon + 0.1, chance.one_of((0, 40, 90)), petal, chance)
    return Background(image, horizon)


def desert(size: Size, chance: Chance) -> Background:
    """A warm sky with the sun over dunes."""
    horizon = chance.between(0.42, 0.56)
    sky = chance.one_of(
        (((122, 178, 224), (248, 226, 180)), ((226, 130, 92), (252, 212, 140)), DAY)
    )
    sand = chance.one_of(((222, 178, 112), (206, 150, 92), (234, 202, 146)))
    image = two_fields(size, horizon, sky, (sand, darker(sand, 0.1)))
    draw = ImageDraw.Draw(image)
    width, height = size
    x, y, radius = chance.between(0.1, 0.9) * width, height * 0.15, min(size) * 0.07
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 244, 202))
    for depth, tone in ((0.0, 0.14), (0.16, 0.05), (0.4, 0.12)):
        ridge(draw, size, horizon + 0.04 + depth * (1 - horizon), 0.07, darker(sand, tone), chance)
    for _ in range(60):
        depth = chance.between(0.25, 1)
        x, y = chance.between(-0.1, 1) * width, height * (horizon + (1 - horizon) * depth)
        reach = width * 0.14 * depth
        draw.arc((x, y - 5, x + reach, y + 5), 190, 350, darker(sand, 0.2), 2)
    return Background(image, horizon)


def space(size: Size, chance: Chance) -> Background:
    """A dark sky with nebulae over the ground of a moon with craters."""
    horizon = chance.between(0.7, 0.82)
    night = chance.one_of((((10, 12, 32), (44, 32, 84)), ((6, 10, 24), (16, 50, 82))))
    moon = chance.one_of(((134, 132, 140), (150, 112, 96), (110, 116, 142)))
    image = two_fields(size, 1, night, night)
    glow = np.clip(
        chance.noise(size, max(size) / 3) * chance.noise(size, max(size) / 6) + 0.1, 0, 1
    )
    tint = chance.one_of(((150, 70, 160), (50, 120, 170), (170, 90, 90)))
    image.paste(tint, mask=Image.fromarray((glow * 190).astype(np.uint8)))
    draw = ImageDraw.Draw(image)
    width, height = size
    for _ in range(150):
        x, y, radius = chance.between(0, width), chance.between(0, height), chance.between(0.5, 2.4)
        white = mix(night[0], (255, 255, 246), chance.between(0.4, 1))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=white)
    ridge(draw, size, horizon, 0.04, moon, chance)
    for _ in range(9):
        depth = chance.between(0.2, 1)
        x, y = chance.between(0, width), height * (horizon + (1 - horizon) * depth)
        half = width * (0.02 + 0.05 * depth)
        draw.ellipse((x - half, y - half * 0.3, x + half, y + half * 0.3), fill=darker(moon, 0.25))
        inside = (x - half * 0.9, y - half * 0.18, x + half * 0.9, y + half * 0.3)
        draw.ellipse(inside, fill=darker(moon, 0.1))
    return Background(image, horizon)


BACKGROUNDS: dict[str, Callable[[Size, Chance], Background]] = {
    place.__name__: place for place in (sea, reef, street, kitchen, snow, meadow, desert, space)
}
