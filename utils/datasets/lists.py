"""List files: one image a line, its relative path and then its 0/1 labels."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.system.errors import UserError
from utils.system.files import leaves_folder, open_untrusted

MAX_LIST, MAX_PATH = 1 << 32, 4096
"""Bytes of a list file, and characters of a path in it, at most."""


@dataclass(frozen=True)
class ImageList:
    """A list file's content, in the file's order.

    Attributes:
        source: the file, or what else names the images.
        paths: n relative paths.
        labels: [n, num_class] uint8 of 0 and 1.
        lines: [n] int, the line each image stands in, counted from 1.
        sha256: of the file's bytes; empty where there is none.
        faults: what is wrong with each line that was passed over (`skip_faults`).
    """

    source: str
    paths: tuple[str, ...]
    labels: np.ndarray
    lines: np.ndarray
    sha256: str = ""
    faults: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


def read_list(
    path: Path, num_class: int, skip_faults: bool = False, unlabelled: bool = False
) -> ImageList:
    """Reads a list file: a line is a relative path, which may hold spaces, then `num_class` labels.

    Where `unlabelled`, a line may be the path alone; its labels are all 0 then. With `skip_faults`,
    lines without a path or with another number of labels are set aside. Raises a `UserError` where
    the file is missing, empty or not UTF-8 text, or a line is faulty; it names the line.
    """
    hint = "--list-path names the folder of the lists, --dataset another data set"
    with open_untrusted(path, "a list of images", MAX_LIST, hint) as file:
        content = file.read()
    paths, labels, lines, faults = [], [], [], []
    for number, line in enumerate(_lines_of(content, path), 1):
        if not line.strip():
            continue
        try:
            if len(line) > MAX_PATH + 4 * num_class:
                raise ValueError(f"it has {len(line):,} characters")
            image, row = _fast_split(line, num_class) or _split(line, num_class, unlabelled)
        except ValueError as error:
            faults.append(f"{path}, line {number}: {error}")
            if not skip_faults:
                raise UserError(faults[0]) from error
            continue
        paths.append(image)
        labels.append(row)
        lines.append(number)
    if not paths:
        cause = faults[0] if faults else f"{path}: the list is empty"
        raise UserError(f"{cause}; expected lines of a path and {num_class} labels of 0 or 1")
    matrix = np.zeros((len(paths), num_class), np.uint8)  # unknown labels take no memory
    known = np.frombuffer(b"".join(labels), np.uint8).reshape(-1, num_class)
    matrix[list(map(bool, labels))] = known - ord("0")
    sha256 = hashlib.sha256(content).hexdigest()
    return ImageList(str(path), tuple(paths), matrix, np.array(lines), sha256, tuple(faults))


def check_inside(images: ImageList) -> None:
    """Raises a `UserError` for a path that is absolute or whose `..` leave the image folder.

    Links inside the folder are followed, wherever they lead: its owner has put them there.
    """
    for path, line in zip(images.paths, images.lines):
        if leaves_folder(path):
            raise UserError(
                f"{images.source}, line {line}: {path!r} leads out of the image folder; "
                "expected a path below it (--allow-outside admits others)"
            )


def positions(paths: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """The first place of each path among others: [n] int64, -1 for nowhere; ./a.jpg is a.jpg."""
    first: dict[str, int] = {}
    for place, path in enumerate(others):
        first.setdefault(os.path.normpath(path), place)
    return np.array([first.get(os.path.normpath(path), -1) for path in paths], np.int64)


def _lines_of(content: bytes, path: Path) -> list[str]:
    try:
        content = content.replace(b"\0", b"\xff")  # no path can hold one: told as no text
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text") from error


def _fast_split(line: str, num_class: int) -> tuple[str, bytes] | None:
    """The usual line (one space between 0/1 labels) without a loop over labels, else None.

    The large lists have 9 million labels.
    """
    tail = line[-2 * num_class :]
    path, digits, spaces = line[: -2 * num_class], tail[1::2], tail[0::2]
    if spaces != " " * num_class or digits.strip("01"):
        return None
    if not path or path != path.strip() or path.split()[-1] in ("0", "1"):
        return None
    return path, digits.encode()


def _split(line: str, num_class: int, unlabelled: bool) -> tuple[str, bytes]:
    words = line.split()
    count = 0
    while count < len(words) and words[-1 - count] in ("0", "1"):
        count += 1
    if unlabelled and not count:
        return line.strip(), b""
    if count == len(words):
        raise ValueError(f"expected an image's path and then {num_class} labels")
    if count != num_class:
        before = words[-1 - count][:40]
        odd = f" behind {before!r}" if count else f"; the line ends with {before!r}"
        raise ValueError(f"expected {num_class} labels of 0 or 1, found {count}{odd}")
    path = line.strip().rsplit(None, num_class)[0]
    return path, "".join(words[-num_class:]).encode()
