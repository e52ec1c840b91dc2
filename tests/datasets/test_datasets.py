"""Splits, pictures and batches: the same order and pixels whatever the number of workers."""

from __future__ import annotations

import ast

import numpy as np
import pytest
import yaml
from conftest import drawn_picture, write_data_set
from PIL import Image

from utils.datasets import open_splits
from utils.datasets.images import open_picture
from utils.datasets.info import read_card
from utils.datasets.loader import Batches, Loading, derived_seed
from utils.datasets.transforms import CenterCrop, RandomCropFlip
from utils.system.errors import UserError

ROWS, BATCH = 10, 4


def open_train(folder):
    """The training split of a folder that holds card, list and pictures."""
    entries = {"name": "small", "num_class": 3, "topK": -1, "data_path": "."}
    (folder / "dataset.yaml").write_text(yaml.safe_dump(entries))
    (split,) = open_splits(read_card(str(folder)), ["train"], str(folder))
    return split


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Ten small pictures with three labels each."""
    folder = tmp_path_factory.mktemp("small")
    write_data_set(folder, rows=ROWS)
    return open_train(folder)


def training_epoch(split, epoch, num_workers=0, seed=5):
    """All of one epoch's pictures, labels and rows, as arrays, batch by batch."""
    transform = RandomCropFlip(36, 24)
    batches = Batches(split, transform, BATCH, Loading(num_workers), training=True, seed=seed)
    batches.set_epoch(epoch)
    return list(batches)


def rows_of(epoch):
    """The rows of an epoch in their order."""
    return [int(row) for *_, rows in epoch for row in rows]


def same(first, second):
    """Whether two epochs are equal to the bit."""
    pairs = [(a, b) for one, two in zip(first, second) for a, b in zip(one, two)]
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("num_workers", [2, 4])
def test_the_number_of_workers_changes_no_bit_of_an_epoch(split, num_workers):
    for epoch in (1, 2):
        alone = training_epoch(split, epoch)
        assert same(alone, training_epoch(split, epoch, num_workers))


def test_one_loader_gives_each_epoch_as_a_new_one_would(split):
    batches = Batches(split, RandomCropFlip(36, 24), BATCH, Loading(2), training=True, seed=5)
    for epoch in (3, 1, 3):
        batches.set_epoch(epoch)
        assert same(list(batches), training_epoch(split, epoch))


def test_epochs_and_seeds_differ_in_order_and_in_augmentation(split):
    epochs = [training_epoch(split, 1), training_epoch(split, 2), training_epoch(split, 1, seed=6)]
    orders = [rows_of(epoch) for epoch in epochs]
    crops = [
        {int(row): p.tobytes() for pictures, _, rows in epoch for p, row in zip(pictures, rows)}
        for epoch in epochs
    ]
    for other in (1, 2):
        assert orders[other] != orders[0]
        assert sum(crops[other][row] != crops[0][row] for row in range(ROWS)) > ROWS / 2


def test_every_picture_comes_once_an_epoch_with_its_own_labels_and_row(split):
    epoch = training_epoch(split, 1)
    assert [len(rows) for *_, rows in epoch] == [4, 4, 2]
    assert sorted(rows_of(epoch)) == list(range(ROWS)) != rows_of(epoch)
    for pictures, labels, rows in epoch:
        assert pictures.shape[1:] == (24, 24, 3) and pictures.dtype == np.uint8
        assert labels.dtype == np.uint8 and rows.dtype == np.int64
        np.testing.assert_array_equal(labels, split.labels[rows])


def test_a_row_s_crop_is_a_part_of_its_own_picture(split):
    for pictures, _, rows in training_epoch(split, 1):
        for picture, row in zip(pictures, rows):
            whole = np.asarray(split.pictures.open(int(row)).resize((43, 36), Image.BILINEAR))
            windows = np.lib.stride_tricks.sliding_window_view(whole, (24, 24), axis=(0, 1))
            windows = windows.transpose(0, 1, 3, 4, 2)
            assert any(
                (windows == turned).all(axis=(2, 3, 4)).any()
                for turned in (picture, picture[:, ::-1])
            )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_for_evaluation_pictures_come_in_the_list_s_order_without_labels(split, num_workers):
    transform = CenterCrop(36, 24)
    found = list(Batches(split, transform, BATCH, Loading(num_workers)))
    assert [len(batch) for batch in found] == [2, 2, 2]
    assert rows_of(found) == list(range(ROWS))
    expected = [transform(split.pictures.open(row)) for row in range(ROWS)]
    np.testing.assert_array_equal(np.concatenate([pictures for pictures, _ in found]), expected)


