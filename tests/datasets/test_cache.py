"""The cache of scaled pictures: the same bytes as from the files, whatever has happened to it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY, drawn_picture
from PIL import Image

from utils.datasets import Split, cache_space, loose_pictures
from utils.datasets.cache import ENTRY, PictureCache
from utils.datasets.cache_space import open_cache
from utils.datasets.images import PictureArray
from utils.datasets.loader import Batches, Loading
from utils.datasets.transforms import CenterCrop, RandomCropFlip, Scaling, Square
from utils.system.errors import UserError

ROWS = 12
CENTER, RANDOM, SQUARE = CenterCrop(32, 28), RandomCropFlip(32, 28), Square(24)


def split_of(folder: Path) -> Split:
    """A split of the pictures of a folder."""
    split = loose_pictures(sorted(folder.glob("*.jpg")), "a test")
    return Split("train", split.pictures, np.eye(len(split), dtype=np.uint8), {})


@pytest.fixture()
def split(tmp_path):
    """Twelve JPEG files of odd sizes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for row in range(ROWS):
        small = drawn_picture(9 + row, 8 + 2 * (row % 5), seed=row)
        small.resize((50 + 7 * row, 90 - 5 * row), Image.BICUBIC).save(folder / f"{row:02d}.jpg")
    return split_of(folder)


def epoch(split, transform, cache=None, threads=0, training=False, number=3):
    """All batches of an epoch."""
    batches = Batches(split, transform, 5, Loading(threads, cache=cache), training, seed=4)
    batches.set_epoch(number)
    return list(batches)


def assert_same(found, expected):
    """Equal to the bit, batch by batch."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        for a, b in zip(one, other):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def cache_of(folder, transform=CENTER):
    """The cache of a transform's scaling."""
    return PictureCache(folder / "cache", str(transform.scaling))


@pytest.mark.parametrize("threads", [0, 2, 5])
@pytest.mark.parametrize(("transform", "training"), [(CENTER, 0), (RANDOM, 1), (SQUARE, 0)])
def test_cold_and_warm_give_the_bytes_of_the_files(split, tmp_path, transform, training, threads):
    expected = epoch(split, transform, training=training)
    cold = cache_of(tmp_path, transform)
    assert_same(epoch(split, transform, cold, threads, training), expected)
    assert (len(cold), cold.found) == (ROWS, 0)
    warm = cache_of(tmp_path, transform)
    assert_same(epoch(split, transform, warm, threads, training), expected)
    assert (warm.found, warm.damaged) == (ROWS, 0)


def test_real_photos_come_from_the_cache_as_from_their_files(real_data, tmp_path):
    photos = sorted((real_data / "coco_photos").glob("*2014/*.jpg"))
    split = loose_pictures(photos, "a test")
    split = Split("train", split.pictures, np.eye(len(photos), dtype=np.uint8), {})
    for transform, training in ((CenterCrop(256, 224), False), (RandomCropFlip(256, 224), True)):
        expected = epoch(split, transform, training=training)
        for _ in range(2):
            cache = cache_of(tmp_path, transform)
            assert_same(epoch(split, transform, cache, 2, training), expected)
    assert cache.found == len(photos)


def test_training_and_evaluation_share_pictures_and_other_scalings_do_not(split, tmp_path):
    epoch(split, RANDOM, cache_of(tmp_path, RANDOM), training=True)
    shared = cache_of(tmp_path, CENTER)
    assert_same(epoch(split, CENTER, shared), epoch(split, CENTER))
    assert shared.found == ROWS
    for other in (CenterCrop(36, 28), CenterCrop(32, 28, fast_decode=True), Square(32)):
        assert len(cache_of(tmp_path, other)) == 0


def test_a_changed_file_is_read_again(split, tmp_path):
    epoch(split, CENTER, cache_of(tmp_path))
    path = Path(split.pictures.name(3))
    drawn_picture(61, 47, seed=99).save(path)
    os.utime(path, ns=(5, 5))
    cache = cache_of(tmp_path)
    assert_same(epoch(split, CENTER, cache), epoch(split, CENTER))
    assert cache.found == ROWS - 1


