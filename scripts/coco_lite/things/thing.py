"""What is known of a thing beside its drawing: where it stands, its size and its colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from PIL import Image

from scripts.coco_lite.chance import Chance
from scripts.coco_lite.paints import PAINTS
from scripts.coco_lite.pen import Pen


@dataclasses.dataclass(frozen=True)
class Thing:
    """A class of the data set.

    Attributes:
        name: its name in the card.
        draw: draws it with a pen in 100 by 100, larger than nothing, anywhere.
        place: "ground" (stands between the horizon and the lower edge), "far" (stands just
            below the horizon), "air" (in the sky) or "free" (anywhere).
        size: its longer side over the shorter side of the picture.
        mains, seconds, coats: what its colours and its texture are drawn from.
    """

    name: str
    draw: Callable[[Pen], None]
    place: str
    size: float
    mains: tuple[str, ...]
    seconds: tuple[str, ...]
    coats: tuple[str, ...]

    def portrait(self, pixels: int, chance: Chance) -> Image.Image:
        """Draws one of its kind, RGBA, at most `pixels` wide and high, cropped to its outline."""
        main, second = PAINTS[chance.one_of(self.mains)], PAINTS[chance.one_of(self.seconds)]
        sketch = Pen(100, main, second)
        self.draw(sketch)
        share = max(sketch.cut_out().size) / 100
        pen = Pen(round(pixels / share), main, second, chance.one_of(self.coats))
        self.draw(pen)
        return pen.cut_out()


def thing(
    place: str, size: float, mains: str, seconds: str = "white", coats: str = "plain"
) -> Callable[[Callable[[Pen], None]], Thing]:
    """Makes a `Thing` of a drawing function, which names it; words are separated by spaces."""

    def make(draw: Callable[[Pen], None]) -> Thing:
        name = draw.__name__.strip("_").replace("_", " ")
        words = (tuple(text.split()) for text in (mains, seconds, coats))
        return Thing(name, draw, place, size, *words)

    return make
