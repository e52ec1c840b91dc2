"""Batches: the same order and pixels whatever the threads; shards, padding, what bad images do."""

from __future__ import annotations

import contextlib
import logging
import threading

import numpy as np
import pytest
from helpers import drawn_image, write_data_set
from PIL import Image
from test_datasets import open_train

from utils.datasets import Split
from utils.datasets.cache import cache_folder
from utils.datasets.loader import (
    BadImageReport,
    BatchLoader,
    LoaderOptions,
    derived_seed,
    first_images,
    shares_of_batches,
)
from utils.datasets.transforms import build_transform
from utils.system.errors import UserError

IMAGES, BATCH = 11, 4
TRAIN, TEST = (build_transform("short_side", 36, 24, train=train) for train in (True, False))
SKIP = LoaderOptions(skip_bad=True)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """Eleven small images with three labels each."""
    folder = tmp_path_factory.mktemp("small")
    write_data_set(folder, rows=IMAGES)
    return open_train(folder)


def damaged_split(folder):
    """The same, of which 2, 3 and 9 are a text, cut short and missing."""
    write_data_set(folder, rows=IMAGES)
    (folder / "picture 2.png").write_text("no picture")
    cut = folder / "picture 3.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    (folder / "picture 9.png").unlink()
    return open_train(folder)


@pytest.fixture()
def damaged(tmp_path):
    return damaged_split(tmp_path)


GOOD = [index for index in range(IMAGES) if index not in (2, 3, 9)]


def epoch(split, number=1, options=None, seed=5, shard=(0, 1), first=0):
    """All batches of a training epoch, and the loader."""
    loader = BatchLoader(split, TRAIN, BATCH, options, shard, seed)
    loader.set_epoch(number, first)
    return list(loader), loader


def joined(batches):
    """The arrays of all batches: images, labels, index, or images, index."""
    return [np.concatenate(parts) for parts in zip(*batches)]


