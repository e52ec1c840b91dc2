"""Odd pictures, each with its defined answer; paths that lead out of the picture folder."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from utils.datasets.images import MAX_PIXELS, open_picture
from utils.datasets.lists import check_inside, read_list
from utils.system.errors import UserError

RAMP = np.arange(0, 240, 5, dtype=np.uint8).reshape(6, 8)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=-1)


def saved(folder, picture, name="picture.png", **options):
    """A picture file."""
    path = folder / name
    picture.save(path, **options)
    return path


def pixels(path, **options) -> np.ndarray:
    """What a picture file is opened as."""
    picture = open_picture(path, **options)
    assert picture.mode == "RGB"
    return np.asarray(picture)


def test_an_ordinary_picture_is_what_pillow_s_convert_makes_of_it(tmp_path):
    for mode in ("RGB", "L", "CMYK", "1"):
        picture = Image.fromarray(COLOURS).convert(mode)
        path = saved(tmp_path, picture, "a.tif")
        np.testing.assert_array_equal(pixels(path), np.asarray(picture.convert("RGB")))


def test_one_pixel_is_a_picture(tmp_path):
    assert pixels(saved(tmp_path, Image.new("RGB", (1, 1), (1, 2, 3)))).tolist() == [[[1, 2, 3]]]


def test_transparency_is_dropped(tmp_path):
    picture = Image.fromarray(COLOURS)
    picture.putalpha(7)
    np.testing.assert_array_equal(pixels(saved(tmp_path, picture)), COLOURS)
    palette = Image.fromarray(COLOURS).quantize(200)
    path = saved(tmp_path, palette, "p.png", transparency=bytes(range(200)))
    np.testing.assert_array_equal(pixels(path), np.asarray(palette.convert("RGB")))


def test_grey_of_16_bits_keeps_its_higher_byte(tmp_path):
    wide = RAMP.astype(np.uint16) * 256 + 77
    for name in ("a.png", "a.tif"):
        found = pixels(saved(tmp_path, Image.fromarray(wide), name))
        np.testing.assert_array_equal(found, np.repeat(RAMP[..., None], 3, axis=-1))


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert (pixels(path) == (255, 0, 0)).all()


def test_a_camera_s_note_to_turn_the_picture_is_not_followed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(COLOURS), exif=exif)
    np.testing.assert_array_equal(pixels(path), COLOURS)


def png_of_size(width: int, height: int) -> bytes:
    """A small PNG file whose head says that it is large."""
    import struct
    import zlib

    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, format="PNG")
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = content.getvalue()
    return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, side):
    assert side * side > MAX_PIXELS
    path = tmp_path / "huge.png"
    path.write_bytes(png_of_size(side, side))
    with pytest.raises(UserError, match=r"huge\.png: the picture cannot be decoded"):
        open_picture(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file, not a picture"),
        (b"text", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ],
)
def test_what_is_no_picture_is_told(tmp_path, content, message):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.jpg: {message} \(named in list, line 3\)"):
        open_picture(path, "list, line 3")


def test_a_truncated_picture_and_a_folder_are_told(tmp_path):
    path = saved(tmp_path, Image.fromarray(COLOURS).resize((300, 300)), "a.jpg")
    path.write_bytes(path.read_bytes()[:-500])
    for odd in (path, tmp_path):
        with pytest.raises(UserError, match="cannot be decoded"):
            open_picture(odd)


def test_numbers_of_more_than_16_bits_are_refused(tmp_path):
    path = saved(tmp_path, Image.fromarray(RAMP.astype(np.float32)), "a.tif")
    with pytest.raises(UserError, match="more than 16 bits"):
        open_picture(path)


@pytest.mark.parametrize("path", ["../a.jpg", "/etc/a.jpg", "b/../../a.jpg", "b/./../../c/a.jpg"])
def test_a_path_that_leads_out_of_the_folder_is_told_with_its_line(tmp_path, path):
    (tmp_path / "list.txt").write_text(f"b/ok.jpg 1\n\n{path} 0\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"list\.txt, line 3: .*--allow-outside"):
        check_inside(read_list(tmp_path / "list.txt", 1))


@pytest.mark.parametrize("path", ["a.jpg", "b/../a.jpg", "./a.jpg", "..a/b.jpg", "b/..jpg"])
def test_a_path_that_stays_inside_is_taken(tmp_path, path):
    (tmp_path / "list.txt").write_text(f"{path} 1\n", encoding="utf-8")
    check_inside(read_list(tmp_path / "list.txt", 1))
