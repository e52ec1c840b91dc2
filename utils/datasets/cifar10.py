"""CIFAR-10 from its official archive, split as in the deep-hashing literature."""

from __future__ import annotations

import gzip
import io
import itertools
import tarfile
from pathlib import Path

import numpy as np

from utils.system.errors import UserError
from utils.system.files import open_untrusted
from utils.system.pickles import load_plain

ARCHIVE = "cifar-10-python.tar.gz"
NUM_CLASS = 10
_HINT = f"get {ARCHIVE} from https://www.cs.toronto.edu/~kriz/cifar.html and put it there"
NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
MAX_ARCHIVE = 1 << 30
MAX_UNPACKED = 1 << 28
MAX_BATCH = 1 << 26
"""Bytes of the archive, of it unpacked, and of each batch, at most; true ones: 170, 186, 31 MB."""
_MAX_MEMBERS = 1000


def read_archive(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All 60,000 images of the archive in `folder`, or of it unpacked there, in the batches' order.

    Returns images [n, 32, 32, 3] uint8, RGB, and classes [n] int64. Raises a `UserError` where the
    archive is missing or is not CIFAR-10's.
    """
    unpacked = folder if (folder / NAMES[0]).exists() else folder / "cifar-10-batches-py"
    where = unpacked if unpacked.is_dir() else folder / ARCHIVE
    batches = _read_folder(where) if where.is_dir() else _read_tar(where)
    missing = [name for name in NAMES if name not in batches]
    if missing:
        raise UserError(f"{where}: incomplete: {', '.join(missing)} missing; {_HINT}")
    images, classes = map(np.concatenate, zip(*map(batches.get, NAMES)))
    return images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), classes


def _read_folder(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    batches = {}
    for path in filter(Path.exists, map(folder.joinpath, NAMES)):
        with open_untrusted(path, "a batch of CIFAR-10", MAX_BATCH, _HINT) as file:
            batches[path.name] = _load(file.read())
    return batches


def _read_tar(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    batches = {}
    with open_untrusted(path, "CIFAR-10's archive", MAX_ARCHIVE, _HINT) as file:
        content = io.BytesIO(gzip.GzipFile(fileobj=file).read(MAX_UNPACKED + 1))
        if content.getbuffer().nbytes > MAX_UNPACKED:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED:,} bytes")
        with tarfile.open(fileobj=content, mode="r:") as tar:
            for member in itertools.islice(tar, _MAX_MEMBERS):
                name = member.name.rpartition("/")[2]
                if name in NAMES and member.isfile():
                    if member.size > MAX_BATCH or name in batches:
                        raise ValueError(f"{name} has {member.size:,} bytes, or stands twice")
                    batches[name] = _load(tar.extractfile(member).read())
    return batches


def _load(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """A batch's images [n, 3072] uint8 and classes [n] int64."""
    batch = load_plain(content)
    images, classes = np.asarray(batch["data"]), np.asarray(batch["labels"])
    if images.dtype != np.uint8 or images.shape != (*classes.shape, 3 * 32 * 32):
        raise ValueError(f"{images.dtype} images {images.shape} with {classes.size} labels")
    if classes.dtype.kind != "i" or not 0 <= classes.min() <= classes.max() < NUM_CLASS:
        raise ValueError(f"its labels are not from 0 to {NUM_CLASS - 1}")
    return images, classes


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
