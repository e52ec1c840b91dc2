"""A user's mistake: exit status 2, one clear line on stderr, no traceback, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

LABELS = 80


@pytest.fixture()
def data(tmp_path):
    """Four grey pictures with lists, as train, test and database."""
    (tmp_path / "pictures").mkdir()
    lines = []
    for number in range(4):
        Image.new("RGB", (80, 70), (60 * number,) * 3).save(tmp_path / f"pictures/{number}.jpg")
        labels = ["1" if label == number % 2 else "0" for label in range(LABELS)]
        lines.append(" ".join([f"{number}.jpg", *labels]))
    for name in ("train", "test", "database"):
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def training(data: Path) -> list:
    """A training command on `data`."""
    return [
        *("main_single_gpu.py", "--dataset", "coco_lite", "--data-path", data / "pictures"),
        *("--list-path", data, "--backbone-weights", "none", "--epoch", "1", "--bit", "8"),
        *("--output-dir", data / "output"),
    ]


def assert_one_clear_line(result, *words: str) -> None:
    """Status 2 and a single line on stderr that holds `words`."""
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for word in words:
        assert word in lines[0], lines[0]


def test_a_missing_list(run, data):
    (data / "train.txt").unlink()
    assert_one_clear_line(run(*training(data)), "train.txt", "missing", "--list-path")


def test_a_missing_picture_folder(run, data):
    shutil.rmtree(data / "pictures")
    assert_one_clear_line(run(*training(data)), "pictures", "missing", "--data-path")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_missing_picture(run, data, workers):
    text = (data / "database.txt").read_text(encoding="utf-8")
    (data / "database.txt").write_text(text.replace("2.jpg", "7.jpg"), encoding="utf-8")
    result = run(*training(data), "--num-workers", workers)
    assert_one_clear_line(result, "7.jpg", "missing", "database.txt, line 3")


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_text_file_as_picture(run, data, workers):
    (data / "pictures/1.jpg").write_text("no picture", encoding="utf-8")
    result = run(*training(data), "--num-workers", workers)
    assert_one_clear_line(result, "1.jpg", "not a picture", "train.txt, line 2")


def test_bad_pictures_are_skipped_on_request_and_named_everywhere(run, data):
    (data / "pictures/1.jpg").write_text("no picture", encoding="utf-8")
    skip = ["--on-bad-image", "skip", "--cache-dir", data / "cache", "--batch-size", "2"]
    trained = run(*training(data), *skip)
    assert trained.returncode == 0, trained.stderr
    for words in (
        "1 training pictures are bad, others take their places:",
        "1 pictures of test are left out:",
        "1 pictures of database are left out:",
        "the others need 0.9 MB",
    ):
        assert words in trained.stdout
    (row,) = map(json.loads, (data / "output/train/metrics_8.jsonl").read_text().splitlines())
    assert len(row["replaced"]) == 1 and "train.txt, line 2" in row["replaced"][0]
    assert "test.txt, line 2" in row["left_out"]["test"][0]
    assert row["pictures"] == 4
    search = [
        *("predict.py", "--bit", "8", "--dataset", "coco_lite", "--list-path", data),
        *("--data-path", data / "pictures", "--output-dir", data / "output"),
        *("--save-path", data, "--json", "--img", data / "pictures"),
    ]
    for said in ("encoding 4 pictures", "3 read from"):
        result = run(*search, "--on-bad-image", "skip")
        assert result.returncode == 0, result.stderr
        assert said in result.stderr and result.stderr.count("Left out: ") == 2
        found = json.loads(result.stdout)["results"]
        assert [Path(each["query"]).name for each in found] == ["0.jpg", "2.jpg", "3.jpg"]
        for each in found:
            names = [Path(match["picture"]).name for match in each["matches"]]
            assert sorted(names) == ["0.jpg", "2.jpg", "3.jpg"]
            assert [f"{match['row']}.jpg" for match in each["matches"]] == names
    plain = [word for word in search if word != "--json"]  # whose messages go to stdout
    assert_one_clear_line(run(*plain), "1.jpg", "not a picture", "--img")


def test_a_cache_in_place_of_a_file(run, data):
    (data / "cache").write_text("a file", encoding="utf-8")
    assert_one_clear_line(run(*training(data), "--cache-dir", data / "cache"), "cannot be written")


def test_a_wrong_number_of_labels(run, data):
    with (data / "test.txt").open("a", encoding="utf-8") as file:
        file.write("3.jpg 0 1\n")
    assert_one_clear_line(run(*training(data)), "test.txt, line 5", "expected 80 labels", "found 2")


def test_missing_imagenet_weights_name_the_three_ways_out(run, data):
    command = [word for word in training(data) if word not in ("--backbone-weights", "none")]
    result = run(*command, "--backbone-weights", data / "none.pdparams")
    assert_one_clear_line(result, "convert_weights.py", "paddle", "--backbone-weights none")


@pytest.fixture(scope="session")
def weights_of_8_bits(tmp_path_factory):
    """Random weights for 8 bits."""
    from models import HashNet
    from utils.system.state_files import write_state

    path = tmp_path_factory.mktemp("weights") / "weights_8.pdparams"
    write_state(path, HashNet(8).state_dict())
    return path


def test_weights_for_other_bits(run, data, weights_of_8_bits):
    arguments = ["--bit", "16", "--pretrained", weights_of_8_bits]
    result = run(*training(data), "--eval", *arguments)
    assert_one_clear_line(result, "weights for 8 bits", "--bit 16")


def test_missing_and_broken_weights(run, data):
    result = run(*training(data), "--eval", "--pretrained", data / "none")
    assert_one_clear_line(result, "none.pdparams", "missing")
    (data / "broken.pdparams").write_bytes(b"these are no weights")
    result = run(*training(data), "--eval", "--pretrained", data / "broken")
    assert_one_clear_line(result, "broken.pdparams", "not a file of trained weights")


def test_a_text_file_as_query(run, data, weights_of_8_bits):
    result = run(
        *("predict.py", "--bit", "8", "--dataset", "coco_lite", "--list-path", data),
        *("--data-path", data / "pictures", "--pretrained", weights_of_8_bits),
        *("--output-dir", data, "--img", data / "test.txt"),
    )
    assert_one_clear_line(result, "test.txt", "not a picture")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bit", "0"], ["--bit", "multiple of 8", "found 0"]),
        (["--bit", "20"], ["--bit", "multiple of 8", "found 20"]),
        (["--bit", "many"], ["--bit", "many"]),
        (["--batch-size", "0"], ["--batch-size", "1 or more"]),
        (["--optimizer", "Adam"], ["--optimizer", "SGD"]),
        (["--dataset", "cocoo"], ["cocoo", "unknown data set", "coco_lite"]),
        (["--learning", "1"], ["--learning"]),
        (["--topK", "0"], ["--topK", "found 0"]),
        (["--crop_size", "300"], ["--crop-size 300", "--resize-size 256"]),
        (["--amp", "--device", "cpu"], ["--amp", "cpu", "without --amp"]),
    ],
)
def test_wrong_flags(run, arguments, words):
    assert_one_clear_line(run("main_single_gpu.py", *arguments), *words)


def test_an_unknown_key_in_the_yaml_file(run, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("bit: 32\nlearning_rat: 0.1\n", encoding="utf-8")
    result = run("main_single_gpu.py", "--config", file)
    assert_one_clear_line(result, "settings.yaml", "'learning_rat'", "'learning_rate'")


def test_an_output_folder_that_cannot_be_written(run, data):
    (data / "output").write_text("a file where the folder should be", encoding="utf-8")
    assert_one_clear_line(run(*training(data)), "output", "cannot be written")


def test_a_ruined_training_stops_and_keeps_what_was_saved(run, data):
    common = [*training(data), "--batch-size", "2"]
    assert run(*common).returncode == 0
    saved = (data / "output/last_8.pdparams").read_bytes()
    result = run(*common, "--epoch", "3", "--learning_rate", "1e30")
    assert_one_clear_line(result, "loss is", "step", "--learning-rate")
    assert (data / "output/last_8.pdparams").read_bytes() == saved


def test_a_training_whose_loss_climbs_says_so(run, data):
    result = run(
        *(*training(data), "--bit", "64", "--learning_rate", "0.1", "--epoch", "3"),
        *("--eval_epoch", "3", "--save_epoch", "3"),
    )
    assert result.returncode == 0, result.stderr
    log = (data / "output/train/log_64.txt").read_text(encoding="utf-8")
    assert "The loss has climbed to" in log and "lower --learning-rate" in log
    first = log[: log.index("HashNet[ 2/3]")]
    assert "climbed" not in first, "the first epoch's loss was an ordinary one"


@pytest.mark.parametrize("key", ["dataset", "data_path", "output_dir", "epoch"])
def test_an_empty_value_in_the_yaml_file(run, tmp_path, key):
    file = tmp_path / "settings.yaml"
    file.write_text(f"{key}:\n", encoding="utf-8")
    assert_one_clear_line(run("main_single_gpu.py", "--config", file), "settings.yaml", key)


def test_a_seed_too_large_for_paddle(run):
    assert_one_clear_line(run("main_single_gpu.py", "--seed", "9" * 20), "--seed", "less than")


def test_an_earlier_training_s_weights_are_kept_and_a_changed_recipe_is_told(run, data):
    output = data / "output"
    assert run(*training(data)).returncode == 0
    first = (output / "weights_8.pdparams").read_bytes()
    resume = ["--resume", output / "last_8", "--alpha", "0.2", "--epoch", "2"]
    difference = "alpha is 0.2, the saved training had 0.1"
    assert_one_clear_line(run(*training(data), *resume), difference, "--force-resume")
    resumed = run(*training(data), *resume, "--force-resume")
    assert difference in resumed.stdout, resumed.stderr
    assert not (output / "earlier_weights_8.pdparams").exists()
    best = (output / "weights_8.pdparams").read_bytes()
    assert run(*training(data), "--seed", "1").returncode == 0
    assert (output / "earlier_weights_8.pdparams").read_bytes() == best
    settings = (output / "train/config_8.yaml").read_bytes()
    idle = run(*training(data), "--resume", output / "last_8", "--seed", "1", "--debug-steps", "5")
    assert "Nothing to train" in idle.stdout and idle.returncode == 0
    assert (output / "train/config_8.yaml").read_bytes() == settings
    assert first != (output / "weights_8.pdparams").read_bytes()


def test_codes_that_no_record_describes_are_set_aside(run, data, weights_of_8_bits):
    published = data / "database_code_8.npy"
    np.save(published, np.ones((4, 8), dtype=np.float32))
    before = published.read_bytes()
    result = run(
        *("predict.py", "--bit", "8", "--dataset", "coco_lite", "--list-path", data),
        *("--data-path", data / "pictures", "--pretrained", weights_of_8_bits),
        *("--output-dir", data, "--save-path", data, "--img", data / "pictures/0.jpg"),
    )
    assert result.returncode == 0, result.stderr
    assert "database_code_8.kept.npy" in result.stdout
    assert (data / "database_code_8.kept.npy").read_bytes() == before
    assert np.load(published).shape == (4, 1)
