"""Everything random comes from here, from one seed a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

T = TypeVar("T")


class Chance:
    """A stream of random choices, the same for the same seeds on every machine.

    Args:
        seeds: whole numbers that name the stream.
    """

    def __init__(self, *seeds: int):
        self._random = np.random.default_rng(seeds)

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * float(self._random.random())

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._random.random() * (high - low + 1))

    def happens(self, share: float) -> bool:
        """True in `share` of the cases."""
        return float(self._random.random()) < share

    def one_of(self, options: Sequence[T]) -> T:
        """One of the options, all equally likely."""
        return options[self.whole(0, len(options) - 1)]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in a random order."""
        rest = list(options)
        return [rest.pop(self.whole(0, len(rest) - 1)) for _ in options]

    def some_of(self, weights: dict[str, float], count: int) -> list[str]:
        """`count` different names, the likelier the heavier; in the order drawn."""
        rest, chosen = dict(weights), []
        for _ in range(min(count, len(rest))):
            edges = np.cumsum(list(rest.values()))
            place = int(np.searchsorted(edges, self.between(0, float(edges[-1])), side="right"))
            chosen.append(list(rest)[place])
            del rest[chosen[-1]]
        return chosen

    def noise(self, size: tuple[int, int], grain: float) -> np.ndarray:
        """Smooth noise in about -1 to 1.

        Args:
            size: (width, height) of the picture.
            grain: distance of independent values in pixels.

        Returns:
            [height, width] float32.
        """
        width, height = size
        coarse = (max(2, round(width / grain)), max(2, round(height / grain)))
        values = self._random.random((coarse[1], coarse[0])).astype(np.float32) * 2 - 1
        return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC))
