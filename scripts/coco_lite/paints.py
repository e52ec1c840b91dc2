"""The colours by name, and what can be done with a colour."""

from __future__ import annotations

Colour = tuple[int, int, int]

PAINTS: dict[str, Colour] = {
    "white": (246, 245, 240),
    "cream": (240, 226, 196),
    "grey": (150, 154, 160),
    "steel": (190, 198, 206),
    "slate": (84, 94, 108),
    "black": (34, 34, 40),
    "red": (206, 52, 48),
    "maroon": (128, 36, 44),
    "orange": (236, 132, 44),
    "amber": (244, 180, 58),
    "yellow": (250, 214, 70),
    "sand": (222, 190, 136),
    "tan": (196, 148, 96),
    "wood": (150, 98, 54),
    "brown": (104, 66, 42),
    "clay": (190, 98, 62),
    "lime": (158, 202, 74),
    "green": (72, 154, 74),
    "forest": (36, 98, 60),
    "olive": (120, 128, 60),
    "teal": (32, 142, 140),
    "cyan": (104, 198, 214),
    "sky": (140, 190, 232),
    "blue": (48, 104, 190),
    "navy": (30, 52, 104),
    "violet": (112, 76, 164),
    "lilac": (182, 156, 216),
    "pink": (238, 146, 170),
    "rose": (216, 84, 122),
    "skin": (224, 172, 138),
    "glass": (176, 214, 230),
    "lamp": (255, 236, 150),
}


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """The colour `share` (0 to 1) of the way from `first` to `second`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second))
    return red, green, blue


def darker(colour: Colour, share: float = 0.3) -> Colour:
    """The colour with `share` of black in it."""
    return mix(colour, (0, 0, 0), share)


def lighter(colour: Colour, share: float = 0.3) -> Colour:
    """The colour with `share` of white in it."""
    return mix(colour, (255, 255, 255), share)
