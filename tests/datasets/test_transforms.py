"""Pictures → the network's input: Paddle's geometry to the byte, and randomness from rng alone."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import drawn_picture
from paddle.vision import transforms as paddle_transforms
from PIL import Image

from utils.datasets.transforms import (
    CenterCrop,
    RandomCropFlip,
    Scaling,
    Square,
    evaluation_transform,
    training_transform,
)

SIZES = [
    (640, 480),
    (480, 640),
    (256, 256),
    (256, 300),
    (300, 256),
    (255, 257),
    (257, 255),
    (500, 333),
    (333, 500),
    (427, 640),
    (100, 75),
    (31, 32),
    (32, 32),
    (1000, 90),
    (90, 1000),
    (1, 3),
]


def paddle_s(picture):
    """Resize(256) and CenterCrop(224) of paddle.vision."""
    steps = [paddle_transforms.Resize(256, "bilinear"), paddle_transforms.CenterCrop(224)]
    return np.asarray(paddle_transforms.Compose(steps)(picture))


def position_picture(width: int, height: int) -> Image.Image:
    """A picture whose red is the column and whose green is the row (each below 256)."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_evaluation_transform_is_paddle_s_to_the_byte(width, height):
    picture = drawn_picture(width, height, seed=width)
    found = CenterCrop(256, 224)(picture)
    assert found.shape == (224, 224, 3) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, paddle_s(picture))


def test_the_evaluation_transform_is_paddle_s_to_the_byte_on_real_photos(real_data):
    photos = sorted((real_data / "coco_photos").glob("*2014/*.jpg"))
    assert len(photos) == 13
    for photo in photos:
        with Image.open(photo) as opened:
            picture = opened.convert("RGB")
        np.testing.assert_array_equal(CenterCrop(256, 224)(picture), paddle_s(picture))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((512, 512), (256, 256)), ((640, 480), (341, 256)), ((333, 500), (256, 384))],
)
def test_the_short_side_gets_the_size_and_the_long_one_is_rounded_down(size, expected):
    assert Scaling(256).size(*size) == expected


def test_random_crops_lie_inside_and_reach_every_place():
    picture, transform = position_picture(40, 48), RandomCropFlip(40, 32)
    places, rng = set(), np.random.default_rng(1)
    for _ in range(1500):
        crop = transform(picture, rng).astype(int)
        columns, rows = crop[0, :, 0], crop[:, 0, 1]
        assert crop.shape == (32, 32, 3)
        np.testing.assert_array_equal(np.abs(np.diff(columns)), 1)
        np.testing.assert_array_equal(np.diff(rows), 1)
        places.add((columns.min(), rows.min()))
    assert places == {(x, y) for x in range(9) for y in range(17)}


def test_about_every_other_crop_is_flipped():
    picture, transform = position_picture(40, 40), RandomCropFlip(40, 32)
    rng = np.random.default_rng(2)
    crops = [transform(picture, rng) for _ in range(1000)]
    flipped = np.mean([crop[0, 0, 0] > crop[0, -1, 0] for crop in crops])
    assert 0.45 < flipped < 0.55


def test_a_random_crop_depends_on_its_rng_and_on_nothing_else():
    picture, transform = drawn_picture(300, 260), RandomCropFlip(256, 224)
    first = [transform(picture, np.random.default_rng(seed)) for seed in range(6)]
    np.random.seed(0)  # noqa: NPY002 - the global state must have no effect
    again = [transform(picture, np.random.default_rng(seed)) for seed in range(6)]
    np.testing.assert_array_equal(first, again)
    assert len({crop.tobytes() for crop in first}) > 1


def test_a_crop_as_large_as_the_short_side_fits():
    picture = position_picture(50, 40)
    crop = RandomCropFlip(40, 40)(picture, np.random.default_rng(3))
    np.testing.assert_array_equal(crop[:, 0, 1], np.arange(40))


def test_square_takes_the_whole_picture_bilinear():
    picture = drawn_picture(32, 32)
    expected = np.asarray(picture.resize((224, 224), Image.BILINEAR))
    np.testing.assert_array_equal(Square(224)(picture), expected)
    assert Square(64)(drawn_picture(50, 30)).shape == (64, 64, 3)


def test_a_card_s_resize_chooses_the_transforms():
    assert training_transform("short_side", 256, 224) == RandomCropFlip(256, 224)
    assert evaluation_transform("short_side", 256, 224) == CenterCrop(256, 224)
    assert training_transform("square", 256, 224) == Square(224)
    assert evaluation_transform("square", 256, 224) == Square(224)


def test_transforms_that_differ_have_different_descriptions():
    transforms = [CenterCrop(256, 224), CenterCrop(256, 192), CenterCrop(288, 224)]
    transforms += [RandomCropFlip(256, 224), Square(224), Square(192)]
    assert len({str(transform) for transform in transforms}) == len(transforms)
