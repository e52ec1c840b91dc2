"""The 80 things that can be drawn: a module a theme, and one for what lives everywhere."""

from __future__ import annotations

from scripts.coco_lite.things import (
    desert,
    everywhere,
    kitchen,
    meadow,
    reef,
    sea,
    snow,
    space,
    street,
)
from scripts.coco_lite.things.thing import Thing

_MODULES = (everywhere, sea, reef, street, kitchen, snow, meadow, desert, space)

THINGS: dict[str, Thing] = {
    thing.name: thing
    for module in _MODULES
    for thing in vars(module).values()
    if isinstance(thing, Thing)
}
"""Name → thing; the order is the order of the label columns."""

CLASSES: tuple[str, ...] = tuple(THINGS)
