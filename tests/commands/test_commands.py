"""Real runs of the commands with the real network on coco_lite: train, evaluate, search."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import (
    COCO_LITE,
    REPOSITORY,
    SMALL_IMAGES,
    assert_same_state,
    epochs_of,
    log_of,
    run_script,
    shorten_lists,
    succeed,
)

# The published command, from random weights since no ImageNet ones ship, on small images.
PUBLISHED = [
    *("main_single_gpu.py", "--bit", "64", "--dataset", "coco_lite"),
    *("--data-path", "datasets/coco_lite", "--seed", "2000", "--batch-size", "10"),
    *("--learning_rate", "0.001", "--epoch", "2", "--backbone-weights", "none"),
    *SMALL_IMAGES,
]


@pytest.fixture(scope="module")
def trained(scratch):
    """The published command's console output and output folder."""
    output = scratch / "trained"
    return succeed(*PUBLISHED, "--output-dir", output), output


@pytest.fixture(scope="module")
def evaluated(trained):
    """The console output of --eval on what `trained` saved."""
    _, output = trained
    return succeed(
        *("main_single_gpu.py", "--bit", "64", "--eval", "--dataset", "coco_lite"),
        *("--data-path", "datasets/coco_lite", "--batch-size", "64", *SMALL_IMAGES),
        *("--pretrained", output / "weights_64", "--output-dir", output),
    )


def test_training_prints_and_logs_the_kept_lines(trained):
    console, output = trained
    log = log_of(output, 64)
    for line in (
        r"train_set 128$",
        r"test 32$",
        r"database 160$",
        r"Settings that are not the defaults: bit 64, .*dataset coco_lite, .*epoch 2, ",
        r"----- Total # of train batch: 13$",
        r"----- Total # of test batch: 4$",
        r"----- Total # of base batch: 16$",
        r"Start training from epoch 1\.$",
        r"Epoch\[001/002\], Step\[0000/0013\], Loss: \d+\.\d{4}, [\d.]+ img/s, reader \d+%$",
        r"Epoch\[002/002\], Step\[0000/0013\], Loss: \d+\.\d{4}, [\d.]+ img/s, reader \d+%$",
        r"HashNet\[ 1/2\] bit:64, lr:0\.000156250, scale:1\.000, train loss:\d\.\d{3}$",
        r"HashNet\[ 2/2\] bit:64, lr:0\.000156250, scale:1\.000, train loss:\d\.\d{3}$",
        r"----- Validation after Epoch: 2$",
        r"HashNet epoch:2, bit:64, dataset:coco_lite, MAP:0\.\d{3}, Best MAP\(e2\): 0\.\d{3}$",
        r"Max mAP so far: 0\.\d{4} at epoch_2$",
        r"----- Save BEST model: .*weights_64\.pdparams$",
        r"About \d:\d\d:\d\d to go, [\d.]+ s an epoch$",
        r"Saving .*last_64\.npz, 4\d\d MB$",
        r"Training completed for HashNet\(64\)\.$",
        r"Next, evaluate: python main_single_gpu\.py --bit 64 --dataset coco_lite .*--eval$",
        r"Best MAP\(e2\): 0\.\d{3}$",
    ):
        assert re.search(line, console, re.MULTILINE), line
        assert re.search(line, log, re.MULTILINE), line


def test_training_writes_the_files_of_the_design(trained):
    _, output = trained
    written = {str(p.relative_to(output)) for p in (*output.glob("*.*"), *output.glob("train/*"))}
    logs = {f"train/{name}" for name in ("log_64.txt", "metrics_64.jsonl", "config_64.yaml")}
    best = {f"weights_64{ending}" for ending in (".pdparams", ".pdopt", ".json")}
    extras = {"database_code_64.npy", "database_code_64.json", "train/training_64.png"}
    assert written - extras == {*(*best, "last_64.npz", *logs)}
    settings = yaml.safe_load((output / "train/config_64.yaml").read_text(encoding="utf-8"))
    assert (settings["bit"], settings["epoch"], settings["dataset"]) == (64, 2, "coco_lite")
    rows = epochs_of(output, 64)
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        assert row["lr"] == pytest.approx(1e-3 * 10 / 64) and row["pictures"] == 128
        assert row["loss"] > 0 and row["seconds"] > 0
    assert rows[-1]["map"] == rows[-1]["best_map"] > 0 and rows[-1]["evaluation_seconds"] > 0