def test_a_picture_whose_file_is_gone_is_missing_in_spite_of_the_cache(split, tmp_path):
    epoch(split, CENTER, cache_of(tmp_path))
    Path(split.pictures.name(3)).unlink()
    with pytest.raises(UserError, match=r"03\.jpg: the picture is missing"):
        epoch(split, CENTER, cache_of(tmp_path))


def files_of(folder, ending):
    """The one file of that ending in a cache."""
    (path,) = (folder / "cache").glob(f"pictures_*/*.{ending}")
    return path


def flip(path, place):
    """Changes one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a pixel is flipped": (lambda f: flip(files_of(f, "pixels"), 5000), 1),
    "the pixels are cut": (lambda f: os.truncate(files_of(f, "pixels"), 20000), None),
    "the pixels are gone": (lambda f: files_of(f, "pixels").unlink(), ROWS),
    "the pixels are zero": (lambda f: files_of(f, "pixels").write_bytes(bytes(90000)), ROWS),
    "an entry's key is flipped": (lambda f: flip(files_of(f, "index"), 2 * ENTRY.size), 1),
    "an entry's height is flipped": (lambda f: flip(files_of(f, "index"), ENTRY.size + 24), 1),
    "the index is cut in an entry": (lambda f: os.truncate(files_of(f, "index"), 100), None),
    "the index is empty": (lambda f: files_of(f, "index").write_bytes(b""), None),
    "the index is of another program": (lambda f: files_of(f, "index").write_text("x" * 999), 24),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_mended(split, tmp_path, damage):
    expected = epoch(split, CENTER)
    epoch(split, CENTER, cache_of(tmp_path))
    harm, noticed = DAMAGES[damage]
    harm(tmp_path)
    mending = cache_of(tmp_path)
    assert_same(epoch(split, CENTER, mending, 2), expected)
    assert noticed in (None, mending.damaged)
    assert mending.found < ROWS
    whole = cache_of(tmp_path)
    assert_same(epoch(split, CENTER, whole), expected)
    assert whole.found == ROWS


def test_any_byte_may_change_and_no_picture_does(split, tmp_path):
    expected = epoch(split, CENTER)
    epoch(split, CENTER, cache_of(tmp_path))
    backup = tmp_path / "backup"
    shutil.copytree(tmp_path / "cache", backup)
    draw = random.Random(1)
    for _ in range(40):
        shutil.rmtree(tmp_path / "cache")
        shutil.copytree(backup, tmp_path / "cache")
        path = files_of(tmp_path, draw.choice(["index", "pixels"]))
        flip(path, draw.randrange(path.stat().st_size))
        cache = cache_of(tmp_path)
        assert_same(epoch(split, CENTER, cache), expected)
        assert cache.damaged >= 1


def test_two_at_once_learn_from_each_other(split, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.datasets.cache.REFRESH_SECONDS", -1)
    one, two = cache_of(tmp_path), cache_of(tmp_path)
    for row in range(ROWS):
        pixels = CENTER.scaling(split.pictures.open(row))
        (one, two)[row % 2].add(split.pictures.key(row), pixels)
    assert_same(epoch(split, CENTER, one), epoch(split, CENTER))
    assert_same(epoch(split, CENTER, two), epoch(split, CENTER))
    assert one.found == two.found == ROWS
    assert len(list(one.folder.glob("*.index"))) == 2, "each appends to a pair of its own"


BUILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from utils.system.runtime import start_paddle
start_paddle(1)
from test_picture_cache import CENTER, cache_of, epoch, split_of
folder = Path(sys.argv[3])
print("ready", flush=True)
while True:
    epoch(split_of(folder / "pictures"), CENTER, cache_of(folder), 2)
    if "once" in sys.argv:
        break
    import shutil
    for path in (folder / "cache").glob("*/*.index"):
        path.unlink()
"""


def build(folder: Path, *arguments: str) -> subprocess.Popen:
    """A process that builds the cache of `folder / 'pictures'`, again and again or once."""
    paths = [str(REPOSITORY), str(REPOSITORY / "tests"), str(folder)]
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, *paths, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_build_one_cache(split, tmp_path):
    builders = [build(tmp_path, "once") for _ in range(2)]
    assert [builder.wait(60) for builder in builders] == [0, 0]
    cache = cache_of(tmp_path)
    assert_same(epoch(split, CENTER, cache), epoch(split, CENTER))
    assert (cache.found, cache.damaged) == (ROWS, 0)


