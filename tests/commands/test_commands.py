"""Real runs of the commands on coco_lite: train, evaluate, search, resume."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]
EVAL = [
    *("main_single_gpu.py", "--bit", "64", "--eval", "--dataset", "coco_lite"),
    *("--data-path", "datasets/coco_lite", "--batch-size", "64"),
]
PREDICT = [
    *("predict.py", "--bit", "64", "--dataset", "coco_lite"),
    *("--data_path", "datasets/coco_lite"),
]


@pytest.fixture(scope="session")
def evaluated(run, trained):
    """The console output of --eval on what `trained` saved."""
    _, output = trained
    result = run(*EVAL, "--pretrained", output / "weights_64", "--output-dir", output)
    assert result.returncode == 0, result.stderr
    return result.stdout


def epochs_of(output: Path) -> list[dict]:
    """The lines of a training's metrics file."""
    text = (output / "train/metrics_64.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    "line",
    [
        r"train_set 128$",
        r"test 32$",
        r"database 160$",
        r"----- Total # of train batch: 13$",
        r"Start training from epoch 1\.$",
        r"Epoch\[001/002\], Step\[0000/0013\], Loss: \d+\.\d{4}, \d+\.\d img/s, reader [\d.]+ s, ",
        r"Epoch\[002/002\], Step\[0000/0013\], Loss: \d+\.\d{4}, .* img/s, .* s, batch [\d.]+ s$",
        r"HashNet\[ 1/2\] bit:64, lr:0\.000156250, scale:1\.000, train loss:\d\.\d{3}$",
        r"HashNet\[ 2/2\] bit:64, lr:0\.000156250, scale:1\.000, train loss:\d\.\d{3}$",
        r"----- Validation after Epoch: 2$",
        r"HashNet epoch:2, bit:64, dataset:coco_lite, MAP:0\.\d{3}, Best MAP\(e[12]\): 0\.\d{3}$",
        r"Max mAP so far: 0\.\d{4} at epoch_[12]$",
        r"----- Save BEST model: .*weights_64\.pdparams$",
        r"Training completed for HashNet\(64\)\.$",
        r"Best MAP\(e[12]\): 0\.\d{3}$",
    ],
)
def test_training_prints_and_logs_the_kept_line(trained, line):
    console, output = trained
    log = (output / "train/log_64.txt").read_text(encoding="utf-8")
    assert re.search(line, console, re.MULTILINE), console
    assert re.search(line, log, re.MULTILINE), log


def test_training_writes_the_files_of_the_design(trained):
    _, output = trained
    written = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    wanted = {f"weights_64{ending}" for ending in (".pdparams", ".pdopt")}
    wanted |= {f"last_64{ending}" for ending in (".pdparams", ".pdopt", ".pdstates")}
    wanted |= {f"train/{name}" for name in ("log_64.txt", "metrics_64.jsonl", "config_64.yaml")}
    assert wanted <= written
    assert not [name for name in written if "tmp" in name]


def test_the_metrics_file_has_a_line_an_epoch(trained):
    _, output = trained
    rows = epochs_of(output)
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["lr"] == pytest.approx(1e-3 * 10 / 64) for row in rows)
    assert all(row["pictures"] == 128 and row["loss"] > 0 and row["seconds"] > 0 for row in rows)


def test_the_saved_settings_name_what_was_asked_for(trained):
    _, output = trained
    settings = yaml.safe_load((output / "train/config_64.yaml").read_text(encoding="utf-8"))
    assert (settings["bit"], settings["epoch"], settings["dataset"]) == (64, 2, "coco_lite")


def test_eval_gives_the_map_of_the_training(trained, evaluated):
    _, output = trained
    metrics = json.loads((output / "test/metrics_64.json").read_text(encoding="utf-8"))
    assert metrics["map"] == max(row["map"] for row in epochs_of(output))
    assert all(row["evaluation_seconds"] > 0 for row in epochs_of(output))
    assert re.search(
        rf"EVAL-HashNet, bit:64, dataset:coco_lite, MAP:{metrics['map']:.3f}$",
        evaluated,
        re.MULTILINE,
    )
    assert re.search(r"----- Pretrained: Load model state from .*weights_64.pdparams", evaluated)


def test_eval_keeps_packed_codes_and_what_they_are_of(trained, evaluated):
    _, output = trained
    codes = np.load(output / "database_code_64.npy", allow_pickle=False)
    assert codes.dtype == np.uint8 and codes.shape == (160, 8)
    record = json.loads((output / "database_code_64.json").read_text(encoding="utf-8"))
    assert record["rows"] == 160 and record["list"] == "database.txt"
    assert len(record["weights_sha256"]) == 64 and "224" in record["transform"]


def test_a_database_picture_finds_itself(run, trained, evaluated, tmp_path):
    _, output = trained
    first = (ROOT / "data/coco_lite/database.txt").read_text(encoding="utf-8").split()[0]
    picture = ROOT / "datasets/coco_lite" / first
    result = run(
        *PREDICT,
        *("--img", picture, "--save_path", tmp_path, "--output-dir", output),
    )
    assert result.returncode == 0, result.stderr
    assert re.search(r"^----- Predicted Hamm_min: 0\.0$", result.stdout, re.MULTILINE)
    found = re.search(r"^----- Found Matched Pic: (.*)$", result.stdout, re.MULTILINE)
    assert found and found[1].endswith(first)
    saved = re.search(r"^----- Save Matched Pic in: (.*)$", result.stdout, re.MULTILINE)
    assert saved and Path(saved[1]).is_file() and Path(saved[1]).parent == tmp_path
    assert "160 read from" in result.stdout


