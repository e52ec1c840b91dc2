"""Which pictures stand in several lists, or several times in one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.data_sets.rows import Rows

PAIRS = (("test", "database"), ("train", "database"), ("test", "train"))


@dataclass(frozen=True)
class Overlaps:
    """Pictures that the lists have in common; a picture is its path (`./a.jpg` is `a.jpg`).

    Attributes:
        places: for each of `PAIRS`, where each row of the first list stands in the second:
            [rows of the first] int64, -1 for nowhere.
        repeated: list → rows whose picture stands in an earlier row of the same list.
        contradictions: (list, row, list, row) of the same picture with different labels.
    """

    places: dict[tuple[str, str], np.ndarray]
    repeated: dict[str, list[int]]
    contradictions: list[tuple[str, int, str, int]]

    def shared(self, first: str, second: str) -> int:
        """How many rows of one list stand in another."""
        return int((self.places[first, second] >= 0).sum())


def find_overlaps(lists: Mapping[str, Rows]) -> Overlaps:
    """Compares the lists 'train', 'test' and 'database' by the paths in them."""
    names = {name: [os.path.normpath(p) for p in rows.pictures] for name, rows in lists.items()}
    first_rows, repeated = {}, {}
    for name in lists:
        first_rows[name], repeated[name] = _first_rows(names[name])
    places = {(a, b): _places(names[a], first_rows[b]) for a, b in PAIRS}
    return Overlaps(places, repeated, _contradictions(lists, names))


def _first_rows(names: Sequence[str]) -> tuple[dict[str, int], list[int]]:
    first: dict[str, int] = {}
    again = [row for row, name in enumerate(names) if first.setdefault(name, row) != row]
    return first, again


def _places(names: Sequence[str], first_rows: Mapping[str, int]) -> np.ndarray:
    return np.fromiter((first_rows.get(name, -1) for name in names), np.int64, len(names))


def _contradictions(
    lists: Mapping[str, Rows], names: Mapping[str, Sequence[str]]
) -> list[tuple[str, int, str, int]]:
    found = []
    first_seen: dict[str, tuple[str, int]] = {}
    for name, rows in lists.items():
        for row, picture in enumerate(names[name]):
            other, other_row = first_seen.setdefault(picture, (name, row))
            if (other, other_row) == (name, row):
                continue
            if not np.array_equal(rows.labels[row], lists[other].labels[other_row]):
                found.append((other, other_row, name, row))
    return found
