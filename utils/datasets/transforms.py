"""Pictures → the network's square input, as bytes; the published recipe's geometry.

A transform scales a picture, which draws nothing and may be kept (`utils.datasets.cache`), and then
cuts a square window out of it, which may be drawn. Sizes and windows round as
`paddle.vision.transforms` does, so that codes agree with it. To resample no more than the window
would change bytes: Pillow chooses which dimension it resamples first, and rounds in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Scaling:
    """What a transform does to every picture alike.

    Attributes:
        side: of the short side, or of the square, in pixels.
        square: the whole picture becomes a square; else the long side keeps the proportion.
        least_side: JPEG files may be decoded at 1/2, 1/4 or 1/8 of their size, as long as the
            short side keeps this many pixels; 0: they are decoded whole.
    """

    side: int
    square: bool = False
    least_side: int = 0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of a scaled picture; the long side is rounded down."""
        if self.square:
            return self.side, self.side
        if width <= height:
            return self.side, int(self.side * height / width)
        return int(self.side * width / height), self.side

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """Scales an RGB picture, bilinear: [h, w, 3] uint8."""
        return np.asarray(picture.resize(self.size(*picture.size), Image.BILINEAR))

    def __str__(self) -> str:
        decoded = f"JPEG reduced to {self.least_side} or more, " if self.least_side else ""
        side = self.side
        return decoded + (
            f"whole picture to {side}x{side} bilinear"
            if self.square
            else f"short side {side} bilinear"
        )


@dataclass(frozen=True)
class Window:
    """Where in a scaled picture the network's input lies."""

    left: int
    top: int
    side: int
    flipped: bool = False

    def cut(self, scaled: np.ndarray) -> np.ndarray:
        """The window of a scaled picture: [h, w, 3] → [side, side, 3] uint8."""
        right, bottom = self.left + self.side, self.top + self.side
        return self._turned(scaled[self.top : bottom, self.left : right])

    def _turned(self, pixels: np.ndarray) -> np.ndarray:
        if not self.flipped:
            return pixels
        turned = np.empty_like(pixels)
        for channel in range(3):  # five times as fast as all at once
            turned[..., channel] = pixels[:, ::-1, channel]
        return turned


class Transform:
    """Scaling and window; the base of the transforms below.

    Attributes:
        crop_size: side of the result.
    """

    crop_size: int

    @property
    def scaling(self) -> Scaling:
        """What is done to every picture alike."""
        raise NotImplementedError

    def window(self, width: int, height: int, rng: np.random.Generator | None) -> Window:
        """The window in a scaled picture of this size."""
        raise NotImplementedError

    def __call__(self, picture: Image.Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """Returns [crop_size, crop_size, 3] uint8 from an RGB picture; `rng` draws the window."""
        return self.cut(self.scaling(picture), rng)

    def cut(self, scaled: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """The same from a picture that `scaling` has scaled, [h, w, 3] uint8; maybe a view."""
        height, width = scaled.shape[:2]
        return self.window(width, height, rng).cut(scaled)


@dataclass(frozen=True)
class CenterCrop(Transform):
    """Short side to `resize_size`, then the centre: queries, database, search."""

    resize_size: int
    crop_size: int
    fast_decode: bool = False

    @property
    def scaling(self) -> Scaling:
        """Short side to `resize_size`."""
        return Scaling(self.resize_size, least_side=self.fast_decode * self.crop_size)

    def window(self, width: int, height: int, rng: np.random.Generator | None = None) -> Window:
        """The centre; `rng` is not used."""
        left, top = (round((side - self.crop_size) / 2) for side in (width, height))
        return Window(left, top, self.crop_size)

    def __str__(self) -> str:
        return f"{self.scaling}, centre crop {self.crop_size}"


@dataclass(frozen=True)
class RandomCropFlip(Transform):
    """Short side to `resize_size`, then a random crop and a flip every other time: training."""

    resize_size: int
    crop_size: int
    fast_decode: bool = False

    @property
    def scaling(self) -> Scaling:
        """Short side to `resize_size`."""
        return Scaling(self.resize_size, least_side=self.fast_decode * self.crop_size)

    def window(self, width: int, height: int, rng: np.random.Generator) -> Window:
        """Anywhere; `rng` decides."""
        left, top = (int(rng.integers(side - self.crop_size + 1)) for side in (width, height))
        return Window(left, top, self.crop_size, rng.random() < 0.5)

    def __str__(self) -> str:
        return f"{self.scaling}, random crop {self.crop_size} and flip"


@dataclass(frozen=True)
class Square(Transform):
    """The whole picture, scaled to a square: CIFAR-10."""

    crop_size: int
    fast_decode: bool = False

    @property
    def scaling(self) -> Scaling:
        """All of it to a square."""
        return Scaling(self.crop_size, square=True, least_side=self.fast_decode * self.crop_size)

    def window(self, width: int, height: int, rng: np.random.Generator | None = None) -> Window:
        """All of it; `rng` is not used."""
        return Window(0, 0, self.crop_size)

    def __str__(self) -> str:
        return str(self.scaling)


def training_transform(
    resize: str, resize_size: int, crop_size: int, fast_decode: bool = False
) -> Transform:
    """What a data set's training pictures go through; `resize` as in its card."""
    if resize == "square":
        return Square(crop_size, fast_decode)
    return RandomCropFlip(resize_size, crop_size, fast_decode)


def evaluation_transform(
    resize: str, resize_size: int, crop_size: int, fast_decode: bool = False
) -> Transform:
    """What queries and database go through; `resize` as in the data set's card."""
    if resize == "square":
        return Square(crop_size, fast_decode)
    return CenterCrop(resize_size, crop_size, fast_decode)
