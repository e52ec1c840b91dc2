"""The commands on 13 real COCO photos: 9 to train on, 4 queries, 13 in the database."""

from __future__ import annotations

import json
import re

import pytest


@pytest.fixture(scope="module")
def photos(real_data):
    """The flags that name the photos and their lists."""
    folder = real_data / "coco_photos"
    return ["--dataset", "coco", "--data-path", folder, "--list-path", folder / "lists"]


def metrics(output) -> list[dict]:
    """The lines of a 64-bit training's metrics file."""
    text = (output / "train/metrics_64.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_train_evaluate_and_search(run, photos, real_data, tmp_path):
    common = ["--bit", "64", *photos, "--output-dir", tmp_path]
    result = run(
        *("main_single_gpu.py", *common, "--backbone-weights", "none"),
        *("--batch-size", "4", "--epoch", "2", "--learning_rate", "0.001"),
    )
    assert result.returncode == 0, result.stderr
    for line in ("train_set 9", "test 4", "database 13", "Total # of train batch: 3"):
        assert line in result.stdout
    trained_map = metrics(tmp_path)[-1]["map"]
    result = run("main_single_gpu.py", *common, "--eval")
    assert f"EVAL-HashNet, bit:64, dataset:coco, MAP:{trained_map:.3f}" in result.stdout
    query = "val2014/COCO_val2014_000000282251.jpg"
    result = run(
        *("predict.py", *common, "--save_path", tmp_path),
        *("--img", real_data / "coco_photos" / query),
    )
    assert "----- Predicted Hamm_min: 0.0" in result.stdout, result.stderr
    assert re.search(rf"Found Matched Pic: .*{query}$", result.stdout, re.MULTILINE)


def test_nine_photos_are_learnt_by_heart(run, photos, real_data, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    train = (real_data / "coco_photos/lists/train.txt").read_text(encoding="utf-8")
    for name in ("train", "test", "database"):
        (lists / f"{name}.txt").write_text(train, encoding="utf-8")
    result = run(
        *("main_single_gpu.py", "--bit", "64", *photos, "--list-path", lists),
        *("--backbone-weights", "none", "--batch-size", "9", "--resize_size", "224"),
        *("--optimizer", "AdamW", "--learning_rate", "0.0004", "--epoch", "100"),
        *("--de_step", "200", "--step_continuation", "200", "--num_workers", "0"),
        *("--eval_epoch", "100", "--save_epoch", "100", "--eval_first"),
        *("--output-dir", tmp_path),
    )
    assert result.returncode == 0, result.stderr
    before, *epochs = metrics(tmp_path)
    losses = [row["loss"] for row in epochs]
    assert sum(losses[-10:]) / 10 < 0.5 * losses[0]
    assert epochs[-1]["map"] > 0.95 > before["map"]
