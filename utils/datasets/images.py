"""Pictures of a split: files that are decoded when asked for, or arrays in memory."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from utils.system.errors import UserError, first_line
from utils.system.files import replacing

MAX_PIXELS = 1024**3 // 12
"""89,478,485, a quarter GiB as RGB: where Pillow begins to warn of a decompression bomb."""
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
"""What is decoded. EPS is not, for one: Pillow would start another program on it."""

# Of notes that a camera wrote wrongly and the like; what is wrong with the pixels is an error.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Pictures(Protocol):
    """The pictures of a split, by row."""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str:
        """What to call the picture in front of people: its path where it has one."""

    def open(self, row: int, least_side: int = 0) -> Image.Image:
        """The picture, RGB; see `open_picture`."""

    def size(self, row: int) -> tuple[int, int]:
        """Width and height, without decoding."""

    def key(self, row: int) -> bytes:
        """16 bytes that change with the picture."""

    def copy(self, row: int, folder: Path) -> Path:
        """Puts a copy of the picture into a folder and returns its path."""


def open_picture(path: Path, where: str = "", least_side: int = 0) -> Image.Image:
    """Opens a picture file as RGB, as the published code does: Pillow's `convert("RGB")`.

    So transparency is dropped (the colour beneath it counts), CMYK is converted without a colour
    profile, of an animation the first frame is taken, and a camera's note to turn the picture
    (EXIF orientation) is not followed. Any size from 1×1 to `MAX_PIXELS` is taken.

    One thing is done otherwise: grey of 16 bits is brought to 8 by its higher byte, as Pillow does
    with colours of 16 bits, where its `convert` makes nearly all of it white.

    Args:
        path: the file; its content tells the format, not its name (see `FORMATS`).
        where: what names it, for the message, such as a list's line.
        least_side: a JPEG file is decoded at 1/2, 1/4 or 1/8 of its size, as long as its short
            side keeps this many pixels; 0: whole.

    Raises:
        UserError: the file is missing, empty, cut off or otherwise not a picture that Pillow can
            decode, has more than `MAX_PIXELS`, or pixels of more than 16 bits (what is white there
            is not defined).
    """
    named = f" (named in {where})" if where else ""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise ValueError("it is no file")
        with Image.open(path, formats=_formats()) as picture:
            _check(picture)
            if least_side:
                picture.draft(picture.mode, (least_side, least_side))
            picture.load()
            picture = _as_8_bits(picture)
            return picture if picture.mode == "RGB" else picture.convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"{path}: the picture is missing{named}") from error
    except UnidentifiedImageError as error:
        what = "not a picture" if path.stat().st_size else "an empty file, not a picture"
        raise UserError(f"{path}: {what}{named}") from error
    except Exception as error:  # what a damaged picture raises is not limited to a few kinds
        raise UserError(
            f"{path}: the picture cannot be decoded{named}: {first_line(error)}"
        ) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{width}×{height} is more than {MAX_PIXELS} pixels; make it smaller, the network sees "
            "a few hundred pixels a side"
        )
    # Older Pillow opens grey PNG files of 16 bits as "I", whole numbers of 32 bits.
    if picture.mode == "F" or (picture.mode == "I" and picture.format != "PNG"):
        raise ValueError("its pixels have more than 16 bits; save it with 8 or 16")


def _as_8_bits(picture: Image.Image) -> Image.Image:
    if picture.mode != "I" and not picture.mode.startswith("I;16"):
        return picture
    return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))


class PictureFiles:
    """Picture files, decoded when asked for.

    Args:
        paths: the files.
        source: what names them, for messages: a list file or a flag.
        lines: the list file's line of each, if it is one.
    """

    def __init__(self, paths: Sequence[str], source: str, lines: Sequence[int] | None = None):
        self._paths, self._source, self._lines = paths, source, lines

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, row: int) -> str:
        """The picture's path."""
        return self._paths[row]

    def open(self, row: int, least_side: int = 0) -> Image.Image:
        """The picture, RGB; a bad one is a `UserError` that names the list's line."""
        line = "" if self._lines is None else f", line {self._lines[row]}"
        return open_picture(Path(self._paths[row]), self._source + line, least_side)

    def size(self, row: int) -> tuple[int, int]:
        """Width and height, from the file's head."""
        try:
            with Image.open(self._paths[row]) as picture:
                return picture.size
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{self._paths[row]}: not a picture") from error

    def key(self, row: int) -> bytes:
        """Changes with the file's path, size and time of change."""
        path = os.path.abspath(self._paths[row])
        try:
            found = os.stat(path)
            version = f"{found.st_size} {found.st_mtime_ns}"
        except (OSError, ValueError):  # opening it will tell
            version = "missing"
        return _digest(f"{version} {path}".encode("utf-8", "surrogateescape"))

    def copy(self, row: int, folder: Path) -> Path:
        """Copies the file, byte for byte; a file of that name with other content stays."""
        content = Path(self._paths[row]).read_bytes()
        return _write_beside_others(folder / Path(self._paths[row]).name, content)


class PictureArray:
    """Pictures in memory, [n, h, w, 3] uint8."""

    def __init__(self, pictures: np.ndarray, names: Sequence[str]):
        self._pictures = pictures
        self._names = names

    def __len__(self) -> int:
        return len(self._pictures)

    def name(self, row: int) -> str:
        """What to call the picture."""
        return self._names[row]

    def open(self, row: int, least_side: int = 0) -> Image.Image:
        """The picture, RGB."""
        return Image.fromarray(self._pictures[row])

    def size(self, row: int) -> tuple[int, int]:
        """Width and height."""
        return self._pictures.shape[2], self._pictures.shape[1]

    def key(self, row: int) -> bytes:
        """Changes with the pixels."""
        return _digest(self._pictures[row].tobytes())

    def copy(self, row: int, folder: Path) -> Path:
        """Writes the picture as PNG; a file of that name with other content stays."""
        png = io.BytesIO()
        self.open(row).save(png, format="PNG")
        return _write_beside_others(folder / Path(self._names[row]).name, png.getvalue())


class ChosenPictures:
    """Some of the rows of other pictures.

    Args:
        pictures: all of them.
        rows: which are chosen, in the order they get here.
    """

    def __init__(self, pictures: Pictures, rows: np.ndarray):
        self._pictures, self._rows = pictures, rows

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, row: int) -> str:
        """What to call the picture."""
        return self._pictures.name(self._rows[row])

    def open(self, row: int, least_side: int = 0) -> Image.Image:
        """The picture, RGB."""
        return self._pictures.open(self._rows[row], least_side)

    def size(self, row: int) -> tuple[int, int]:
        """Width and height."""
        return self._pictures.size(self._rows[row])

    def key(self, row: int) -> bytes:
        """Changes with the picture."""
        return self._pictures.key(self._rows[row])

    def copy(self, row: int, folder: Path) -> Path:
        """Puts a copy of the picture into a folder."""
        return self._pictures.copy(self._rows[row], folder)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _write_beside_others(path: Path, content: bytes) -> Path:
    """Writes `content` to `path`, or to `stem_2`, `stem_3` … where another file has the name."""
    free, number = path, 1
    while free.exists():
        if free.is_file() and free.read_bytes() == content:
            return free
        number += 1
        free = path.with_name(f"{path.stem}_{number}{path.suffix}")
    with replacing(free) as temporary:
        temporary.write_bytes(content)
    return free
