"""CIFAR-10: the official archive's layout, and splits drawn as the literature does."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest
import yaml

from utils.datasets import open_splits
from utils.datasets.cifar10 import ARCHIVE, read_archive, split_rows
from utils.datasets.info import read_card
from utils.system.errors import UserError

PER_CLASS = 12
NAMES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
CLASSES = np.arange(120) * 7 % 10


def write_archive(folder, names=NAMES):
    """An archive like the official one with 20 pictures a part.

    Every picture of class c has red 10 c, green 100 and its number as blue.
    """
    planes = np.zeros((120, 3, 32 * 32), dtype=np.uint8)
    planes[:, 0] = 10 * CLASSES[:, None]
    planes[:, 1] = 100
    planes[:, 2] = np.arange(120)[:, None]
    with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
        for part, name in enumerate(names):
            rows = slice(20 * part, 20 * part + 20)
            labels = CLASSES[rows].tolist()
            batch = {b"data": planes[rows].reshape(20, -1), b"labels": labels}
            content = pickle.dumps(batch, protocol=2)
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
    """Train, test and database: 4 training pictures and 2 queries a class."""
    protocol = {"train_per_class": 4, "test_per_class": 2, "database": database}
    entries = {"name": "tiny", "kind": "cifar10", "num_class": 10, "topK": -1, "data_path": "."}
    card_text = yaml.safe_dump({**entries, "resize": "square", "protocol": protocol})
    (folder / "dataset.yaml").write_text(card_text)
    names = ["train", "test", "database"]
    return open_splits(read_card(str(folder)), names, str(folder), seed=seed)


def names_of(split):
    """What the pictures of a split are called."""
    return [split.pictures.name(row) for row in range(len(split))]


def test_the_archive_s_pictures_come_in_rgb_with_their_classes_training_part_first(folder):
    pictures, classes = read_archive(folder)
    assert pictures.shape == (120, 32, 32, 3) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(classes, CLASSES)
    expected = np.stack([10 * CLASSES, np.full(120, 100), np.arange(120)], axis=1)
    assert (pictures == expected[:, None, None]).all()


@pytest.mark.parametrize(("database", "per_class"), [("rest", 6), ("rest+train", 10), ("train", 4)])
def test_splits_have_the_protocol_s_numbers_a_class_and_share_no_query(folder, database, per_class):
    train, test, base = splits_of(folder, database)
    for split, count in ((train, 4), (test, 2), (base, per_class)):
        assert split.labels.sum(0).tolist() == [count] * 10
        assert (split.labels.sum(1) == 1).all() and split.labels.dtype == np.uint8
        assert len(set(names_of(split))) == len(split)
    queries, trained, stored = (set(names_of(split)) for split in (test, train, base))
    assert not queries & trained and not queries & stored
    assert (trained <= stored) == (database != "rest")
    assert (trained.isdisjoint(stored)) == (database == "rest")
    if database != "train":
        assert len(queries | trained | stored) == 120


def test_a_split_s_pictures_are_of_the_class_of_their_labels(folder):
    for split in splits_of(folder, "rest"):
        for row in range(len(split)):
            red, green, blue = split.pictures.open(row).getpixel((5, 5))
            assert split.labels[row, red // 10] == 1 and green == 100
            assert split.pictures.name(row) == f"cifar10/{blue:05d}.png"


def test_the_seed_alone_decides_the_draw(folder):
    first, again, other = (splits_of(folder, "rest", seed) for seed in (1, 1, 2))
    for one, two, three in zip(first, again, other):
        assert names_of(one) == names_of(two) != names_of(three)
        assert one.origin == two.origin != three.origin


def test_all_database_variants_of_a_seed_have_the_same_queries(folder):
    queries = [names_of(splits_of(folder, kind)[1]) for kind in ("rest", "rest+train", "train")]
    assert queries[0] == queries[1] == queries[2]


def test_a_class_with_too_few_pictures_is_told():
    with pytest.raises(UserError, match="class 0: 12 pictures, the protocol takes 13"):
        split_rows(CLASSES, 10, 3, "rest", seed=0)


def test_a_missing_archive_is_told_with_its_source(tmp_path):
    with pytest.raises(UserError, match=f"{ARCHIVE}: missing; get .*https://"):
        read_archive(tmp_path)


@pytest.mark.parametrize("fault", ["text", "half", "other files"])
def test_a_broken_archive_is_told_in_one_line(tmp_path, fault):
    write_archive(tmp_path, names=["readme"] if fault == "other files" else NAMES)
    archive = tmp_path / ARCHIVE
    if fault == "text":
        archive.write_text("not an archive")
    if fault == "half":
        archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(UserError, match=f"{ARCHIVE}: not CIFAR-10's archive") as error:
        read_archive(tmp_path)
    assert "\n" not in str(error.value)
