"""List files: one picture a line, its relative path and then its 0/1 labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.system.errors import UserError


@dataclass(frozen=True)
class ImageList:
    """A list file's content, in the file's order.

    Attributes:
        path: the file.
        pictures: n relative paths.
        labels: [n, num_class] uint8 of 0 and 1.
        lines: [n] int, the line each picture stands in, counted from 1.
    """

    path: Path
    pictures: tuple[str, ...]
    labels: np.ndarray
    lines: np.ndarray


def read_list(path: Path, num_class: int) -> ImageList:
    """Reads a list file (design: a line is a relative path, then `num_class` labels).

    A path may hold spaces; blank lines are passed over.

    Args:
        path: the file, UTF-8 text.
        num_class: labels a line.

    Raises:
        UserError: the file is missing, empty or not text, or a line has no path or another number
            of labels; the message names the line.
    """
    pictures, labels, lines = [], [], []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        picture, row = split_line(line, num_class, path, number)
        pictures.append(picture)
        labels.append(row)
        lines.append(number)
    if not pictures:
        raise UserError(f"{path}: the list is empty; expected lines of a path and 0/1 labels")
    matrix = np.frombuffer(b"".join(labels), dtype=np.uint8).reshape(len(pictures), num_class)
    return ImageList(path, tuple(pictures), matrix - ord("0"), np.array(lines))


def check_inside(image_list: ImageList) -> None:
    """Refuses a list whose paths lead out of the picture folder by what they say.

    Links inside the folder are followed, wherever they lead: its owner has put them there.

    Raises:
        UserError: a path is absolute, or its `..` leave the folder; the message names the line.
    """
    for picture, line in zip(image_list.pictures, image_list.lines):
        if not (".." in picture or os.path.isabs(picture) or os.path.splitdrive(picture)[0]):
            continue
        drive, path = os.path.splitdrive(os.path.normpath(picture))
        if drive or os.path.isabs(path) or path.split(os.sep)[0] == os.pardir:
            raise UserError(
                f"{image_list.path}, line {line}: {picture!r} leads out of the picture folder; "
                "expected a path below it (--allow-outside admits others)"
            )


def read_lines(path: Path) -> list[str]:
    """A list file's lines, without their ends.

    Raises:
        UserError: the file is missing, cannot be read or is not UTF-8 text.
    """
    try:
        content = path.read_bytes()
        if b"\0" in content:  # no path can hold one: it is told as a byte that is no text
            content.replace(b"\0", b"\xff").decode()
        return content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: the list file is missing; --list-path names the folder of the lists, "
            "--dataset another data set"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text") from error


def split_line(line: str, num_class: int, path: Path, number: int) -> tuple[str, bytes]:
    """The path and the labels of a line that is not blank.

    Args:
        line: the line without its end.
        num_class: labels a line.
        path: the list file, for the message.
        number: the line's number, for the message.

    Returns:
        The picture's path, and its labels as `num_class` characters, 0 or 1.

    Raises:
        UserError: the line has no path or another number of labels.
    """
    return _fast_split(line, num_class) or _split(line, num_class, path, number)


def _fast_split(line: str, num_class: int) -> tuple[str, bytes] | None:
    """The usual line (one space between 0/1 labels) without a loop over labels, else None.

    The large lists have 9 million labels.
    """
    tail = line[-2 * num_class :]
    picture, digits, spaces = line[: -2 * num_class], tail[1::2], tail[0::2]
    if spaces != " " * num_class or digits.strip("01"):
        return None
    if not picture or picture != picture.strip() or picture.split()[-1] in ("0", "1"):
        return None
    return picture, digits.encode()


def _split(line: str, num_class: int, path: Path, number: int) -> tuple[str, bytes]:
    words = line.split()
    count = 0
    while count < len(words) and words[-1 - count] in ("0", "1"):
        count += 1
    where = f"{path}, line {number}"
    if count == len(words):
        raise UserError(f"{where}: expected a picture's path and then {num_class} labels")
    if count != num_class:
        before = words[-1 - count]
        odd = f" behind {before!r}" if count else f"; the line ends with {before[:40]!r}"
        raise UserError(f"{where}: expected {num_class} labels of 0 or 1, found {count}{odd}")
    picture = line.strip().rsplit(None, num_class)[0]
    return picture, "".join(words[-num_class:]).encode()
