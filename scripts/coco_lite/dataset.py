"""The whole data set: which picture has which number and theme, the files and their lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.coco_lite.chance import Chance
from scripts.coco_lite.composition import Drawn, draw_picture
from scripts.coco_lite.themes import THEMES
from scripts.coco_lite.things import CLASSES
from utils.system.files import replacing

SEED = 2107
QUALITY = 80

TRAIN, EXTRA, QUERY = 128, 32, 32
"""Pictures to train with; more of the database; queries. The database is the first two."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A picture before it is drawn: its number, its file below the picture folder, its theme."""

    number: int
    path: str
    theme: str

    def draw(self) -> Drawn:
        """Draws the picture, the same on every call."""
        return draw_picture(self.theme, Chance(SEED, self.number))


def entries() -> dict[str, list[Entry]]:
    """The pictures of the lists `train`, `test` and `database`, each theme equally often."""
    train = _entries("train2014", 1, TRAIN)
    extra = _entries("train2014", 1 + TRAIN, EXTRA // 2)
    extra += _entries("val2014", 1 + TRAIN + EXTRA // 2, EXTRA - EXTRA // 2)
    test = _entries("val2014", 1 + TRAIN + EXTRA, QUERY)
    return {"train": train, "test": test, "database": train + extra}


def write_pictures(folder: Path) -> Iterator[tuple[Entry, tuple[str, ...]]]:
    """Draws and saves every picture once.

    Args:
        folder: the picture folder; `train2014` and `val2014` are made below it.

    Yields:
        Each picture's entry and the names of the things in it, once its file is there.

    Raises:
        UserError: a file cannot be written.
    """
    lists = entries()
    for entry in lists["database"] + lists["test"]:
        drawn = entry.draw()
        with replacing(folder / entry.path) as path:
            drawn.picture.save(path, "JPEG", quality=QUALITY, optimize=True)
        yield entry, drawn.names


def write_lists(folder: Path, names: dict[str, tuple[str, ...]]) -> None:
    """Writes `train.txt`, `test.txt` and `database.txt`: a path and 80 labels of 0 and 1 a line.

    Args:
        folder: where to.
        names: picture path → the names of the things in it.

    Raises:
        UserError: a file cannot be written.
    """
    for name, members in entries().items():
        lines = [f"{entry.path} {_labels(names[entry.path])}\n" for entry in members]
        with replacing(folder / f"{name}.txt") as path:
            path.write_bytes("".join(lines).encode())


def _labels(names: Sequence[str]) -> str:
    return " ".join(str(int(name in names)) for name in CLASSES)


def _entries(folder: str, first: int, count: int) -> list[Entry]:
    """Numbered pictures; of any eight in a row that start at one more than 8k, no theme repeats."""
    made = []
    for number in range(first, first + count):
        block, place = divmod(number - 1, len(THEMES))
        theme = Chance(SEED, 0, block).shuffled(list(THEMES))[place]
        made.append(Entry(number, f"{folder}/COCO_{folder}_{number:012d}.jpg", theme))
    return made
