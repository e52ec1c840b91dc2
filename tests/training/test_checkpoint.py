"""What a training leaves: the best weights, what they are of, and nothing of others lost."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
from collections import namedtuple

import numpy as np
import paddle
import pytest
from helpers import (
    SMALL_TRAINING,
    assert_same_state,
    epochs_of,
    fail,
    log_of,
    read_until,
    running,
    succeed,
)
from small_network import SmallHashNet
from small_training import arguments_of, draw_weights, train_small

from utils.loss import HashNetLoss
from utils.system import distributed, files
from utils.system.errors import UserError
from utils.training import checkpoint
from utils.training.checkpoint import CheckpointSaver, Progress


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


def test_a_new_training_sets_an_unfinished_one_s_state_aside_and_says_how_to_go_on(
    small_data, trained_small, tmp_path
):
    output = shutil.copytree(trained_small, tmp_path / "output")
    states = [(output / "last_8.npz").read_bytes()]
    for seed, name in (("1", "earlier_last_8.npz"), ("2", "earlier_2_last_8.npz")):
        assert train_small(small_data, output, "--seed", seed) == 0
        assert (output / name).read_bytes() == states[-1]
        assert re.search(
            rf"go on with it: python .* --resume {output}/{name}$", log_of(output), re.M
        )
        states.append((output / "last_8.npz").read_bytes())
    earlier = ["--resume", output / "earlier_last_8.npz"]
    assert train_small(small_data, output, *earlier, epochs=4) == 0
    assert (output / "earlier_3_last_8.npz").read_bytes() == states[-1], "nor does one that goes on"
    assert "is not of this training: the best MAP is sought anew" in log_of(output)
    epochs = {path.name: path.read_text() for path in sorted((output / "train").glob("*.jsonl"))}
    found = {name: re.findall(r'"epoch": (\d)', text) for name, text in epochs.items()}
    names = [f"earlier_{number}metrics_8.jsonl" for number in ("2_", "3_", "")]
    assert found == {**{name: ["1", "2", "3"] for name in names}, "metrics_8.jsonl": ["4"]}
    assert "Metrics of an earlier training: now " in log_of(output)


@pytest.mark.skipif(sys.platform == "win32", reason="has no locks of files")
def test_of_two_trainings_in_one_folder_the_second_ends_with_a_line(small_data, tmp_path):
    with running(SMALL_TRAINING, *arguments_of(small_data, tmp_path, 999)) as first:
        read_until(first, "Start training")
        said = fail(SMALL_TRAINING, *arguments_of(small_data, tmp_path, 1))
        assert f"a training of 8 bits is under way there, by process {first.pid} on " in said
        assert "--output-dir" in said
        other = arguments_of(
            small_data, tmp_path, 1, "--bit", "16", "--pretrained", small_data / "w16"
        )
        draw_weights(small_data / "w16.pdparams", 16)
        succeed(SMALL_TRAINING, *other)
        assert first.poll() is None
    assert list(tmp_path.glob("*.lock")), "it was killed"
    assert train_small(small_data, tmp_path) == 0, "the lock ends with its process"
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize("written", ["last", "best"])
def test_other_ranks_hear_from_rank_0_as_long_as_it_writes(tmp_path, monkeypatch, written):
    told = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(
        distributed, "gather_objects", lambda value: [told.append(value) or value, None]
    )
    slowly = lambda *_: time.sleep(0.2)  # noqa: E731
    monkeypatch.setattr(checkpoint, "write_training_state", slowly)
    monkeypatch.setattr(checkpoint, "write_text", slowly)
    network = SmallHashNet(8)
    optimizer = paddle.optimizer.Momentum(parameters=network.parameters())
    settings = {"sampling": "shard", "resume": None}
    paths = files.OutputPaths(tmp_path, 8)
    saver = CheckpointSaver(paths, settings, network, optimizer, HashNetLoss(8, 4))
    {"last": saver.save_last, "best": saver.save_best}[written](Progress(1, 0.5, 1))
    assert told.count(False) > 2 and told[-2:] == [True, None]
