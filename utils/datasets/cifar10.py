"""CIFAR-10 from its official archive, split as in the deep-hashing literature."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from utils.system.errors import UserError, first_line
from utils.system.pickles import RefusedPickle, load_plain

ARCHIVE = "cifar-10-python.tar.gz"
SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def read_archive(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All 60,000 pictures of the archive, its training part first.

    Args:
        folder: holds `cifar-10-python.tar.gz`.

    Returns:
        Pictures [n, 32, 32, 3] uint8, RGB, and classes [n] int64.

    Raises:
        UserError: the archive is missing or is not CIFAR-10's.
    """
    archive = folder / ARCHIVE
    if not archive.is_file():
        raise UserError(f"{archive}: missing; get {ARCHIVE} from {SOURCE} and put it there")
    try:
        batches = _read_batches(archive)
        pictures = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
        classes = np.concatenate([np.asarray(batch[b"labels"], np.int64) for batch in batches])
        if len(pictures) != len(classes) or not len(classes) or classes.min() < 0:
            raise ValueError(f"{len(pictures)} pictures, {len(classes)} labels")
        return pictures.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), classes
    except RefusedPickle as error:
        raise UserError(f"{archive}: refused: the archive {error}") from error
    except Exception as error:  # tar, pickle and array errors of a broken archive: many kinds
        raise UserError(f"{archive}: not CIFAR-10's archive: {first_line(error)}") from error


def _read_batches(archive: Path) -> list[dict]:
    """The archive's batches in its own order, but those of the training part first."""
    batches: dict[str, list[dict]] = {"data_batch": [], "test_batch": []}
    with tarfile.open(archive) as tar:
        for member in tar:
            for part, found in batches.items():
                if part in member.name and member.isfile():
                    found.append(load_plain(tar.extractfile(member), "bytes"))
    return [batch for part in batches.values() for batch in part]


def split_rows(
    classes: np.ndarray, train_per_class: int, test_per_class: int, database: str, seed: int
) -> dict[str, np.ndarray]:
    """Draws the queries, the training pictures and the database, the same number of each class.

    Args:
        classes: [n] int, the class of each picture.
        train_per_class: training pictures of a class.
        test_per_class: queries of a class.
        database: 'rest' (neither query nor training), 'rest+train' or 'train'.
        seed: of the draw.

    Returns:
        Rows of 'train', 'test' and 'database'; no query is in another split.

    Raises:
        UserError: a class has too few pictures.
    """
    rng = np.random.default_rng(seed)
    train, test, rest = [], [], []
    for label in range(classes.max() + 1):
        rows = rng.permutation(np.flatnonzero(classes == label))
        if len(rows) < train_per_class + test_per_class:
            raise UserError(
                f"CIFAR-10 class {label}: {len(rows)} pictures, the protocol takes "
                f"{train_per_class + test_per_class}"
            )
        test.append(rows[:test_per_class])
        train.append(rows[test_per_class : test_per_class + train_per_class])
        rest.append(rows[test_per_class + train_per_class :])
    parts = {"rest": rest, "rest+train": train + rest, "train": train}
    rows = {"train": train, "test": test, "database": parts[database]}
    return {name: np.concatenate(part) for name, part in rows.items()}
