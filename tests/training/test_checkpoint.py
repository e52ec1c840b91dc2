"""What a training leaves: the best weights, what they are of, and nothing of others lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import namedtuple

import numpy as np
import paddle
import pytest
from small_training import arguments_of, run_small

from utils.config import TRAIN_COMMAND, parse_config
from utils.system import files
from utils.system.errors import UserError


def train(data, output, *more, epochs=3):
    """A training in this process; returns its exit status."""
    arguments = arguments_of(data, output, epochs, True, *map(str, more))
    return run_small(parse_config(TRAIN_COMMAND, arguments))


@pytest.fixture(scope="module")
def trained(small_data, tmp_path_factory):
    """Output folder of three epochs, the last of them evaluated."""
    output = tmp_path_factory.mktemp("trained")
    assert train(small_data, output) == 0
    return output


def sha256(path):
    """A file's hash."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def last_epoch(output):
    """The last line of the metrics file."""
    text = (output / "train/metrics_8.jsonl").read_text(encoding="utf-8")
    return json.loads(text.splitlines()[-1])


def test_a_record_says_what_the_best_weights_are_of(small_data, trained):
    record = json.loads((trained / "weights_8.json").read_text(encoding="utf-8"))
    assert record["epoch"] == 3 and record["map"] == last_epoch(trained)["map"]
    assert record["weights_sha256"] == sha256(trained / "weights_8.pdparams")
    assert record["versions"] == {"paddle": paddle.__version__, "numpy": np.__version__}
    settings = record["settings"]
    expected = {"bit": 8, "seed": 2000, "learning_rate": 0.02, "batch_size": 4, "ranks": 1}
    assert {name: settings[name] for name in expected} == expected
    assert settings["dataset"] == str(small_data)
    for name in ("train", "test", "database"):
        assert settings["data"][f"{name} list"] == sha256(small_data / f"{name}.txt")


@pytest.mark.parametrize("weights", ["weights_8", "last_8", "last_8.npz"])
def test_weights_and_states_are_evaluated_alike(small_data, trained, tmp_path, weights):
    assert train(small_data, tmp_path, "--eval", "--pretrained", trained / weights) == 0
    metrics = json.loads((tmp_path / "test/metrics_8.json").read_text(encoding="utf-8"))
    assert metrics["map"] == last_epoch(trained)["map"]
    file = {"weights_8": "weights_8.pdparams"}.get(weights, "last_8.npz")
    assert metrics["protocol"]["weights"] == file
    assert metrics["protocol"]["weights_sha256"] == sha256(trained / file)


def test_a_new_training_keeps_an_earlier_one_s_best_weights(small_data, trained, tmp_path):
    output = shutil.copytree(trained, tmp_path / "output")
    assert train(small_data, output, "--resume", output / "last_8", epochs=6) == 0
    assert not list(output.glob("earlier*")), "one that goes on is no new one"
    names = ("weights_8.pdparams", "weights_8.json")
    best = [(output / name).read_bytes() for name in names]
    assert train(small_data, output, "--seed", "1") == 0
    assert [(output / f"earlier_{name}").read_bytes() for name in names] == best
    log = (output / "train/log_8.txt").read_text(encoding="utf-8")
    assert f"Weights of an earlier training: now {output}/earlier_weights_8.pdparams" in log
    before = (output / "train/config_8.yaml").read_bytes()
    idle = ["--resume", output / "last_8", "--seed", "1", "--debug-steps", "7"]
    assert train(small_data, output, *idle) == 0
    log = (output / "train/log_8.txt").read_text(encoding="utf-8")
    assert "Nothing to train: 3 epochs are done already, --epoch asks for 3" in log
    assert (output / "train/config_8.yaml").read_bytes() == before


def test_a_disk_that_is_full_costs_no_earlier_state(small_data, trained, tmp_path, monkeypatch):
    output = shutil.copytree(trained, tmp_path / "output")
    before = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}

    def fill(path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fill)
    with pytest.raises(UserError, match=r"last_8\.npz: cannot be written: No space left on device"):
        train(small_data, output, "--resume", output / "last_8", epochs=5)
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} == before


def test_too_little_space_is_told_before_the_first_step(small_data, tmp_path, monkeypatch):
    little = namedtuple("usage", "free")(3000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: little)
    with pytest.raises(UserError, match=r"weights_8\.pdopt, last_8\.npz: make room, or name a"):
        train(small_data, tmp_path)
    assert "Step[" not in (tmp_path / "train/log_8.txt").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["train"]
