"""Pictures of a split: files that are decoded when asked for, or arrays in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from utils.errors import UserError
from utils.files import replacing


class Pictures(Protocol):
    """The pictures of a split, by row."""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str:
        """What to call the picture in front of people: its path where it has one."""

    def open(self, row: int) -> Image.Image:
        """The picture, RGB."""

    def copy(self, row: int, folder: Path) -> Path:
        """Puts a copy of the picture into a folder and returns its path."""


def open_picture(path: Path, where: str = "") -> Image.Image:
    """Opens a picture file as RGB.

    Args:
        path: the file.
        where: what names it, for the message, such as a list's line.

    Raises:
        UserError: the file is missing, or is not a picture that Pillow can decode.
    """
    named = f" (named in {where})" if where else ""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except FileNotFoundError as error:
        raise UserError(f"{path}: the picture is missing{named}") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture{named}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: the picture cannot be decoded{named}: {error}") from error


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

    def open(self, row: int) -> Image.Image:
        """The picture, RGB; a bad one is a `UserError` that names the list's line."""
        line = "" if self._lines is None else f", line {self._lines[row]}"
        return open_picture(Path(self._paths[row]), self._source + line)

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

    def open(self, row: int) -> Image.Image:
        """The picture, RGB."""
        return Image.fromarray(self._pictures[row])

    def copy(self, row: int, folder: Path) -> Path:
        """Writes the picture as PNG; a file of that name with other content stays."""
        png = io.BytesIO()
        self.open(row).save(png, format="PNG")
        return _write_beside_others(folder / Path(self._names[row]).name, png.getvalue())


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
