"""Odd images, each with its defined answer."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from helpers import drawn_image
from PIL import Image

from utils.datasets.images import MAX_PIXELS, open_image
from utils.system.errors import UserError

RAMP = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def saved(folder, image, name="image.png", **options):
    """An image file."""
    path = folder / name
    image.save(path, **options)
    return path


def pixels(path, **options) -> np.ndarray:
    """What an image file is opened as."""
    image = open_image(path, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


pytestmark = pytest.mark.filterwarnings("ignore::Warning:PIL")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_images_of_every_mode_become_what_pillow_s_convert_makes_of_them(tmp_path, mode):
    image = Image.fromarray(COLOURS).convert(mode)
    path = saved(tmp_path, image, "a.png" if mode in ("LA", "P") else "a.tif")
    np.testing.assert_array_equal(pixels(path), np.asarray(image.convert("RGB")))


def test_transparency_is_dropped(tmp_path):
    image = Image.fromarray(COLOURS)
    image.putalpha(7)
    np.testing.assert_array_equal(pixels(saved(tmp_path, image)), COLOURS)
    palette = Image.fromarray(COLOURS).quantize(200)
    path = saved(tmp_path, palette, "p.png", transparency=bytes(range(200)))
    np.testing.assert_array_equal(pixels(path), np.asarray(palette.convert("RGB")))


def test_grey_of_16_bits_keeps_its_higher_byte_and_more_bits_are_refused(tmp_path):
    wide = RAMP.astype(np.uint16) * 256 + 77
    for name in ("a.png", "a.tif"):
        found = pixels(saved(tmp_path, Image.fromarray(wide), name))
        np.testing.assert_array_equal(found, np.repeat(RAMP[..., None], 3, axis=-1))
    path = saved(tmp_path, Image.fromarray(RAMP.astype(np.float32)), "a.tif")
    with pytest.raises(UserError, match="more than 16 bits"):
        open_image(path)


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (1, 1), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert pixels(path).tolist() == [[[255, 0, 0]]]


def test_a_camera_s_note_to_turn_the_image_is_not_followed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(pixels(path), COLOURS)


@pytest.mark.parametrize(
    ("size", "least_side", "decoded"),
    [
        ((640, 481), 224, (320, 241)),
        ((640, 447), 224, (640, 447)),
        ((2000, 1900), 224, (250, 238)),
    ],
)
def test_large_jpeg_files_may_be_decoded_smaller_and_others_not(
    tmp_path, size, least_side, decoded
):
    jpeg, png = (saved(tmp_path, drawn_image(*size), f"a.{end}") for end in ("jpg", "png"))
    assert open_image(jpeg, least_side=least_side).size == decoded
    assert open_image(png, least_side=least_side).size == size


def png_of_size(width: int, height: int) -> bytes:
    """A small PNG file whose head says that it is large."""
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, format="PNG")
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = content.getvalue()
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"text", "its format is unknown"),
        (EPS, "its format is unknown"),
        (png_of_size(60_000, 60_000), "decompression bomb"),
        (png_of_size(10_000, 10_000), f"10000×10000 is more than {MAX_PIXELS} pixels"),
    ],
    ids=["empty", "text", "EPS", "bomb", "large"],
)
def test_what_is_no_image_or_too_large_a_one_is_one_line(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    expected = rf"a\.jpg: not an image that can be decoded: .*{message}.*; named in list, line 3$"
    with pytest.raises(UserError, match=expected):
        open_image(path, "list, line 3")
