"""Images of a split: files that are decoded when asked for, or arrays in memory."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from utils.system.errors import UserError, first_line
from utils.system.files import open_untrusted, write_bytes

MAX_PIXELS = 64_000_000
MAX_RATIO = 200
"""An image's pixels, and how many times its short side the long one is, at most."""
_COPIES = {"JPEG2000": 3, "WEBP": 2, "AVIF": 2}
"""Images that fit in the memory of one in other formats while such a one is decoded."""
MAX_FILE = 1 << 30
"""Bytes of an image file, at most."""
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
"""What is decoded. EPS is not, for one: Pillow would start another program on it."""
IMAGE_ENDINGS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".heic", ".heif"),
}
"""What tells images from other files of a folder; HEIC is named as what cannot be decoded."""

# Of notes that a camera wrote wrongly and the like; what is wrong with the pixels is an error.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_image(path: str | os.PathLike, where: str = "", least_side: int = 0) -> Image.Image:
    """Opens an image file as RGB, as the published code does: Pillow's `convert("RGB")`.

    So transparency is dropped (the colour beneath it counts), CMYK is converted without a colour
    profile, of an animation the first frame is taken, and a camera's note to turn the image (EXIF
    orientation) is not followed. One thing is done otherwise: grey of 16 bits is brought to 8 by
    its higher byte, as Pillow does with colours, where its `convert` makes nearly all white.

    Args:
        path: the file; its content tells the format, not its name (see `FORMATS`).
        where: what names it, for the message, such as a list's line.
        least_side: a JPEG file is decoded at 1/2, 1/4 or 1/8 of its size, as long as its short
            side keeps this many pixels; 0: whole.

    Raises:
        UserError: the file is missing or cut off, Pillow cannot decode it, it has more than
            `MAX_PIXELS`, or pixels of more than 16 bits (what is white there is not defined).
    """
    hint = f"named in {where}" if where else ""
    with open_untrusted(path, "an image that can be decoded", MAX_FILE, hint) as file:
        return _decode(file, least_side)


def decode_image(content: bytes, least_side: int = 0) -> Image.Image:
    """Decodes an image file's content, as `open_image` does a file."""
    try:
        return _decode(io.BytesIO(content), least_side)
    except Exception as error:  # what decoding a damaged file raises is not limited to a few kinds
        raise UserError(f"not an image that can be decoded: {first_line(error)}") from error


def _decode(file: BinaryIO, least_side: int) -> Image.Image:
    try:
        image = Image.open(file, formats=_formats())
    except UnidentifiedImageError as error:
        empty = not file.seek(0, os.SEEK_END)
        raise ValueError("it is empty" if empty else "its format is unknown") from error
    width, height = image.size
    copies = 2 if image.info.get("progressive") else _COPIES.get(image.format, 1)
    most, longest = MAX_PIXELS // copies, MAX_RATIO * min(image.size)
    if width * height > most or max(image.size) > longest:
        raise ValueError(
            f"{width}×{height} is more than {most} pixels, or has a side {MAX_RATIO} times the "
            "other; make it smaller, the network sees a few hundred pixels a side"
        )
    # Older Pillow opens grey PNG files of 16 bits as "I", whole numbers of 32 bits.
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise ValueError("its pixels have more than 16 bits; save it with 8 or 16")
    if least_side:
        image.draft(image.mode, (least_side, least_side))
    image.load()
    form = image.format
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image if image.mode == "RGB" else image.convert("RGB")
    image.format = form
    return image


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(filter(Image.OPEN.__contains__, FORMATS))


def is_image_name(name: str) -> bool:
    """Whether a file's name is an image's; hidden files, such as macOS's ._x.jpg, are none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


class ImageFiles:
    """Image files, decoded when asked for.

    `source` (a list file or a flag) and its `lines` name them in messages.

    Attributes:
        names: the images' paths.
    """

    def __init__(self, paths: Sequence[str], source: str, lines: Sequence[int] | None = None):
        self.names, self._source, self._lines = paths, source, lines

    def open(self, index: int, least_side: int = 0) -> Image.Image:
        """The image, RGB; a bad one is a `UserError` that names the list's line."""
        line = "" if self._lines is None else f", line {self._lines[index]}"
        return open_image(self.names[index], self._source + line, least_side)

    def key(self, index: int) -> str:
        """Changes with the file's path, size and time of change."""
        path = os.path.abspath(self.names[index])
        try:
            found = os.stat(path)
            version = f"{found.st_size} {found.st_mtime_ns}"
        except (OSError, ValueError):  # opening it will tell
            version = "missing"
        return _digest(f"{version} {path}".encode("utf-8", "surrogateescape"))

    def copy(self, index: int, folder: Path) -> Path:
        """Copies the file, byte for byte; a file of that name with other content stays."""
        path = Path(self.names[index])
        return _write_beside_others(folder / path.name, path.read_bytes())

    def subset(self, indices: np.ndarray) -> ImageFiles:
        """Some of the images, in the order of `indices`."""
        lines = None if self._lines is None else [self._lines[index] for index in indices]
        return ImageFiles([self.names[index] for index in indices], self._source, lines)


class ImageArray:
    """Images in memory, n of [h, w, 3] uint8; attributes and methods as those of `ImageFiles`."""

    def __init__(self, pixels: Sequence[np.ndarray], names: Sequence[str]):
        self._pixels, self.names = pixels, names

    def open(self, index: int, least_side: int = 0) -> Image.Image:
        return Image.fromarray(self._pixels[index])

    def key(self, index: int) -> str:
        return _digest(self._pixels[index].tobytes())

    def copy(self, index: int, folder: Path) -> Path:
        """Writes the image as PNG; a file of that name with other content stays."""
        png = io.BytesIO()
        self.open(index).save(png, format="PNG")
        return _write_beside_others(folder / Path(self.names[index]).name, png.getvalue())

    def subset(self, indices: np.ndarray) -> ImageArray:
        names = [self.names[index] for index in indices]
        return ImageArray([self._pixels[index] for index in indices], names)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _write_beside_others(path: Path, content: bytes) -> Path:
    """Writes `content` to `path`, or to `stem_2`, `stem_3` … where another file has the name."""
    free, number = path, 1
    while free.exists():
        if free.is_file() and free.read_bytes() == content:
            return free
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    write_bytes(free, content)
    return free
