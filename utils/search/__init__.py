"""Search: query codes against database codes, and what is known of the pictures found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.codes import nearest
from utils.datasets import Split
from utils.system.errors import UserError

PICTURE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Match:
    """A database picture that a query has found.

    Attributes:
        rank: from 1; equal distances stand in database order.
        distance: Hamming distance of the codes.
        row: the picture's row in the database list, from 0.
        picture: its path.
        relevant: whether it shares a label with the query; None where the query's are not known.
    """

    rank: int
    distance: int
    row: int
    picture: str
    relevant: bool | None

    def as_dict(self) -> dict:
        """Plain JSON values."""
        return asdict(self)


def find_pictures(names: Sequence[str]) -> list[Path]:
    """Picture files that the user names: files as they are, folders as the pictures in them.

    Args:
        names: paths of files and folders.

    Returns:
        Paths in the order named; a folder's pictures, not those of its folders, by name.

    Raises:
        UserError: a path is missing, or a folder holds no picture.
    """
    found: list[Path] = []
    for path in map(Path, names):
        if path.is_dir():
            inside = [
                p for p in path.iterdir() if p.is_file() and p.suffix.lower() in PICTURE_ENDINGS
            ]
            if not inside:
                raise UserError(f"{path}: the folder holds no picture")
            found += sorted(inside)
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: the picture is missing")
    return found


def known_labels(pictures: Sequence[Path], splits: Sequence[Split]) -> list[np.ndarray | None]:
    """The labels of pictures that stand in a data set's lists, found by their paths.

    Args:
        pictures: paths.
        splits: where to look, in this order.

    Returns:
        For each picture its labels, [num_class] uint8, or None.
    """
    wanted = {path.resolve(): None for path in pictures}
    names = {path.name for path in wanted}
    for split in splits:
        for row in range(len(split)):
            path = Path(split.pictures.name(row))
            if path.name in names and wanted.get(path.resolve(), 0) is None:
                wanted[path.resolve()] = split.labels[row]
    return [wanted[path.resolve()] for path in pictures]


def search(
    query_codes: np.ndarray,
    query_labels: Sequence[np.ndarray | None],
    database_codes: np.ndarray,
    database: Split,
    topk: int,
) -> list[list[Match]]:
    """The nearest database pictures of each query, by (distance, database row).

    Args:
        query_codes: packed codes, uint8 [n_q, bit / 8].
        query_labels: for each query its labels, [num_class], or None.
        database_codes: packed codes, uint8 [n, bit / 8].
        database: the pictures of the codes' rows.
        topk: how many to find; all where the database has fewer.

    Returns:
        For each query its matches, nearest first.

    Raises:
        UserError: codes of different lengths, or other rows than the database has.
    """
    if len(database_codes) != len(database):
        raise UserError(f"{len(database_codes)} database codes for {len(database)} pictures")
    distances, rows = nearest(query_codes, database_codes, topk)
    list_rows = np.arange(len(database)) if database.list_rows is None else database.list_rows
    return [
        [
            Match(
                rank=rank,
                distance=int(distance),
                row=int(list_rows[row]),
                picture=database.pictures.name(int(row)),
                relevant=None if labels is None else bool((labels & database.labels[row]).any()),
            )
            for rank, (distance, row) in enumerate(zip(*found), 1)
        ]
        for labels, *found in zip(query_labels, distances, rows)
    ]
