"""CIFAR-10 from its official archive, split as in the deep-hashing literature."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from utils.system.errors import UserError
from utils.system.files import open_untrusted
from utils.system.pickles import RefusedPickle, load_plain

ARCHIVE = "cifar-10-python.tar.gz"
SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html"
BATCHES = 6
MAX_ARCHIVE = 1 << 30
MAX_BATCH = 1 << 26
"""Bytes of the archive, and of each batch in it, at most; the true ones have 170 and 31 MB."""


def read_archive(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All 60,000 images of the archive in `folder`, its training part first.

    Returns:
        Images [n, 32, 32, 3] uint8, RGB, and classes [n] int64.

    Raises:
        UserError: the archive is missing or is not CIFAR-10's.
    """
    archive = folder / ARCHIVE
    hint = f"get {ARCHIVE} from {SOURCE} and put it there"
    with open_untrusted(archive, "CIFAR-10's archive", MAX_ARCHIVE, hint) as file:
        try:
            with tarfile.open(fileobj=file) as tar:
                batches = _read_batches(tar)
        except RefusedPickle as error:
            raise UserError(f"{archive}: refused: the archive {error}") from error
        images = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
        classes = np.concatenate([np.asarray(batch["labels"], np.int64) for batch in batches])
        if len(images) != len(classes) or not len(classes) or classes.min() < 0:
            raise ValueError(f"{len(images)} images, {len(classes)} labels")
        return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), classes


def _read_batches(tar: tarfile.TarFile) -> list[dict]:
    """The archive's batches in its own order, but those of the training part first."""
    batches: dict[str, list[dict]] = {"data_batch": [], "test_batch": []}
    for member in tar:
        for part, found in batches.items():
            if part in member.name and member.isfile():
                if member.size > MAX_BATCH:
                    raise ValueError(f"{member.name} has {member.size:,} bytes")
                if sum(map(len, batches.values())) == BATCHES:
                    raise ValueError(f"more than {BATCHES} batches")
                found.append(load_plain(tar.extractfile(member).read()))
    return [batch for part in batches.values() for batch in part]


def split_indices(
    classes: np.ndarray, train_per_class: int, test_per_class: int, database: str, seed: int
) -> dict[str, np.ndarray]:
    """Draws the queries, the training images and the database, the same number of each class.

    `classes` is [n] int, the class of each image; the rest is the protocol of `dataset.yaml`.
    Returns the indices of 'train', 'test' and 'database'; no query is in another split.
    """
    rng = np.random.default_rng(seed)
    train, test, rest = [], [], []
    for label in range(classes.max() + 1):
        drawn = rng.permutation(np.flatnonzero(classes == label))
        if len(drawn) < train_per_class + test_per_class:
            raise UserError(
                f"CIFAR-10 class {label}: {len(drawn)} images, the protocol takes "
                f"{train_per_class + test_per_class}"
            )
        test.append(drawn[:test_per_class])
        train.append(drawn[test_per_class : test_per_class + train_per_class])
        rest.append(drawn[test_per_class + train_per_class :])
    parts = {"rest": rest, "rest+train": train + rest, "train": train}
    splits = {"train": train, "test": test, "database": parts[database]}
    return {name: np.concatenate(part) for name, part in splits.items()}
