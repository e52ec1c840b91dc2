"""Images → the network's square input, as bytes; the published recipe's geometry.

A transform resizes an image, which draws nothing and may be kept (`utils.datasets.cache`), and
then crops a square, which may be drawn. Sizes and crops round as `paddle.vision.transforms` does,
so that codes agree with it. To resample no more than the crop would change bytes: Pillow chooses
which dimension it resamples first, and rounds in between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

MAX_SIDE = 1 << 12
"""Pixels of a resized image's short side are fewer."""


@dataclass(frozen=True)
class Resize:
    """What a transform does to every image alike, bilinear.

    Attributes:
        side: of the short side, or of the square, in pixels.
        square: the whole image becomes a square; else the long side keeps the proportion.
        least_side: JPEG files may be decoded at 1/2, 1/4 or 1/8 of their size, as long as the
            short side keeps this many pixels; 0: they are decoded whole.
    """

    side: int
    square: bool = False
    least_side: int = 0

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Resizes an RGB image: [h, w, 3] uint8; the long side is rounded down."""
        width = height = self.side
        if not self.square and image.width <= image.height:
            height = int(self.side * image.height / image.width)
        elif not self.square:
            width = int(self.side * image.width / image.height)
        return np.asarray(image.resize((width, height), Image.BILINEAR))

    def __str__(self) -> str:
        # Kept in the records of codes and compared: other words would make old codes anew.
        decoded = f"JPEG reduced to {self.least_side} or more, " if self.least_side else ""
        side = self.side
        what = f"whole picture to {side}x{side}" if self.square else f"short side {side}"
        return f"{decoded}{what} bilinear"


@dataclass(frozen=True)
class Transform:
    """Resize and crop: RGB image → [crop_size, crop_size, 3] uint8.

    A `random` crop lies anywhere and is flipped every other time; else it is the centre.
    """

    resize: Resize
    crop_size: int
    random: bool = False

    def __call__(self, image: Image.Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """The pixels of an RGB image; `rng` draws a random crop."""
        return self.crop(self.resize(image), rng)

    def crop(self, resized: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        """The same from an image that `resize` has resized, [h, w, 3] uint8; maybe a view."""
        height, width = resized.shape[:2]
        side = self.crop_size
        left, top = round((width - side) / 2), round((height - side) / 2)
        if self.random:
            left, top = int(rng.integers(width - side + 1)), int(rng.integers(height - side + 1))
        cropped = resized[top : top + side, left : left + side]
        return _flipped(cropped) if self.random and rng.random() < 0.5 else cropped

    def __str__(self) -> str:
        if self.resize.square:
            return str(self.resize)
        crop = f"random crop {self.crop_size} and flip" if self.random else ""
        return f"{self.resize}, {crop or f'centre crop {self.crop_size}'}"


def _flipped(pixels: np.ndarray) -> np.ndarray:
    turned = np.empty_like(pixels)
    for channel in range(3):  # five times as fast as all at once
        turned[..., channel] = pixels[:, ::-1, channel]
    return turned


def build_transform(
    resize: str, resize_size: int, crop_size: int, fast_decode: bool = False, train: bool = False
) -> Transform:
    """What a data set's images go through; `resize` is 'short_side' or 'square', as its file says.

    Sizes are in pixels: the short side before the crop, and the side of the network's input.
    `fast_decode` reduces large JPEG files as they are decoded; `train` is for training images.
    """
    square, least_side = resize == "square", crop_size if fast_decode else 0
    side = crop_size if square else resize_size
    return Transform(Resize(side, square, least_side), crop_size, random=train and not square)
