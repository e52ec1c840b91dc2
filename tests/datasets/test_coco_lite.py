"""coco_lite as it ships: images and lists as they were drawn, and a dataset.yaml that fits them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from utils.datasets.info import read_dataset_info
from utils.datasets.lists import read_list

IMAGES = "2963af72222af2d9b7a3eb9b75418c6b1ac775da21d0c9c8abb8a197b7441572"
LISTS = "2fa84865c0cc3670991356b473bc5064f58c62366fa01c641adb7a8989f9e055"


@pytest.mark.parametrize(
    ("folder", "pattern", "expected"),
    [("datasets/coco_lite", "*.*", IMAGES), ("data/coco_lite", "*.txt", LISTS)],
)
def test_images_and_lists_are_those_that_were_drawn(repository, folder, pattern, expected):
    digest, root = hashlib.sha256(), repository / folder
    for name in sorted(path.relative_to(root).as_posix() for path in root.rglob(pattern)):
        digest.update(name.encode() + b"\0" + (root / name).read_bytes())
    assert digest.hexdigest() == expected


def test_the_labels_of_the_first_image_have_the_names_of_what_is_on_it(repository):
    info = read_dataset_info("coco_lite")
    first = read_list(repository / "data/coco_lite/train.txt", info.num_class).labels[0]
    found = [info.classes[column] for column in np.flatnonzero(first)]
    assert found == ["person", "car", "truck", "bench"]
