"""Splits of a data set: which pictures, with which labels, and where they come from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.datasets import cifar10 as cifar
from utils.datasets.images import ChosenPictures, PictureArray, PictureFiles, Pictures
from utils.datasets.info import Card
from utils.datasets.lists import check_inside, read_list
from utils.system.errors import UserError
from utils.system.files import sha256_of_file


@dataclass(frozen=True)
class Split:
    """One of a data set's three parts.

    Attributes:
        name: 'train', 'test' (the queries) or 'database'.
        pictures: n pictures.
        labels: [n, num_class] uint8 of 0 and 1.
        origin: where the rows come from, for provenance: `list` and `list_sha256`.
        list_rows: [n] int64, the row of each in the list; None: all rows of it.
    """

    name: str
    pictures: Pictures
    labels: np.ndarray
    origin: dict[str, str]
    list_rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, rows: np.ndarray) -> Split:
        """The split of these rows of a whole list: pictures, labels and list rows alike.

        Args:
            rows: [n] int64, rising.
        """
        if len(rows) == len(self):
            return self
        pictures = ChosenPictures(self.pictures, rows)
        return replace(self, pictures=pictures, labels=self.labels[rows], list_rows=rows)


def open_splits(
    card: Card,
    names: Sequence[str],
    data_path: str,
    list_path: str | None = None,
    num_class: int | None = None,
    seed: int = 0,
    allow_outside: bool = False,
) -> list[Split]:
    """Opens parts of a data set; no picture is decoded yet.

    Args:
        card: the data set's card.
        names: which parts: 'train', 'test', 'database'.
        data_path: folder of the pictures (of the archive, for CIFAR-10).
        list_path: folder of the list files; None: the card's.
        num_class: labels a line; None: the card's.
        seed: draws CIFAR-10's splits; without effect on list files.
        allow_outside: whether a list's paths may lead out of `data_path`.

    Returns:
        The splits, in the order of `names`.

    Raises:
        UserError: a folder, list or archive is missing or wrong.
    """
    folder = Path(data_path)
    if not folder.is_dir():
        raise UserError(f"{folder}: the picture folder is missing; --data-path names it")
    if card.kind == "cifar10":
        splits = _cifar_splits(card, folder, seed)
        return [splits[name] for name in names]
    lists = Path(list_path) if list_path else card.folder
    num_class = num_class or card.num_class
    return [
        _list_split(name, folder, lists / card.lists[name], num_class, allow_outside)
        for name in names
    ]


def _list_split(name: str, folder: Path, path: Path, num_class: int, allow_outside: bool) -> Split:
    image_list = read_list(path, num_class)
    if not allow_outside:
        check_inside(image_list)
    origin = {"list": path.name, "list_sha256": sha256_of_file(path)}
    paths = [os.path.join(folder, picture) for picture in image_list.pictures]
    pictures = PictureFiles(paths, str(path), image_list.lines)
    return Split(name, pictures, image_list.labels, origin)


def own_rows(queries: Split, database: Split) -> np.ndarray:
    """Where each query stands in the database, found by its name: [n_q] int64, -1 for nowhere."""
    path = os.path.normpath  # `./a.jpg` is `a.jpg`
    row_of = {path(database.pictures.name(row)): row for row in reversed(range(len(database)))}
    names = (path(queries.pictures.name(row)) for row in range(len(queries)))
    return np.array([row_of.get(name, -1) for name in names], dtype=np.int64)


def loose_pictures(paths: Sequence[Path], source: str) -> Split:
    """Pictures of no data set, without labels.

    Args:
        paths: the files.
        source: what names them, for messages, such as a flag.
    """
    labels = np.zeros((len(paths), 0), dtype=np.uint8)
    return Split("query", PictureFiles([str(path) for path in paths], source), labels, {})


def _cifar_splits(card: Card, folder: Path, seed: int) -> dict[str, Split]:
    pictures, classes = cifar.read_archive(folder)
    one_hot = np.eye(card.num_class, dtype=np.uint8)[classes]
    splits = {}
    for name, rows in cifar.split_rows(classes, **card.protocol, seed=seed).items():
        source = PictureArray(pictures[rows], [f"cifar10/{row:05d}.png" for row in rows])
        digest = hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
        origin = {"list": f"{card.name} {name}, seed {seed}", "list_sha256": digest}
        splits[name] = Split(name, source, one_hot[rows], origin)
    return splits
