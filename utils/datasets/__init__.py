"""Splits of a data set: which images, with which labels, and where they come from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from utils.datasets import cifar10
from utils.datasets.images import ImageArray, ImageFiles
from utils.datasets.info import DatasetInfo
from utils.datasets.lists import check_inside, positions, read_list
from utils.system.errors import UserError


@dataclass(frozen=True)
class Split:
    """One of a data set's three parts.

    Attributes:
        name: 'train', 'test' (the queries) or 'database'.
        images: n images.
        labels: [n, num_class] uint8 of 0 and 1; none of a database image is 1 where they are not
            known.
        origin: what the images are listed in, for provenance: `list` and `list_sha256`.
        indices: [n] int64, the place of each image in the list; None: all of the list.
    """

    name: str
    images: ImageFiles | ImageArray
    labels: np.ndarray
    origin: dict[str, str]
    indices: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: np.ndarray) -> Split:
        """The split of some images of a whole list; their indices are rising."""
        if len(indices) == len(self):
            return self
        images, labels = self.images.subset(indices), self.labels[indices]
        return replace(self, images=images, labels=labels, indices=indices)


def open_splits(
    info: DatasetInfo,
    names: Sequence[str],
    data_path: str,
    list_path: str | None = None,
    num_class: int | None = None,
    seed: int = 0,
    allow_outside: bool = False,
) -> list[Split]:
    """Opens splits of a data set, in the order of `names`; no image is decoded yet.

    One argument more than six, since each is a flag that changes which images are found.

    Args:
        info: what the data set is.
        names: which splits: 'train', 'test', 'database'.
        data_path: folder of the images (of the archive, for CIFAR-10).
        list_path: folder of the list files; None: the data set's.
        num_class: labels a line; None: the data set's.
        seed: draws CIFAR-10's splits; without effect on list files.
        allow_outside: whether a list's paths may lead out of `data_path`.

    Raises:
        UserError: a folder, list or archive is missing or wrong.
    """
    folder = Path(data_path)
    if not os.path.isdir(folder):  # Path.is_dir raises where a name is too long
        raise UserError(f"{folder}: the image folder is missing; --data-path names it")
    if info.kind == "cifar10":
        splits = _cifar10_splits(info, folder, seed)
        return [splits[name] for name in names]
    lists = Path(list_path) if list_path else info.folder
    opened = []
    for name in names:
        if name not in info.lists:
            raise UserError(f"{info.name}: has no {name} list: it can be searched, no more")
        path = lists / info.lists[name]
        found = read_list(path, num_class or info.num_class, unlabelled=name == "database")
        if not allow_outside:
            check_inside(found)
        images = ImageFiles([os.path.join(folder, p) for p in found.paths], str(path), found.lines)
        origin = {"list": path.name, "list_sha256": found.sha256}
        opened.append(Split(name, images, found.labels, origin))
    return opened


def positions_in_database(queries: Split, database: Split) -> np.ndarray:
    """Where each query stands in the database, found by its name: [n_q] int64, -1 for nowhere."""
    return positions(queries.images.names, database.images.names)


def unlisted_images(paths: Sequence[str], source: str) -> Split:
    """Images of no data set, without labels; `source`, such as a flag, names them in messages."""
    labels = np.zeros((len(paths), 0), dtype=np.uint8)
    return Split("query", ImageFiles(paths, source), labels, {})


def _cifar10_splits(info: DatasetInfo, folder: Path, seed: int) -> dict[str, Split]:
    pixels, classes = cifar10.read_archive(folder)
    one_hot = np.eye(info.num_class, dtype=np.uint8)[classes]
    splits = {}
    for name, drawn in cifar10.split_indices(classes, **info.protocol, seed=seed).items():
        images = ImageArray(pixels[drawn], [f"cifar10/{index:05d}.png" for index in drawn])
        digest = hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest()
        origin = {"list": f"{info.name} {name}, seed {seed}", "list_sha256": digest}
        splits[name] = Split(name, images, one_hot[drawn], origin)
    return splits
