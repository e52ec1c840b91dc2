"""Images → the network's input: Paddle's geometry to the byte, and randomness from rng alone."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import drawn_image
from paddle.vision import transforms as paddle_transforms
from PIL import Image

from utils.datasets.transforms import Resize, Transform, build_transform

SIZES = [
    *[(640, 480), (480, 640), (256, 256), (256, 300), (300, 256), (255, 257), (257, 255)],
    *[(500, 333), (333, 500), (427, 640), (100, 75), (31, 32), (32, 32)],
    *[(1000, 90), (90, 1000), (1, 3)],
]
TEST = build_transform("short_side", 256, 224)


def paddle_s(image):
    """Resize(256) and CenterCrop(224) of paddle.vision."""
    steps = [paddle_transforms.Resize(256, "bilinear"), paddle_transforms.CenterCrop(224)]
    return np.asarray(paddle_transforms.Compose(steps)(image))


def positions(width: int, height: int) -> Image.Image:
    """An image whose red is the column and whose green is the row (each below 256)."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_evaluation_transform_is_paddle_s_to_the_byte(width, height):
    image = drawn_image(width, height, seed=width)
    found = TEST(image)
    assert found.shape == (224, 224, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, paddle_s(image))


def test_the_evaluation_transform_is_paddle_s_to_the_byte_on_real_photos(real_data):
    photos = sorted((real_data / "coco_photos").glob("*2014/*.jpg"))
    assert len(photos) == 13
    for photo in photos:
        with Image.open(photo) as opened:
            image = opened.convert("RGB")
        np.testing.assert_array_equal(TEST(image), paddle_s(image))


def test_random_crops_lie_inside_reach_every_place_and_every_other_is_flipped():
    image, transform = positions(40, 48), build_transform("short_side", 40, 32, train=True)
    places, flipped, rng = set(), 0, np.random.default_rng(1)
    for _ in range(1500):
        crop = transform(image, rng).astype(int)
        columns, rows = crop[0, :, 0], crop[:, 0, 1]
        assert crop.shape == (32, 32, 3)
        assert set(np.diff(columns)) in ({1}, {-1}) and set(np.diff(rows)) == {1}
        places.add((columns.min(), rows.min()))
        flipped += columns[0] > columns[-1]
    assert places == {(x, y) for x in range(9) for y in range(17)}
    assert 0.45 < flipped / 1500 < 0.55


@pytest.mark.parametrize("train", [False, True])
def test_square_takes_the_whole_image_bilinear(train):
    transform, image = build_transform("square", 256, 64, train=train), drawn_image(50, 30)
    expected = np.asarray(image.resize((64, 64), Image.BILINEAR))
    np.testing.assert_array_equal(transform(image, np.random.default_rng(1)), expected)


def test_transforms_that_differ_have_different_descriptions():
    transforms = [
        build_transform(resize, size, crop, fast, train)
        for resize in ("short_side", "square")
        for size in (256, 288)
        for crop in (224, 192)
        for fast in (False, True)
        for train in (False, True)
    ]
    # The square has no crop: neither the short side nor training change it.
    assert len(set(transforms)) == len({str(each) for each in transforms}) == 16 + 4
    assert str(TEST) == "short side 256 bilinear, centre crop 224"
    assert str(build_transform("square", 256, 224, True)) == (
        "JPEG reduced to 224 or more, whole picture to 224x224 bilinear"
    )
    assert Transform(Resize(256, least_side=224), 224, random=True) in transforms
