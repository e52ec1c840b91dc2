"""CIFAR-10: the official archive's layout, and splits drawn as the literature does."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
import yaml

from utils.datasets import open_splits
from utils.datasets.cifar10 import ARCHIVE, read_archive, split_indices
from utils.datasets.info import read_dataset_info
from utils.system.errors import UserError

NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
CLASSES = np.arange(120) * 7 % 10


def write_archive(folder, names=NAMES, **changes):
    """An archive like the official one with 20 images a part, some of a batch's values changed.

    Every image of class c has red 10 c, green 100 and its number as blue.
    """
    planes = np.zeros((120, 3, 32 * 32), dtype=np.uint8)
    planes[:, 0] = 10 * CLASSES[:, None]
    planes[:, 1] = 100
    planes[:, 2] = np.arange(120)[:, None]
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for part, name in enumerate(names):
            rows = slice(20 * (part % 6), 20 * (part % 6) + 20)
            batch = {"data": planes[rows].reshape(20, -1), "labels": CLASSES[rows].tolist()}
            content = pickle.dumps({**batch, **changes}, protocol=2)
            entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small archive."""
    path = tmp_path_factory.mktemp("cifar10")
    write_archive(path)
    return path


def splits_of(folder, database, seed=0):
    """Train, test and database: 4 training images and 2 queries a class."""
    protocol = {"train_per_class": 4, "test_per_class": 2, "database": database}
    entries = {"name": "tiny", "kind": "cifar10", "num_class": 10, "topK": -1, "data_path": "."}
    text = yaml.safe_dump({**entries, "resize": "square", "protocol": protocol})
    (folder / "dataset.yaml").write_text(text)
    names = ["train", "test", "database"]
    return open_splits(read_dataset_info(str(folder)), names, str(folder), seed=seed)


def names_of(split):
    """What the images of a split are called."""
    return list(split.images.names)


@pytest.mark.parametrize("layout", ["official", "repacked", "unpacked", "batches alone"])
def test_the_images_come_in_rgb_with_their_classes_in_the_batches_order(tmp_path, layout):
    write_archive(tmp_path)
    if layout != "official":
        with tarfile.open(tmp_path / ARCHIVE) as archive:
            archive.extractall(tmp_path)
        (tmp_path / ARCHIVE).unlink()
    unpacked = tmp_path / "cifar-10-batches-py"
    if layout == "repacked":
        with tarfile.open(tmp_path / ARCHIVE, "w:gz") as archive:
            for name in reversed(NAMES):
                archive.add(unpacked / name, f"./{name}")
        shutil.rmtree(unpacked)
    folder = unpacked if layout == "batches alone" else tmp_path
    images, classes = read_archive(folder)
    assert images.shape == (120, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(classes, CLASSES)
    expected = np.stack([10 * CLASSES, np.full(120, 100), np.arange(120)], axis=1)
    assert (images == expected[:, None, None]).all()
    if layout == "unpacked":
        (unpacked / "data_batch_4").unlink()
        with pytest.raises(UserError, match=r"batches-py: incomplete: data_batch_4 missing; get"):
            read_archive(tmp_path)


@pytest.mark.parametrize(("database", "per_class"), [("rest", 6), ("rest+train", 10), ("train", 4)])
def test_splits_have_the_protocol_s_numbers_a_class_and_share_no_query(folder, database, per_class):
    train, test, base = splits_of(folder, database)
    for split, count in ((train, 4), (test, 2), (base, per_class)):
        assert split.labels.sum(0).tolist() == [count] * 10
        assert (split.labels.sum(1) == 1).all() and split.labels.dtype == np.uint8
        for index, name in enumerate(names_of(split)):
            red, green, blue = split.images.open(index).getpixel((5, 5))
            assert split.labels[index, red // 10] == 1 and green == 100
            assert name == f"cifar10/{blue:05d}.png"
    queries, trained, stored = (set(names_of(split)) for split in (test, train, base))
    assert (len(queries), len(trained), len(stored)) == (20, 40, 10 * per_class)
    assert not queries & trained and not queries & stored
    assert trained.isdisjoint(stored) if database == "rest" else trained <= stored
    assert names_of(splits_of(folder, "rest")[1]) == names_of(test), "the same queries for all"


def test_the_seed_alone_decides_the_draw(folder):
    first, again, other = (splits_of(folder, "rest", seed) for seed in (1, 1, 2))
    for one, two, three in zip(first, again, other):
        assert names_of(one) == names_of(two) != names_of(three)
        assert one.origin == two.origin != three.origin


def test_a_class_with_too_few_images_is_told():
    with pytest.raises(UserError, match="class 0: 12 images, the protocol takes 13"):
        split_indices(CLASSES, 10, 3, "rest", seed=0)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (os.unlink, "missing; get .*https://"),
        (lambda path: path.write_text("a text"), "not CIFAR-10's archive"),
        (lambda path: os.truncate(path, 1000), "not CIFAR-10's archive"),
        ({"names": [*NAMES, NAMES[0]]}, "not CIFAR-10's archive: data_batch_1 .* stands twice"),
        ({"labels": [1, 2]}, "not CIFAR-10's archive: uint8 images .* with 2 labels"),
        ({"labels": [10] * 20}, "not CIFAR-10's archive: its labels are not from 0 to 9"),
        ({"names": NAMES[1:]}, "incomplete: data_batch_1 missing"),
        ({"data": os.system}, r"not CIFAR-10's archive: refused: it asks for posix\.system"),
    ],
)
def test_a_broken_archive_is_told_in_one_line(tmp_path, made, message):
    write_archive(tmp_path, **(made if isinstance(made, dict) else {}))
    if callable(made):
        made(tmp_path / ARCHIVE)
    with pytest.raises(UserError, match=f"{ARCHIVE}: {message}") as error:
        read_archive(tmp_path)
    assert "\n" not in str(error.value)
