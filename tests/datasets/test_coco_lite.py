"""coco_lite as it ships: lists, card and pictures agree, and the generator draws them again."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from PIL import Image

from scripts.coco_lite.dataset import entries, write_lists
from scripts.coco_lite.things import CLASSES

ROWS = {"train": 128, "test": 32, "database": 160}
SIZE_LIMIT = 4_000_000


@pytest.fixture(scope="module")
def lists(repository):
    """List → (paths, labels [n, 80] int)."""
    found = {}
    for name in ROWS:
        lines = (repository / "data/coco_lite" / f"{name}.txt").read_text("utf-8").splitlines()
        words = [line.split(" ") for line in lines]
        labels = np.array([[int(word) for word in line[1:]] for line in words])
        found[name] = [line[0] for line in words], labels
    return found


@pytest.fixture(scope="module")
def pictures(repository):
    return repository / "datasets/coco_lite"


def test_lists_have_their_rows_and_80_labels_of_0_and_1(lists):
    for name, (paths, labels) in lists.items():
        assert len(paths) == len(set(paths)) == ROWS[name]
        assert labels.shape == (ROWS[name], 80)
        assert set(np.unique(labels)) == {0, 1}
        assert labels.sum(1).min() >= 1
        assert labels.sum(1).max() <= 4
    assert (lists["database"][1].sum(1) > 1).mean() > 0.5


def test_the_database_holds_the_training_pictures_and_no_query(lists):
    train, test, database = (set(lists[name][0]) for name in ROWS)
    assert train < database
    assert not test & database


def test_every_class_is_in_the_database(lists):
    assert lists["database"][1].sum(0).min() >= 1


def test_every_query_has_relevant_pictures_and_chance_is_moderate(lists):
    relevant = lists["test"][1] @ lists["database"][1].T > 0
    assert relevant.any(1).all()
    assert 0.15 < relevant.mean() < 0.3


def test_every_picture_opens_in_rgb_and_looks_different(lists, pictures):
    seen = set()
    paths = lists["database"][0] + lists["test"][0]
    for path in paths:
        with Image.open(pictures / path) as picture:
            assert picture.format == "JPEG"
            assert picture.mode == "RGB"
            assert max(picture.size) == 320
            seen.add(picture.tobytes())
    assert len(seen) == len(paths)


def test_no_picture_is_there_that_no_list_names(lists, pictures):
    named = set(lists["database"][0] + lists["test"][0])
    assert {path.relative_to(pictures).as_posix() for path in pictures.glob("*/*")} == named


def test_everything_is_smaller_than_4_mb(repository):
    folders = (repository / "datasets/coco_lite", repository / "data/coco_lite")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT


def test_the_card_names_80_classes_and_says_that_they_are_drawn(repository):
    card = yaml.safe_load((repository / "data/coco_lite/dataset.yaml").read_text("utf-8"))
    assert card["name"] == "coco_lite"
    assert card["num_class"] == 80
    assert card["classes"] == list(CLASSES)
    assert len(set(CLASSES)) == 80
    assert "drawn" in card["provenance"].lower()


@pytest.mark.parametrize("place", range(0, 128, 16))
def test_the_generator_draws_the_shipped_pictures(lists, pictures, place):
    entry = entries()["train"][place]
    drawn = entry.draw()
    with Image.open(pictures / entry.path) as picture:
        shipped = np.asarray(picture, dtype=np.float32)
    assert lists["train"][0][place] == entry.path
    assert tuple(sorted(np.array(CLASSES)[lists["train"][1][place] == 1])) == drawn.names
    # JPEG loses a little, and other versions of Pillow round some edges differently.
    assert shipped.shape == (*drawn.picture.size[::-1], 3)
    assert np.abs(shipped - np.asarray(drawn.picture, dtype=np.float32)).mean() < 6


def test_the_same_picture_is_drawn_twice():
    entry = entries()["test"][0]
    assert entry.draw().picture.tobytes() == entry.draw().picture.tobytes()


def test_lists_are_written_as_shipped(repository, lists, tmp_path):
    names = {
        path: tuple(np.array(CLASSES)[row == 1])
        for paths, labels in lists.values()
        for path, row in zip(paths, labels)
    }
    write_lists(tmp_path, names)
    for name in ROWS:
        shipped = repository / "data/coco_lite" / f"{name}.txt"
        assert (tmp_path / f"{name}.txt").read_bytes() == shipped.read_bytes()


def test_the_command_does_not_write_over_a_data_set(run):
    done = run("scripts/make_coco_lite.py")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--force" in done.stderr


def test_an_unwritable_folder_is_one_line(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run("scripts/make_coco_lite.py", "--pictures", tmp_path / "file", "--lists", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