def test_batches_can_be_walked_twice_and_know_their_number(split):
    batches = Batches(split, CenterCrop(36, 24), BATCH)
    assert len(batches) == len(list(batches)) == len(list(batches)) == 3


def write_bad_picture(path, fault):
    """Writes what is called a picture and is none."""
    if fault == "text":
        path.write_text("this is not a picture")
    if fault == "truncated":
        drawn_picture(200, 150).save(path)
        path.write_bytes(path.read_bytes()[:9000])


WALK_ALL = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from utils.system.errors import UserError
from utils.system.runtime import start_paddle
start_paddle()
from test_datasets import Batches, CenterCrop, Loading, open_train
for folder in sys.argv[4:]:
    loading = Loading(int(sys.argv[3]))
    batches = Batches(open_train(Path(folder)), CenterCrop(36, 24), 2, loading)
    try:
        list(batches)
    except UserError as error:
        print(repr(str(error)))
"""
"""A process of its own: a loader that waits for a batch that never comes can only be ended."""


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_picture_is_one_line_that_names_picture_list_and_line(
    tmp_path, run, repository, num_workers
):
    said = {"missing": "is missing", "text": "not a picture", "truncated": "cannot be decoded"}
    for fault in said:
        folder = tmp_path / fault
        folder.mkdir()
        path = write_data_set(folder, rows=6)
        path.write_text("\n" + path.read_text().replace("picture 4.png", "bad one.jpg"))
        write_bad_picture(folder / "bad one.jpg", fault)
    folders = [tmp_path / fault for fault in said]
    walked = run(
        "-c", WALK_ALL, repository, repository / "tests", num_workers, *folders, timeout=60
    )
    messages = [ast.literal_eval(line) for line in walked.stdout.splitlines()]
    assert len(messages) == len(said)
    for message, folder, words in zip(messages, folders, said.values()):
        assert message.startswith(str(folder / "bad one.jpg")) and words in message
        assert f"{folder / 'train.txt'}, line 6" in message
        assert "\n" not in message and "worker" not in message
    assert "Traceback" not in walked.stderr


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_every_mode_are_opened_as_rgb(tmp_path, mode):
    path = tmp_path / ("picture.jpg" if mode in ("CMYK", "YCbCr") else "picture.png")
    drawn_picture(20, 10).convert(mode).save(path)
    picture = open_picture(path)
    assert (picture.mode, picture.size) == ("RGB", (20, 10))


def test_a_folder_in_place_of_a_picture_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be decoded"):
        open_picture(tmp_path)


def test_a_split_knows_where_its_pictures_and_labels_come_from(tmp_path):
    path = write_data_set(tmp_path, rows=3)
    split = open_train(tmp_path)
    assert len(split) == len(split.pictures) == 3
    assert split.pictures.name(2) == str(tmp_path / "picture 2.png")
    assert split.origin["list"] == "train.txt" and len(split.origin["list_sha256"]) == 64
    path.write_text(path.read_text().replace("picture 2", "picture 1"))
    changed = open_train(tmp_path)
    assert changed.origin["list_sha256"] != split.origin["list_sha256"]


def test_list_path_and_num_class_beat_the_card(tmp_path):
    (tmp_path / "other").mkdir()
    write_data_set(tmp_path, rows=3)
    (tmp_path / "other/train.txt").write_text("picture 0.png 1 0\npicture 1.png 0 1\n")
    open_train(tmp_path)
    card, other = read_card(str(tmp_path)), str(tmp_path / "other")
    (split,) = open_splits(card, ["train"], str(tmp_path), list_path=other, num_class=2)
    assert split.labels.tolist() == [[1, 0], [0, 1]]


def test_a_missing_picture_folder_is_told_with_the_flag(tmp_path):
    with pytest.raises(UserError, match="picture folder is missing; --data-path"):
        open_splits(read_card("coco_lite"), ["train"], str(tmp_path / "none"))


def test_derived_seeds_fit_31_bits_and_differ():
    seeds = {derived_seed(seed, epoch) for seed in range(20) for epoch in range(150)}
    assert len(seeds) == 3000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derived_seed(1, 2) == derived_seed(1, 2) != derived_seed(2, 1)
