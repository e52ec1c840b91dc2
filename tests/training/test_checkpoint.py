"""What a training leaves: the best weights, what they are of, and nothing of others lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import namedtuple

import numpy as np
import paddle
import pytest
from helpers import assert_same_state, epochs_of, log_of
from small_training import train_small

from utils.system import files
from utils.system.errors import UserError
from utils.training.checkpoint import CheckpointSaver


def sha256(path):
    """A file's hash."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_record_says_what_the_best_weights_are_of(small_data, trained_small):
    record = json.loads((trained_small / "weights_8.json").read_text(encoding="utf-8"))
    assert record["epoch"] == 3 and record["map"] == epochs_of(trained_small)[-1]["map"]
    assert record["weights_sha256"] == sha256(trained_small / "weights_8.pdparams")
    assert record["versions"] == {"paddle": paddle.__version__, "numpy": np.__version__}
    settings = record["settings"]
    expected = {"bit": 8, "seed": 2000, "learning_rate": 0.02, "batch_size": 4, "ranks": 1}
    assert {name: settings[name] for name in expected} == expected
    assert settings["dataset"] == str(small_data)
    for name in ("train", "test", "database"):
        assert settings["data"][f"{name} list"] == sha256(small_data / f"{name}.txt")


def test_a_new_training_keeps_an_earlier_one_s_best_weights(small_data, trained_small, tmp_path):
    output = shutil.copytree(trained_small, tmp_path / "output")
    assert train_small(small_data, output, "--resume", output / "last_8", epochs=6) == 0
    assert not list(output.glob("earlier*")), "one that goes on is no new one"
    names = ("weights_8.pdparams", "weights_8.json")
    best = [(output / name).read_bytes() for name in names]
    assert train_small(small_data, output, "--seed", "1") == 0
    assert [(output / f"earlier_{name}").read_bytes() for name in names] == best
    said = f"Weights of an earlier training: now {output}/earlier_weights_8.pdparams"
    assert said in log_of(output)
    before = (output / "train/config_8.yaml").read_bytes()
    idle = ["--resume", output / "last_8", "--seed", "1", "--debug-steps", "7"]
    assert train_small(small_data, output, *idle) == 0
    assert "Nothing to train: 3 epochs are done already, --epoch asks for 3" in log_of(output)
    assert (output / "train/config_8.yaml").read_bytes() == before


def test_too_little_space_is_told_before_the_first_step(small_data, tmp_path, monkeypatch):
    little = namedtuple("usage", "free")(3000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: little)
    with pytest.raises(UserError, match=r"weights_8\.pdopt, last_8\.npz: make room, or name a"):
        train_small(small_data, tmp_path)
    assert "Step[" not in log_of(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


def test_states_are_saved_at_evaluations_and_by_the_clock_without_changing_the_result(
    small_data, trained_small, tmp_path, monkeypatch
):
    saved = []
    save_last = CheckpointSaver.save_last

    def note(saver, progress):
        saved.append((progress.epoch, progress.step))
        save_last(saver, progress)

    monkeypatch.setattr(CheckpointSaver, "save_last", note)
    seldom = ["--save-epoch", "0"]
    assert train_small(small_data, tmp_path / "seldom", *seldom) == 0
    assert saved == [(3, 0)], "after the evaluation alone"
    saved.clear()
    assert train_small(small_data, tmp_path / "often", *seldom, "--save-minutes", "1e-9") == 0
    assert saved == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (3, 0)]
    for output in (tmp_path / "seldom", tmp_path / "often"):
        assert_same_state(output, trained_small)
    row, expected = epochs_of(tmp_path / "often")[0], epochs_of(trained_small)[0]
    assert (row["loss"], row["pictures"]) == (expected["loss"], expected["pictures"])
    assert 0 < row["saving_seconds"] < 60 and row["seconds"] > row["reader_seconds"]