def test_predict_encodes_once_and_again_when_weights_or_list_have_changed(run, trained, tmp_path):
    _, output = trained
    picture = ROOT / "datasets/coco_lite" / "val2014"
    picture = sorted(picture.iterdir())[0]
    lists = tmp_path / "lists"
    shutil.copytree(ROOT / "data/coco_lite", lists)
    common = [*PREDICT, "--img", picture, "--save_path", tmp_path, "--output-dir", tmp_path]
    common += ["--list-path", lists]
    best, last = output / "weights_64", output / "last_64"
    first = run(*common, "--pretrained", best).stdout
    assert "encoding 160 pictures" in first and "not there yet" in first
    assert "160 read from" in run(*common, "--pretrained", best).stdout
    rows = (lists / "database.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (lists / "database.txt").write_text("".join(rows[:40]), encoding="utf-8")
    changed = run(*common, "--pretrained", best).stdout
    assert "encoding 40 pictures" in changed and "list" in changed
    if best.with_suffix(".pdparams").read_bytes() != last.with_suffix(".pdparams").read_bytes():
        changed = run(*common, "--pretrained", last).stdout
        assert "encoding 40 pictures" in changed and "weights" in changed


@pytest.fixture(scope="module")
def one_epoch(run, scratch):
    """The output folder of the published command, stopped after its first epoch."""
    output = scratch / "one_epoch"
    result = run(*PUBLISHED, "--output-dir", output, "--epoch", "1")
    assert result.returncode == 0, result.stderr
    return output


@pytest.mark.parametrize("workers", ["0", "4"])
def test_the_number_of_workers_changes_nothing(run, one_epoch, tmp_path, workers):
    result = run(
        *(*PUBLISHED, "--output-dir", tmp_path, "--epoch", "1", "--num_workers", workers),
    )
    assert result.returncode == 0, result.stderr
    for name in ("last_64.pdparams", "last_64.pdopt"):
        assert (tmp_path / name).read_bytes() == (one_epoch / name).read_bytes()


def test_a_resumed_training_ends_with_the_same_weights(run, trained, one_epoch):
    _, output = trained
    resume = ["--resume", one_epoch / "last_64"]
    result = run(*PUBLISHED, "--output-dir", one_epoch, *resume)
    assert result.returncode == 0, result.stderr
    assert "Start training from epoch 2." in result.stdout
    whole = (output / "last_64.pdparams").read_bytes()
    assert (one_epoch / "last_64.pdparams").read_bytes() == whole
    assert [row["epoch"] for row in epochs_of(one_epoch)] == [1, 2]


def test_an_evaluation_needs_no_imagenet_weights(run, evaluated):
    assert "ImageNet" not in evaluated


def test_help_is_grouped_and_shows_examples(run):
    for command in ("main_single_gpu.py", "predict.py"):
        text = run(command, "--help").stdout
        assert "examples:" in text and "data:" in text and "machine, logs and files:" in text


def test_predict_takes_folders_and_prints_json(run, trained, evaluated, tmp_path):
    _, output = trained
    folder = tmp_path / "queries"
    folder.mkdir()
    for picture in sorted((ROOT / "datasets/coco_lite/val2014").iterdir())[:3]:
        shutil.copy(picture, folder)
    result = run(
        *PREDICT,
        *("--img", folder, "--topk", "4", "--json"),
        *("--save_path", tmp_path, "--output-dir", output),
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["bit"] == 64 and len(document["results"]) == 3
    for found in document["results"]:
        distances = [match["distance"] for match in found["matches"]]
        assert len(distances) == 4 and distances == sorted(distances)
        assert Path(found["sheet"]).is_file()
        assert {match["relevant"] for match in found["matches"]} == {None}
    assert "----- Predicted Hamm_min" in result.stderr


def test_queries_that_stand_in_the_database_are_told_and_can_be_left_out(run, trained, tmp_path):
    _, output = trained
    lists = tmp_path / "lists"
    shutil.copytree(ROOT / "data/coco_lite", lists)
    rows = (lists / "database.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    queries = (lists / "test.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (lists / "test.txt").write_text("".join(queries[:3] + rows[:2]), encoding="utf-8")
    values = []
    for flags in ([], ["--exclude_self"]):
        result = run(
            *(*EVAL, "--list-path", lists, "--pretrained", output / "weights_64"),
            *("--output-dir", tmp_path, *flags),
        )
        assert "2 of 5 queries stand in the database" in result.stdout
        metrics = json.loads((tmp_path / "test/metrics_64.json").read_text(encoding="utf-8"))
        assert metrics["protocol"]["queries_in_database"] == 2
        assert metrics["protocol"]["exclude_self"] == bool(flags)
        values.append(metrics["map"])
    assert values[0] > values[1], "two queries that found themselves first no longer do"
