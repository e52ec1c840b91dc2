"""The commands on real COCO photos, of which nine are enough to learn something."""

from __future__ import annotations

import re

from helpers import epochs_of, succeed


def test_nine_photos_are_learnt_by_heart_and_found(real_data, tmp_path):
    folder, lists = real_data / "coco_photos", tmp_path / "lists"
    lists.mkdir()
    train = (folder / "lists/train.txt").read_text(encoding="utf-8")
    for name in ("train", "test", "database"):
        (lists / f"{name}.txt").write_text(train, encoding="utf-8")
    common = ["--bit", "64", "--dataset", "coco", "--data-path", folder, "--list-path", lists]
    common += ["--output-dir", tmp_path, "--crop-size", "96", "--resize-size", "96"]
    said = succeed(
        *("main_single_gpu.py", *common, "--backbone-weights", "none", "--eval_first"),
        *("--batch-size", "9", "--num_workers", "0", "--optimizer", "AdamW"),
        *("--learning_rate", "0.0004", "--de_step", "40"),
        *("--epoch", "65", "--eval_epoch", "65", "--save_epoch", "65"),
    )
    for line in ("train_set 9", "test 9", "database 9", "Total # of train batch: 1"):
        assert line in said
    before, *epochs = epochs_of(tmp_path, 64)
    losses = [row["loss"] for row in epochs]
    assert sum(losses[-10:]) / 10 < 0.5 * losses[0]
    assert epochs[-1]["map"] > 0.95 > before["map"]
    photo = train.splitlines()[4].split()[0]
    search = ["--img", folder / photo, "--save_path", tmp_path, "--topk", "3"]
    said = succeed("predict.py", *common, *search)
    assert "----- Predicted Hamm_min: 0.0" in said
    assert re.search(rf"Found Matched Pic: .*{photo}$", said, re.MULTILINE)
    assert re.search(r"^ +2 +\d+  \+ .*\.jpg$", said, re.MULTILINE)