def test_a_kill_while_it_is_built_leaves_nothing_wrong(split, tmp_path):
    expected, draw = epoch(split, CENTER), random.Random(2)
    for _ in range(3):
        builder = build(tmp_path)
        assert builder.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.01, 0.2))
        builder.send_signal(signal.SIGKILL)
        builder.wait()
        cache = cache_of(tmp_path)
        assert_same(epoch(split, CENTER, cache), expected)
        again = cache_of(tmp_path)
        assert_same(epoch(split, CENTER, again), expected)
        assert again.found == ROWS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
@pytest.mark.parametrize("ending", ["index", "pixels"])
def test_a_full_disk_costs_the_cache_and_nothing_else(split, tmp_path, ending):
    cache = cache_of(tmp_path)
    (cache.folder / f"1.{ending}").symlink_to("/dev/full")
    assert_same(epoch(split, CENTER, cache, 2), epoch(split, CENTER))
    assert "No space left" in cache.trouble and len(cache) == 0


def test_what_it_will_need_is_said_beforehand(split, tmp_path):
    said = []
    cache = open_cache(str(tmp_path / "cache"), CENTER.scaling, [split, split], said.append)
    assert f"has 0 of {ROWS} pictures; the others need " in said[0]
    epoch(split, CENTER, cache)
    size = sum(path.stat().st_size for path in cache.folder.glob("1.*"))
    assert f"the others need {size / 1e6:.1f} MB (" in said[0], "twelve sizes are all looked up"
    open_cache(str(tmp_path / "cache"), CENTER.scaling, [split], said.append)
    assert said[1].endswith(f"has {ROWS} of {ROWS} pictures")


def test_the_estimate_of_many_pictures_comes_from_a_sample(split, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_space, "SAMPLE", 4)
    said = []
    open_cache(str(tmp_path / "cache"), CENTER.scaling, [split], said.append)
    assert "the others need about 0.0 MB" in said[0] or "need about 0.1 MB" in said[0]


def test_a_disk_without_room_is_told_before_anything_is_decoded(split, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(cache_space.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"--cache-dir .* are needed and 0\.0 MB are free"):
        open_cache(str(tmp_path / "cache"), CENTER.scaling, [split], lambda line: None)


def test_a_file_in_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        cache_of(tmp_path)


def test_pictures_in_memory_are_kept_by_their_pixels(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (7, 8, 8, 3), np.uint8)
    names = [f"{row}.png" for row in range(7)]
    split = Split("train", PictureArray(pixels, names), np.eye(7, dtype=np.uint8), {})
    expected = epoch(split, SQUARE)
    for _ in range(2):
        cache = cache_of(tmp_path, SQUARE)
        assert_same(epoch(split, SQUARE, cache), expected)
    assert cache.found == 7
    other = Split("train", PictureArray(pixels[::-1].copy(), names), split.labels, {})
    assert_same(epoch(other, SQUARE, cache_of(tmp_path, SQUARE)), epoch(other, SQUARE))


def test_memory_does_not_grow_with_the_pictures(split, tmp_path):
    import tracemalloc

    pictures = split.pictures

    class Repeated:
        """The twelve pictures over and over."""

        def open(self, row, least_side=0):
            return pictures.open(row % ROWS, least_side)

        def key(self, row):
            return pictures.key(row % ROWS)

    peaks = []
    for rows in (200, 2000):
        labels = np.zeros((rows, 1), np.uint8)
        batches = Batches(
            Split("database", Repeated(), labels, {}),
            CENTER,
            5,
            Loading(2, cache=cache_of(tmp_path)),
        )
        tracemalloc.start()
        for _ in batches:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 2000 * 40, "rows of the order, and no pictures"


def test_scalings_of_other_sizes_are_told_apart():
    scalings = [Scaling(256), Scaling(224), Scaling(224, square=True), Scaling(256, least_side=224)]
    assert len({str(scaling) for scaling in scalings}) == 4
