"""A user's mistake or a damaged file: exit status 2 and one clear line, no traceback."""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path

import pytest
from helpers import (
    COCO_LITE,
    SMALL_IMAGES,
    epochs_of,
    fail,
    log_of,
    run_script,
    run_shell,
    shorten_lists,
)
from small_training import train_small

from utils.system.errors import run_command


@pytest.fixture()
def data(small_data, tmp_path):
    """A copy of the drawn data set, to be damaged."""
    return shutil.copytree(small_data, tmp_path / "data")


def train(data, *more, epochs=1):
    """A training of the small network in this process, as a command; returns its status."""
    return run_command(lambda: train_small(data, data / "output", *more, epochs=epochs))


def replace(old: bytes, new: bytes):
    """Replaces bytes of a file."""
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new, 1))


def cut(path: Path) -> None:
    """Cuts a file off in the middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(path: Path) -> None:
    """Writes random bytes."""
    path.write_bytes(bytes(random.Random(len(path.name)).randrange(256) for _ in range(500)))


EVAL = ["--eval"]
DAMAGED = [
    ("train.txt", Path.unlink, [], ["missing", "--list-path"]),
    ("test.txt", replace(b" 0", b""), EVAL, ["line 1", "expected 3 labels", "found 2"]),
    ("database.txt", replace(b"database1", b"../database1"), EVAL, ["line 2", "--allow-outside"]),
    ("database.txt", replace(b"database2", b"nothing"), ["--num-workers", "2"], ["line 3"]),
    ("train1.png", cut, [], ["train.txt, line 2", "not an image", "--on-bad-image skip"]),
    ("test3.png", Path.unlink, EVAL, ["test.txt, line 4", "missing"]),
    ("first.pdparams", cut, EVAL, ["not a file of trained weights"]),
    ("dataset.yaml", noise, EVAL, []),
]


CANNOT_BE = [
    (["--data-path", "nowhere"], ["nowhere", "missing", "--data-path"]),
    (["--output-dir", "FILE"], ["dataset.yaml", "cannot be written"]),
    (["--cache-dir", "FILE"], ["dataset.yaml", "cannot be written"]),
    (["--amp"], ["--amp", "cpu", "without --amp"]),
    (["--bit", "16"], ["first.pdparams", "weights for 8 bits", "--bit 16"]),
    (["--resume", "nothing"], ["nothing.npz", "missing"]),
]


@pytest.mark.parametrize(
    ("name", "damage", "flags", "words"),
    [*DAMAGED, *(("", lambda path: None, *case) for case in CANNOT_BE)],
)
def test_a_damaged_file_or_an_impossible_flag_is_one_line(data, capsys, name, damage, flags, words):
    damage(data / name)
    flags = [str(data / "dataset.yaml") if flag == "FILE" else flag for flag in flags]
    assert train(data, *flags) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    for word in (name, *words):
        assert word in line


def test_bad_images_are_skipped_on_request_and_named_everywhere(data):
    for name in ("train1", "test1", "database1"):
        noise(data / f"{name}.png")
    for cache in ([], ["--cache-dir", data / "cache"]):
        assert train(data, "--on-bad-image", "skip", *cache) == 0
    log = log_of(data / "output")
    for words in (
        "1 training images are bad, others take their places:",
        "1 images of test are left out:",
        "1 images of database are left out:",
    ):
        assert words in log
    (cached,) = epochs_of(data / "output")
    earlier = data / "output/train/earlier_metrics_8.jsonl"
    first = json.loads(earlier.read_text(encoding="utf-8"))
    assert len(first["replaced"]) == 1 and "train.txt, line 2" in first["replaced"][0]
    assert "test.txt, line 2" in first["left_out"]["test"][0] and first["pictures"] == 12
    for key in ("loss", "map", "replaced", "left_out"):
        assert cached[key] == first[key]


def test_a_training_whose_loss_climbs_says_so(data):
    flags = ["--optimizer", "AdamW", "--learning-rate", "0.5", "--alpha", "0.3"]
    assert train(data, *flags, epochs=3) == 0
    log = log_of(data / "output")
    assert "The loss has climbed to" in log and "lower --learning-rate" in log
    assert "climbed" not in log[: log.index("HashNet[ 2/3]")], "the first epoch's was ordinary"


# The commands themselves.


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_standard_stream_that_was_closed_changes_nothing_else(tmp_path, closed):
    report = tmp_path / "report.json"
    words = [sys.executable, "scripts/check_data.py", "--labels-only", "--report", report]
    for data_set, status in (("coco_lite", 0), ("nope", 2)):
        done = run_shell("sh", "-c", f'exec "$0" "$@" {closed}', *words, "--dataset", data_set)
        assert done.returncode == status
        assert ("error: " in done.stderr) == (status == 2 and "2>" not in closed)
    assert json.loads(report.read_text(encoding="utf-8"))["ok"]


def test_a_training_without_imagenet_weights_names_three_ways_out(tmp_path):
    line = fail(
        *("main_single_gpu.py", "--dataset", "coco_lite", "--output-dir", tmp_path),
        *("--backbone-weights", tmp_path / "none.pdparams"),
    )
    for word in ("convert_weights.py", "paddle", "--backbone-weights none"):
        assert word in line


def test_a_search_leaves_bad_images_out_on_request(weights_16, tmp_path):
    images = shutil.copytree(COCO_LITE, tmp_path / "images")
    lists = shorten_lists(tmp_path / "lists", test=2, database=4)
    names = [line.split()[0] for line in (lists / "database.txt").open(encoding="utf-8")]
    queries = tmp_path / "queries"
    queries.mkdir()
    for name in names[:2]:
        shutil.copy(images / name, queries)
    (queries / "bad.jpg").write_text("no image", encoding="utf-8")
    (images / names[1]).write_text("no image", encoding="utf-8")
    result = run_script(
        *("predict.py", "--bit", "16", "--dataset", "coco_lite", "--list-path", lists),
        *("--pretrained", weights_16, "--output-dir", tmp_path, "--save-path", tmp_path),
        *("--data-path", images, "--img", queries, "--on-bad-image", "skip", "--json"),
        *SMALL_IMAGES,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Left out: ") == 2 and "encoding 4 images" in result.stderr
    found = json.loads(result.stdout)["results"]
    assert {Path(each["query"]).name for each in found} == {Path(name).name for name in names[:2]}
    for each in found:
        assert sorted(match["row"] for match in each["matches"]) == [0, 2, 3]
        for match in each["matches"]:
            assert match["picture"] == str(images / names[match["row"]])
