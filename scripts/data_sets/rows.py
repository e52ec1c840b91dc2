"""The rows of a list file, its faulty lines set aside instead of ending everything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.datasets.lists import read_lines, split_line
from utils.system.errors import UserError


@dataclass(frozen=True)
class Rows:
    """The rows of one of a data set's lists.

    Attributes:
        source: the list file, or what else names the rows.
        pictures: n paths, as they stand in the list.
        labels: [n, num_class] uint8 of 0 and 1.
        lines: [n] int, the line of each row, from 1.
        faults: the lines that are no rows: number and message.
    """

    source: str
    pictures: tuple[str, ...]
    labels: np.ndarray
    lines: np.ndarray
    faults: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.pictures)


def read_rows(path: Path, num_class: int) -> Rows:
    """Reads a list file; lines with another number of labels are kept as faults.

    Args:
        path: the list.
        num_class: labels a line.

    Raises:
        UserError: the file is missing, is no text or holds no row.
    """
    pictures, labels, lines, faults = [], [], [], []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            picture, row = split_line(line, num_class, path, number)
        except UserError as error:
            faults.append((number, str(error)))
            continue
        pictures.append(picture)
        labels.append(row)
        lines.append(number)
    if not pictures:
        cause = f": {faults[0][1]}" if faults else "; it is empty"
        raise UserError(f"{path}: no line of a path and {num_class} labels{cause}")
    matrix = np.frombuffer(b"".join(labels), dtype=np.uint8).reshape(len(pictures), num_class)
    return Rows(str(path), tuple(pictures), matrix - ord("0"), np.array(lines), tuple(faults))
