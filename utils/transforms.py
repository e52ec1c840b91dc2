"""Pictures → the network's square input, as bytes; the published recipe's geometry.

Sizes and crops round as `paddle.vision.transforms` does, so that codes agree with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image


def resize_short_side(picture: Image.Image, size: int) -> Image.Image:
    """Scales, bilinear, so that the short side is `size` and the long side is rounded down."""
    width, height = picture.size
    if width <= height:
        target = (size, int(size * height / width))
    else:
        target = (int(size * width / height), size)
    return picture if target == picture.size else picture.resize(target, Image.BILINEAR)


@dataclass(frozen=True)
class CenterCrop:
    """Short side to `resize_size`, then the centre: queries, database, search."""

    resize_size: int
    crop_size: int

    def __call__(self, picture: Image.Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """Returns [crop_size, crop_size, 3] uint8 from an RGB picture; `rng` is not used."""
        picture = resize_short_side(picture, self.resize_size)
        left = round((picture.width - self.crop_size) / 2)
        top = round((picture.height - self.crop_size) / 2)
        return np.asarray(picture.crop((left, top, left + self.crop_size, top + self.crop_size)))

    def __str__(self) -> str:
        return f"short side {self.resize_size} bilinear, centre crop {self.crop_size}"


@dataclass(frozen=True)
class RandomCropFlip:
    """Short side to `resize_size`, then a random crop and a flip every other time: training."""

    resize_size: int
    crop_size: int

    def __call__(self, picture: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Returns [crop_size, crop_size, 3] uint8 from an RGB picture; `rng` decides."""
        picture = resize_short_side(picture, self.resize_size)
        left = int(rng.integers(picture.width - self.crop_size + 1))
        top = int(rng.integers(picture.height - self.crop_size + 1))
        crop = picture.crop((left, top, left + self.crop_size, top + self.crop_size))
        return np.asarray(crop.transpose(Image.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else crop)

    def __str__(self) -> str:
        return f"short side {self.resize_size} bilinear, random crop {self.crop_size} and flip"


@dataclass(frozen=True)
class Square:
    """The whole picture, scaled to a square: CIFAR-10."""

    crop_size: int

    def __call__(self, picture: Image.Image, rng: np.random.Generator | None = None) -> np.ndarray:
        """Returns [crop_size, crop_size, 3] uint8 from an RGB picture; `rng` is not used."""
        return np.asarray(picture.resize((self.crop_size, self.crop_size), Image.BILINEAR))

    def __str__(self) -> str:
        return f"whole picture to {self.crop_size}x{self.crop_size} bilinear"


def training_transform(resize: str, resize_size: int, crop_size: int) -> RandomCropFlip | Square:
    """What a data set's training pictures go through; `resize` as in its card."""
    return Square(crop_size) if resize == "square" else RandomCropFlip(resize_size, crop_size)


def evaluation_transform(resize: str, resize_size: int, crop_size: int) -> CenterCrop | Square:
    """What queries and database go through; `resize` as in the data set's card."""
    return Square(crop_size) if resize == "square" else CenterCrop(resize_size, crop_size)
