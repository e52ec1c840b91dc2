"""The cache of resized images: the same bytes as from the files, whatever has happened to it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import REPOSITORY, drawn_image, file_size_limit, write_data_set
from test_datasets import open_train
from test_loader import assert_same, logged

from utils.datasets import Split, unlisted_images
from utils.datasets.cache import cache_folder, write_cached
from utils.datasets.images import ImageArray, ImageFiles
from utils.datasets.loader import BatchLoader, LoaderOptions
from utils.datasets.transforms import build_transform
from utils.system.errors import UserError

IMAGES = 12
TEST, TRAIN = (build_transform("short_side", 32, 28, train=train) for train in (False, True))
SQUARE = build_transform("square", 32, 24)


@pytest.fixture()
def split(tmp_path):
    """Twelve images."""
    write_data_set(tmp_path, rows=IMAGES)
    return open_train(tmp_path)


@pytest.fixture()
def opened(monkeypatch):
    """Counts the image files that are decoded."""
    names, open_file = [], ImageFiles.open
    monkeypatch.setattr(
        ImageFiles, "open", lambda s, i, least=0: names.append(s.names[i]) or open_file(s, i, least)
    )
    return names


def epoch(split, transform=TEST, cache=None, threads=0):
    """All batches of an epoch, with a folder as cache or without."""
    cache = cache and cache_folder(str(cache), transform.resize)
    seed = 4 if transform.random else None
    return list(BatchLoader(split, transform, 5, LoaderOptions(threads, False, cache), seed=seed))


def files_of(cache):
    """The cached images."""
    return sorted(cache.glob("images_*/*/*.npy"))


@pytest.mark.parametrize("threads", [0, 3])
@pytest.mark.parametrize("transform", [TEST, TRAIN, SQUARE])
def test_cold_and_warm_give_the_bytes_of_the_files(split, tmp_path, opened, transform, threads):
    expected = epoch(split, transform)
    for decoded in (IMAGES, 0):
        opened.clear()
        assert_same(epoch(split, transform, tmp_path / "cache", threads), expected)
        assert len(opened) == decoded
    assert len(files_of(tmp_path / "cache")) == IMAGES
    assert not list((tmp_path / "cache").rglob(".*")), "temporary files are left"


def test_real_photos_in_training_and_evaluation_share_a_cache(real_data, tmp_path, opened):
    paths = sorted(map(str, real_data.glob("coco_photos/val2014/*.jpg")))
    photos = unlisted_images(paths, "a test")
    for train in (False, True):
        transform = build_transform("short_side", 256, 224, train=train)
        expected = epoch(photos, transform)
        opened.clear()
        assert_same(epoch(photos, transform, tmp_path, 2), expected)
        assert len(opened) == (0 if train else len(photos))


def test_a_changed_file_is_read_again_and_a_missing_one_is_missing(split, tmp_path):
    epoch(split, TEST, tmp_path / "cache")
    path = Path(split.images.names[3])
    drawn_image(61, 47, seed=99).save(path)
    os.utime(path, ns=(5, 5))
    assert_same(epoch(split, TEST, tmp_path / "cache"), epoch(split))
    path.unlink()
    with pytest.raises(UserError, match=r"picture 3\.png: missing"):
        epoch(split, TEST, tmp_path / "cache")


def test_images_in_memory_are_kept_by_their_pixels(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), np.uint8)
    for order in (pixels, pixels[::-1].copy(), pixels):
        split = Split("train", ImageArray(order, [""] * 7), np.eye(7, dtype=np.uint8), {})
        assert_same(epoch(split, SQUARE, tmp_path), epoch(split, SQUARE))
    assert len(files_of(tmp_path)) == 7


def test_any_bit_may_change_and_no_image_does(split, tmp_path):
    expected, draw = epoch(split, TEST, tmp_path / "cache"), random.Random(1)
    for _ in range(40):
        path = draw.choice(files_of(tmp_path / "cache"))
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        assert_same(epoch(split, TEST, tmp_path / "cache"), expected)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: os.truncate(path, 2000),
        lambda path: np.save(path, np.zeros((32, 40, 3), np.uint8)),
        lambda path: np.save(path, np.array([{}]), allow_pickle=True),
        lambda path: (path.unlink(), os.mkfifo(path)),
        lambda path: write_cached(path.parents[1], path.stem, np.zeros((5, 5, 3), np.uint8)),
    ],
)
def test_a_damaged_file_is_made_again(split, tmp_path, opened, harm):
    expected = epoch(split, TEST, tmp_path / "cache")
    harm(files_of(tmp_path / "cache")[5])
    for decoded in (1, 0):
        opened.clear()
        assert_same(epoch(split, TEST, tmp_path / "cache"), expected)
        assert len(opened) == decoded


BUILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:4]
from test_cache import TEST, epoch, open_train
folder = Path(sys.argv[4])
while True:
    epoch(open_train(folder), TEST, folder / "cache", 2)
    print("built", flush=True)
    for path in (folder / "cache").glob("images_*/*/*.npy"):
        path.unlink(missing_ok=True)
"""


def test_processes_share_a_cache_and_may_be_killed(split, tmp_path):
    paths = [REPOSITORY, REPOSITORY / "tests", REPOSITORY / "tests/datasets", tmp_path]
    command = [sys.executable, "-c", BUILD, *map(str, paths)]
    builders = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        assert [builder.stdout.readline() for builder in builders] == [b"built\n"] * 2
        for _ in range(5):
            assert_same(epoch(split, TEST, tmp_path / "cache"), epoch(split))
    finally:
        for builder in builders:
            builder.kill()
            builder.communicate()
    assert_same(epoch(split, TEST, tmp_path / "cache"), epoch(split))


def test_a_full_disk_is_said_once_and_costs_the_cache_alone(split, tmp_path):
    folder, before = cache_folder(str(tmp_path / "cache"), TEST.resize), epoch(split)
    loader = BatchLoader(split, TEST, 5, LoaderOptions(2, False, folder))
    with file_size_limit(2000), logged() as lines:
        found = list(loader)
    assert_same(found, before)
    assert lines == [f"Image cache: images are not kept in {folder}: File too large"]
    assert not [path for path in folder.rglob("*") if path.is_file()]
    with pytest.raises(UserError, match="cannot be written"):
        cache_folder(split.images.names[0], TEST.resize)
