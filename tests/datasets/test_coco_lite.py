"""coco_lite as it ships: images and lists as they were drawn, and a dataset.yaml that fits them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from utils.datasets.images import open_image
from utils.datasets.info import read_dataset_info
from utils.datasets.lists import read_list

COUNTS = {"train": 128, "test": 32, "database": 160}
IMAGES = "2963af72222af2d9b7a3eb9b75418c6b1ac775da21d0c9c8abb8a197b7441572"
LISTS = "2fa84865c0cc3670991356b473bc5064f58c62366fa01c641adb7a8989f9e055"


def files_of(folder, pattern):
    """Path below the folder → file."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob(pattern)}


@pytest.fixture(scope="module")
def lists(repository):
    return {name: read_list(repository / f"data/coco_lite/{name}.txt", 80) for name in COUNTS}


@pytest.mark.parametrize(
    ("folder", "pattern", "expected"),
    [("datasets/coco_lite", "*.*", IMAGES), ("data/coco_lite", "*.txt", LISTS)],
)
def test_images_and_lists_are_those_that_were_drawn(repository, folder, pattern, expected):
    files = files_of(repository / folder, pattern)
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name].read_bytes())
    assert digest.hexdigest() == expected
    assert sum(path.stat().st_size for path in files.values()) < 4_000_000


def test_the_lists_name_each_image_and_no_other(lists, repository):
    images = files_of(repository / "datasets/coco_lite", "*.*")
    assert {name: len(set(found.paths)) for name, found in lists.items()} == COUNTS
    train, test, database = (set(lists[name].paths) for name in COUNTS)
    assert train < database and not test & database
    assert database | test == images.keys()
    assert {max(open_image(path).size) for path in images.values()} == {320}


def test_labels_fit_dataset_yaml(lists):
    info = read_dataset_info("coco_lite")
    assert (info.name, info.num_class, len(set(info.classes))) == ("coco_lite", 80, 80)
    for fact in ("Drawn, not photographed", "5443dc9", "128 training and 32", "database of 160"):
        assert fact in info.provenance
    for found in lists.values():
        per_image = found.labels.sum(1)
        assert 1 <= per_image.min() <= per_image.max() <= 4
    first = np.flatnonzero(lists["train"].labels[0])
    assert [info.classes[column] for column in first] == ["person", "car", "truck", "bench"]
    database = lists["database"].labels
    assert database.any(0).all()  # every class is there
    relevant = lists["test"].labels.astype(int) @ database.T > 0
    assert relevant.any(1).all() and 0.15 < relevant.mean() < 0.3