def test_eval_gives_the_map_of_the_training_and_keeps_packed_codes(trained, evaluated):
    _, output = trained
    metrics = json.loads((output / "test/metrics_64.json").read_text(encoding="utf-8"))
    assert metrics["map"] == epochs_of(output, 64)[-1]["map"]
    line = rf"EVAL-HashNet, bit:64, dataset:coco_lite, MAP:{metrics['map']:.3f}$"
    assert re.search(line, evaluated, re.MULTILINE)
    assert re.search(r"----- Pretrained: Load model state from .*weights_64.pdparams", evaluated)
    assert "ImageNet" not in evaluated
    codes = np.load(output / "database_code_64.npy", allow_pickle=False)
    assert codes.dtype == np.uint8 and codes.shape == (160, 8)
    record = json.loads((output / "database_code_64.json").read_text(encoding="utf-8"))
    assert record["rows"] == 160 and record["list"] == "database.txt"
    best = json.loads((output / "weights_64.json").read_text(encoding="utf-8"))
    assert record["weights_sha256"] == best["weights_sha256"] and best["map"] == metrics["map"]
    assert "centre crop 96" in record["transform"]


def test_neither_loading_threads_nor_a_resume_change_a_bit(trained, tmp_path):
    common = [*PUBLISHED, "--output-dir", tmp_path]
    succeed(*common, "--epoch", "1", "--num_workers", "0")
    resumed = succeed(*common, "--resume", tmp_path / "last_64", "--num_workers", "4")
    assert "Start training from epoch 2." in resumed
    assert [row["epoch"] for row in epochs_of(tmp_path, 64)] == [1, 2]
    assert_same_state(tmp_path, trained[1], 64)


def test_predict_finds_a_database_image_in_kept_codes_and_encodes_other_lists_anew(
    trained, evaluated, tmp_path
):
    output = tmp_path / "output"
    output.mkdir()
    for name in ("weights_64.pdparams", "database_code_64.npy", "database_code_64.json"):
        (output / name).symlink_to(trained[1] / name)
    predict = [
        *("predict.py", "--bit", "64", "--dataset", "coco_lite", "--data_path", COCO_LITE),
        *(*SMALL_IMAGES, "--save_path", tmp_path, "--output-dir", output),
    ]
    said = succeed(*predict)
    assert "Query: datasets/coco_lite/val2014/" in said, "an image of coco_lite by itself"
    first = (REPOSITORY / "data/coco_lite/database.txt").read_text(encoding="utf-8").split()[0]
    said = succeed(*predict, "--img", COCO_LITE / first)
    assert "160 read from" in said
    assert re.search(r"^----- Predicted Hamm_min: 0\.0$", said, re.MULTILINE)
    found = re.search(r"^----- Found Matched Pic: (.*)$", said, re.MULTILINE)
    assert found and found[1].endswith(first)
    saved = re.search(r"^----- Save Matched Pic in: (.*)$", said, re.MULTILINE)
    assert saved and Path(saved[1]).is_file() and Path(saved[1]).parent == tmp_path

    queries = tmp_path / "queries"
    queries.mkdir()
    for image in sorted((COCO_LITE / "val2014").iterdir())[:3]:
        shutil.copy(image, queries)
    lists = shorten_lists(tmp_path / "lists", database=40)
    result = run_script(
        *(*predict, "--img", queries, "--topk", "4", "--json", "--list-path", lists),
        *("--output-dir", tmp_path, "--pretrained", output / "weights_64"),
    )
    assert result.returncode == 0, result.stderr
    assert "encoding 40 images" in result.stderr
    assert "----- Predicted Hamm_min" in result.stderr
    document = json.loads(result.stdout)
    assert document["bit"] == 64 and len(document["results"]) == 3
    for found in document["results"]:
        distances = [match["distance"] for match in found["matches"]]
        assert len(distances) == 4 and distances == sorted(distances)
        assert Path(found["sheet"]).is_file()
        assert {match["relevant"] for match in found["matches"]} == {None}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have viewers of their own")
@pytest.mark.parametrize("viewer", [None, '#!/bin/sh\ncp "$1" shown.png\n'])
def test_show_opens_the_contact_sheet_or_says_that_it_cannot(trained, evaluated, tmp_path, viewer):
    programs = tmp_path / "programs"
    programs.mkdir()
    if viewer:
        (programs / "xdg-open").write_text(viewer)
        (programs / "xdg-open").chmod(0o755)
    (programs / "cp").symlink_to(shutil.which("cp"))
    said = succeed(
        *("predict.py", "--dataset", "coco_lite", *SMALL_IMAGES, "--show"),
        *("--output-dir", trained[1], "--save-path", tmp_path),
        cwd=tmp_path,
        environment={"PATH": str(programs)},
    )
    (query,) = re.findall(r"^.*Query: (.*)$", said, re.MULTILINE)
    assert Path(query).is_absolute() and Path(query).is_file(), "an image of coco_lite by itself"
    assert ("--show: this system has no viewer of images" in said) is (not viewer)
    deadline = time.monotonic() + 20
    while viewer and not (tmp_path / "shown.png").is_file():
        assert time.monotonic() < deadline
        time.sleep(0.1)
