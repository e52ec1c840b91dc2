"""Splits: which images, with which labels, where they come from, and how they are found again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import drawn_image, write_data_set
from PIL import Image

from utils.datasets import open_splits, positions_in_database, unlisted_images
from utils.datasets.images import ImageArray, ImageFiles
from utils.datasets.info import read_dataset_info
from utils.system.errors import UserError


def open_train(folder, name="train", **options):
    """A split of a folder that holds the list and the images."""
    if not (folder / "dataset.yaml").exists():  # another process may be reading it
        entries = {"name": "small", "num_class": 3, "topK": -1, "data_path": "."}
        (folder / "dataset.yaml").write_text(yaml.safe_dump(entries))
    return open_splits(read_dataset_info(str(folder)), [name], str(folder), **options)[0]


def test_a_split_knows_where_its_images_and_labels_come_from(tmp_path):
    path = write_data_set(tmp_path, rows=3)
    split = open_train(tmp_path)
    assert len(split) == 3 and split.name == "train"
    assert split.images.names[2] == str(tmp_path / "picture 2.png")
    assert split.images.open(2).tobytes() == drawn_image(48, 40, seed=2).tobytes()
    assert split.origin["list"] == "train.txt" and len(split.origin["list_sha256"]) == 64
    path.write_text(path.read_text().replace("picture 2", "picture 1"))
    assert open_train(tmp_path).origin["list_sha256"] != split.origin["list_sha256"]


@pytest.mark.parametrize("name", ["none", "x" * 300, "a\0b"])
def test_a_missing_image_folder_is_told_with_the_flag(tmp_path, name):
    with pytest.raises(UserError, match="image folder is missing; --data-path"):
        open_splits(read_dataset_info("coco_lite"), ["train"], str(tmp_path / name))


def test_a_list_that_leaves_the_folder_needs_leave(tmp_path):
    (tmp_path / "train.txt").write_text("../a.png 1 0 0\n")
    with pytest.raises(UserError, match=r"train\.txt, line 1: .*--allow-outside"):
        open_train(tmp_path)
    assert len(open_train(tmp_path, allow_outside=True)) == 1


def test_a_subset_has_the_images_labels_and_places_of_its_indices(tmp_path):
    write_data_set(tmp_path, rows=5)
    split = open_train(tmp_path)
    some = split.subset(np.array([1, 4]))
    assert len(some) == 2 and some.origin == split.origin
    assert some.indices.tolist() == [1, 4] and split.indices is None
    np.testing.assert_array_equal(some.labels, split.labels[[1, 4]])
    assert some.images.names[1] == split.images.names[4]
    assert some.images.key(1) == split.images.key(4)
    assert some.images.open(1).tobytes() == split.images.open(4).tobytes()
    copied = some.images.copy(1, tmp_path / "copies")
    assert copied.read_bytes() == Path(split.images.names[4]).read_bytes()
    assert split.subset(np.arange(5)) is split


def test_queries_are_found_in_the_database_by_path_however_it_is_written(tmp_path):
    (tmp_path / "test.txt").write_text("a.png 1 0 0\n./b.png 1 0 0\nc.png 1 0 0\n")
    (tmp_path / "database.txt").write_text("x/../b.png 0 0 0\nd.png 0 0 0\na.png 0 0 0\n")
    queries, database = (open_train(tmp_path, name) for name in ("test", "database"))
    assert positions_in_database(queries, database).tolist() == [2, 0, -1]
    assert positions_in_database(queries, database).dtype == np.int64


def test_unlisted_images_have_no_labels_and_name_their_source(tmp_path):
    split = unlisted_images([str(tmp_path / "none.jpg")], "--img")
    assert (len(split), split.labels.shape, split.name) == (1, (1, 0), "query")
    with pytest.raises(UserError, match=r"none\.jpg: missing; named in --img"):
        split.images.open(0)


def test_a_copy_is_written_beside_another_file_of_its_name(tmp_path):
    folder, other = tmp_path / "copies", tmp_path / "other"
    other.mkdir()
    names = [str(tmp_path / "a.png"), str(other / "a.png")]
    for number, name in enumerate(names):
        drawn_image(4, 4, seed=number).save(name)
    images = ImageFiles(names, "a test")
    copies = [images.copy(index, folder) for index in (0, 1, 0, 1)]
    assert copies == [folder / "a.png", folder / "a_2.png"] * 2
    assert [copy.read_bytes() for copy in copies[:2]] == [Path(n).read_bytes() for n in names]
    pixels = np.random.default_rng(1).integers(0, 256, (1, 5, 4, 3), np.uint8)
    copy = ImageArray(pixels, ["made/a.png"]).copy(0, folder)
    assert copy == folder / "a_3.png"
    np.testing.assert_array_equal(np.asarray(Image.open(copy)), pixels[0])
