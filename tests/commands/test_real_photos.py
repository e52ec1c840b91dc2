"""The commands on 13 real COCO photos: 9 to train on, 4 queries, 13 in the database."""

from __future__ import annotations

import re

import pytest
from helpers import SMALL_IMAGES, epochs_of, succeed

TRAIN = ["main_single_gpu.py", "--bit", "64", "--backbone-weights", "none"]


@pytest.fixture(scope="module")
def photos(real_data):
    """The flags that name the photos and their lists."""
    folder = real_data / "coco_photos"
    return ["--dataset", "coco", "--data-path", folder, "--list-path", folder / "lists"]


def test_train_evaluate_and_search(photos, real_data, tmp_path):
    common = [*photos, *SMALL_IMAGES, "--output-dir", tmp_path]
    said = succeed(*TRAIN, *common, "--batch-size", "4", "--epoch", "1")
    for line in ("train_set 9", "test 4", "database 13", "Total # of train batch: 3"):
        assert line in said
    trained_map = epochs_of(tmp_path, 64)[-1]["map"]
    said = succeed("main_single_gpu.py", "--bit", "64", *common, "--eval")
    assert f"EVAL-HashNet, bit:64, dataset:coco, MAP:{trained_map:.3f}" in said
    query = "val2014/COCO_val2014_000000282251.jpg"
    search = ["--img", real_data / "coco_photos" / query, "--save_path", tmp_path]
    said = succeed("predict.py", "--bit", "64", *common, *search)
    assert "----- Predicted Hamm_min: 0.0" in said
    assert re.search(rf"Found Matched Pic: .*{query}$", said, re.MULTILINE)


def test_nine_photos_are_learnt_by_heart(photos, real_data, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    train = (real_data / "coco_photos/lists/train.txt").read_text(encoding="utf-8")
    for name in ("train", "test", "database"):
        (lists / f"{name}.txt").write_text(train, encoding="utf-8")
    succeed(
        *(*TRAIN, *photos, "--list-path", lists, "--output-dir", tmp_path, "--eval_first"),
        *("--batch-size", "9", "--crop-size", "96", "--resize-size", "96", "--num_workers", "0"),
        *("--optimizer", "AdamW", "--learning_rate", "0.0004", "--de_step", "40"),
        *("--epoch", "65", "--eval_epoch", "65", "--save_epoch", "65"),
    )
    before, *epochs = epochs_of(tmp_path, 64)
    losses = [row["loss"] for row in epochs]
    assert sum(losses[-10:]) / 10 < 0.5 * losses[0]
    assert epochs[-1]["map"] > 0.95 > before["map"]