def assert_same(found, expected):
    """Equal to the bit, batch by batch."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        for a, b in zip(one, other):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def assert_crops_of_their_images(split, batches):
    """Each image of a training batch is a part of the one of its index, with its labels."""
    for images, labels, index in batches:
        assert images.shape[1:] == (24, 24, 3) and images.dtype == np.uint8
        assert labels.dtype == np.uint8 and index.dtype == np.int64
        np.testing.assert_array_equal(labels, split.labels[index])
        for image, number in zip(images, index):
            whole = np.asarray(split.images.open(int(number)).resize((43, 36), Image.BILINEAR))
            windows = np.lib.stride_tricks.sliding_window_view(whole, (24, 24), axis=(0, 1))
            windows = windows.transpose(0, 1, 3, 4, 2)
            assert any(
                (windows == each).all(axis=(2, 3, 4)).any() for each in (image, image[:, ::-1])
            )


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_changes_no_bit_of_an_epoch(split, threads):
    loader = BatchLoader(split, TRAIN, BATCH, LoaderOptions(threads), seed=5)
    for number in (3, 1, 3):
        loader.set_epoch(number)
        assert_same(list(loader), epoch(split, number)[0])
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_an_epoch_has_every_image_once_in_an_order_and_crops_of_seed_and_epoch(split):
    first = epoch(split)[0]
    assert [len(index) for *_, index in first] == [4, 4, 3]
    assert_crops_of_their_images(split, first)
    images, _, order = joined(first)
    crop_of = dict(zip(order.tolist(), images))
    for other in (epoch(split, 2)[0], epoch(split, seed=6)[0]):
        images, _, index = joined(other)
        assert sorted(index) == list(range(IMAGES)) and index.tolist() != order.tolist()
        moved = [not np.array_equal(image, crop_of[i]) for i, image in zip(index.tolist(), images)]
        assert sum(moved) > IMAGES / 2


@pytest.mark.parametrize("threads", [0, 2])
def test_for_evaluation_images_come_in_the_list_s_order_without_labels(split, threads):
    loader = BatchLoader(split, TEST, BATCH, LoaderOptions(threads))
    for _ in range(2):
        images, index = joined(loader)
        assert index.tolist() == list(range(IMAGES))
        np.testing.assert_array_equal(images, [TEST(split.images.open(i)) for i in range(IMAGES)])
    assert len(loader) == 3


def test_shares_of_a_global_batch_are_of_one_size_and_padding_is_below_zero():
    shares = [list(shares_of_batches(list(range(10)), 2, rank, 3)) for rank in range(3)]
    assert shares == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [~6, ~6]]]
    assert list(shares_of_batches(list(range(5)), 2, 0, 1)) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_ranks_together_see_what_one_with_their_batches_together_sees(split, ranks):
    loader = BatchLoader(split, TRAIN, BATCH * ranks, seed=5)
    loader.set_epoch(1)
    alone, shared = list(loader), [epoch(split, shard=(r, ranks))[0] for r in range(ranks)]
    assert {len(batches) for batches in shared} == {len(alone)}
    for whole, parts in zip(alone, zip(*shared)):
        assert len({len(index) for *_, index in parts}) == 1
        images, labels, index = joined(parts)
        for a, b in zip(whole, (images[index >= 0], labels[index >= 0], index[index >= 0])):
            np.testing.assert_array_equal(a, b)


def test_seeds_fit_31_bits_and_differ_by_seed_epoch_step_and_rank(split):
    seeds = {derived_seed(seed, epoch) for seed in range(20) for epoch in range(150)}
    assert len(seeds) == 3000 and all(0 <= seed < 2**31 for seed in seeds)
    drawn = set()
    for rank in range(2):
        loader = BatchLoader(split, TRAIN, BATCH, shard=(rank, 2), seed=5)
        for number in (1, 2):
            loader.set_epoch(number)
            drawn |= {loader.dropout_seed(step) for step in range(3)}
    assert len(drawn) == 12


class Counted:
    """Images that count how many of them were opened, and of which one is bad."""

    opened, bad = 0, 53

    def open(self, index, least_side=0):
        """An image."""
        self.opened += 1
        if index == self.bad:
            raise UserError(f"image {index} is bad")
        return drawn_image(40, 36, seed=index)


@pytest.mark.parametrize("threads", [0, 3])
def test_little_is_loaded_ahead_and_an_error_comes_where_its_batch_would_have(threads):
    images = Counted()
    many = Split("test", images, np.zeros((200, 3), np.uint8), {})
    batches = iter(BatchLoader(many, TEST, BATCH, LoaderOptions(threads)))
    for batch in range(13):
        assert next(batches)[1][0] == BATCH * batch
        assert images.opened <= BATCH * (batch + 1) + 16 * threads + 2 * BATCH
    with pytest.raises(UserError, match="image 53 is bad"):
        next(batches)
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]
    batches = iter(BatchLoader(many, TEST, BATCH, LoaderOptions(threads)))
    next(batches)
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_in_training_another_image_takes_a_bad_one_s_place_with_its_own_labels(damaged):
    found, loader = epoch(damaged, options=SKIP)
    assert [len(index) for *_, index in found] == [4, 4, 3], "a batch stays as large as it was"
    assert_crops_of_their_images(damaged, found)
    assert set(joined(found)[2]) == set(GOOD), "no bad one comes, and all good ones"
    assert sorted(loader.bad) == [2, 3, 9]
    assert "line 3" in loader.bad[2] and "format is unknown" in loader.bad[2]


def test_the_replacement_depends_on_seed_epoch_and_index_alone(damaged, tmp_path):
    cache = cache_folder(str(tmp_path / "cache"), TRAIN.resize)
    for number in (1, 2):
        expected = epoch(damaged, number, SKIP)[0]
        for threads in (1, 3):
            assert_same(epoch(damaged, number, LoaderOptions(threads, True, cache))[0], expected)
    orders = [joined(epoch(damaged, number, SKIP)[0])[2].tolist() for number in (1, 2)]
    assert sorted(orders[0]) != sorted(orders[1]), "other images take the places"


def test_in_evaluation_a_bad_image_comes_as_black_below_zero(damaged):
    images, index = joined(BatchLoader(damaged, TEST, BATCH, SKIP))
    assert index.tolist() == [0, 1, ~2, ~3, 4, 5, 6, 7, 8, ~9, 10]
    assert not images[index < 0].any() and images[index >= 0].all(axis=(1, 2)).any()


def test_first_images_are_the_first_good_ones(damaged, tmp_path):
    expected = [TEST(damaged.images.open(index)) for index in GOOD]
    np.testing.assert_array_equal(first_images(damaged, TEST, 5, SKIP), expected[:5])
    np.testing.assert_array_equal(first_images(damaged, TEST, 99, SKIP), expected)
    with pytest.raises(UserError, match=r"picture 2\.png"):
        first_images(damaged, TEST, 5, LoaderOptions())
    for path in tmp_path.glob("*.png"):
        path.write_text("no picture")
    with pytest.raises(UserError, match=r"picture 0.*nor can any other of the 11 images"):
        first_images(damaged, TEST, 5, SKIP)
    with pytest.raises(UserError, match=r"format is unknown.*nor can 100 others"):
        epoch(damaged, options=SKIP)


@contextlib.contextmanager
def logged():
    """The lines that are logged inside the block."""
    lines, handler, logger = [], logging.Handler(), logging.getLogger("utils")
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def test_bad_images_are_logged_once_and_a_few_of_many():
    report = BadImageReport()
    with logged() as lines:
        report.warn([f"image {number}" for number in range(25)], "images were left out")
        report.warn(["image 3", "another"], "images were left out")
        report.warn(["another"], "images were left out")
    assert lines[0] == "25 images were left out:" and lines[1] == "  image 0"
    assert lines[21:] == [
        "  and 5 more; the metrics file names all",
        "1 images were left out:",
        "  another",
    ]
