"""A training that stops, at whatever step, and goes on ends as one that never stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import paddle
import pytest
from kill_training import arguments_of, draw_data_set
from small_training import draw_weights, run_small

from utils.config import TRAIN_COMMAND, parse_config
from utils.inference import encoder
from utils.system.errors import UserError
from utils.system.state_files import read_state
from utils.training import checkpoint, trainer
from utils.training import common as parts

EPOCHS, STEPS = 4, 3


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A drawn data set and first weights: three steps an epoch."""
    folder = tmp_path_factory.mktemp("data")
    draw_data_set(folder)
    draw_weights(folder / "first.pdparams")
    return folder


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    """What `run_small` sets is put back."""
    monkeypatch.setattr(parts, "HashNet", parts.HashNet)


def train(data, output, *more, epochs=EPOCHS):
    """A training in this process; returns its exit status."""
    arguments = arguments_of(data, output, epochs, True, "--debug-steps", "1", *more)
    return run_small(parse_config(TRAIN_COMMAND, arguments))


def resume(data, output, *more, **rest):
    """Goes on from `output/last_8`."""
    return train(data, output, "--resume", str(output / "last_8"), *more, **rest)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """Output folder of four epochs in one go."""
    output = tmp_path_factory.mktemp("whole")
    assert train(data, output) == 0
    return output


def assert_same_end(output, whole, best=True):
    for prefix in ("last_8", "weights_8") if best else ("last_8",):
        for ending in (".pdparams", ".pdopt"):
            name = prefix + ending
            found, expected = (read_state(f / name, "a state") for f in (output, whole))
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                np.testing.assert_array_equal(found[key], value, err_msg=f"{name}: {key}")
    found, expected = (read_state(f / "last_8.pdstates", "a state") for f in (output, whole))
    assert not best or found["progress"] == expected["progress"]
    for key, value in expected["bank"].items():
        np.testing.assert_array_equal(found["bank"][key], value)
    assert final_loss(output) == final_loss(whole)


def final_loss(output):
    """The mean loss of the last epoch in the metrics file."""
    text = (output / "train/metrics_8.jsonl").read_text(encoding="utf-8")
    return json.loads(text.splitlines()[-1])["loss"]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_two_epochs_and_two_more_are_four(data, whole, tmp_path, workers):
    assert train(data, tmp_path, "--num-workers", workers, epochs=2) == 0
    assert resume(data, tmp_path, "--num-workers", workers) == 0
    assert_same_end(tmp_path, whole, best=False)  # after its last epoch it was evaluated, too
    log = (tmp_path / "train/log_8.txt").read_text(encoding="utf-8")
    assert log.index("HashNet[ 1/2]") < log.index("from epoch 3.") < log.index("HashNet[ 4/4]")
    lines = (tmp_path / "train/metrics_8.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4]


def send_at_call(monkeypatch, owner, name, number, calls=1):
    """Sends SIGTERM to this process in the `calls`-th call of a function."""
    function, count = getattr(owner, name), iter(range(1, 10**6))

    def call(*arguments, **rest):
        if next(count) == calls:
            os.kill(os.getpid(), number)
        return function(*arguments, **rest)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("step", range(EPOCHS * STEPS))
def test_stopped_at_any_step_it_goes_on_exactly_there(data, whole, tmp_path, monkeypatch, step):
    number = (signal.SIGTERM, signal.SIGINT)[step % 2]
    with monkeypatch.context() as patch:
        send_at_call(patch, trainer, "derived_seed", number, step + 1)  # each step draws a seed
        assert train(data, tmp_path) == 128 + number
    log = (tmp_path / "train/log_8.txt").read_text(encoding="utf-8")
    assert f"Epoch[{step // STEPS + 1:03d}/004], Step[{step % STEPS:04d}/0003]" in log
    assert f"Step[{(step + 1) % STEPS:04d}/0003]" not in log.splitlines()[-3]
    assert f"--resume {tmp_path}/last_8" in log.splitlines()[-1]
    assert resume(data, tmp_path) == 0
    assert_same_end(tmp_path, whole)


@pytest.mark.parametrize("times", [1, 2])
def test_stopped_in_the_evaluation_it_begins_again_with_the_evaluation(
    data, whole, tmp_path, monkeypatch, times
):
    stop = train
    for _ in range(times):
        with monkeypatch.context() as patch:
            send_at_call(patch, encoder, "progress", signal.SIGTERM)
            assert stop(data, tmp_path) == 143
        log = (tmp_path / "train/log_8.txt").read_text(encoding="utf-8")
        assert "Stopped in epoch 3 after 3 of 3 steps" in log.splitlines()[-2]
        stop = resume
    assert not (tmp_path / "weights_8.pdparams").exists()
    assert resume(data, tmp_path) == 0
    assert_same_end(tmp_path, whole)


@pytest.mark.parametrize("file", [1, 2, 3])
def test_a_signal_while_the_state_is_saved_waits_for_it(data, whole, tmp_path, monkeypatch, file):
    with monkeypatch.context() as patch:
        send_at_call(patch, paddle, "save", signal.SIGTERM, file)
        assert train(data, tmp_path) == 143
    assert read_state(tmp_path / "last_8.pdstates", "a state")["progress"]["epoch"] == 1
    assert resume(data, tmp_path) == 0
    assert_same_end(tmp_path, whole)


def test_stopped_before_the_first_step_nothing_is_saved(data, tmp_path, monkeypatch):
    send_at_call(monkeypatch, trainer, "continuation_scale", signal.SIGINT)
    assert train(data, tmp_path) == 130
    assert not list(tmp_path.glob("*.pd*"))
    last = (tmp_path / "train/log_8.txt").read_text(encoding="utf-8").splitlines()[-1]
    assert "To go on: python " in last and "--resume" not in last


def test_the_handlers_of_signals_are_put_back(data, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(data, tmp_path, epochs=1)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def copy_of(whole, tmp_path):
    """The unbroken training's output in another folder."""
    return shutil.copytree(whole, tmp_path / "copy")


def test_other_settings_and_lists_are_an_error_that_names_them_all(data, whole, tmp_path):
    output = copy_of(whole, tmp_path)
    lists = tmp_path / "lists"
    shutil.copytree(data, lists)
    rows = (lists / "train.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (lists / "train.txt").write_text("".join(reversed(rows)), encoding="utf-8")
    other = ["--seed", "5", "--alpha", "0.2", "--list-path", str(lists)]
    before = {path.name: path.read_bytes() for path in output.glob("last_8*")}
    with pytest.raises(UserError) as error:
        resume(data, output, *other, epochs=5)
    for words in (
        "seed is 5, the saved training had 2000",
        "alpha is 0.2, the saved training had 0.1",
        "the train list is ",
        "--force-resume",
    ):
        assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in output.glob("last_8*")} == before
    assert resume(data, output, *other, "--force_resume", epochs=5) == 0
    log = (output / "train/log_8.txt").read_text(encoding="utf-8")
    assert "Another setting than before: seed is 5, the saved training had 2000" in log


def test_another_folder_of_the_same_pictures_and_lists_is_the_same_training(data, whole, tmp_path):
    output = copy_of(whole, tmp_path)
    shutil.copytree(data, tmp_path / "elsewhere")
    folder = tmp_path / "elsewhere"
    assert resume(data, output, "--dataset", str(folder), "--data-path", str(folder)) == 0


def test_a_state_of_the_published_code_goes_on_after_last_epoch(data, whole, tmp_path):
    output = copy_of(whole, tmp_path)
    (output / "last_8.pdstates").unlink()
    assert resume(data, output, "--last_epoch", "3") == 0
    log = (output / "train/log_8.txt").read_text(encoding="utf-8")
    assert log.count("Start training from epoch 4.") == 1


def test_weights_ruined_by_the_last_step_are_not_saved(data, tmp_path):
    once = ["--batch-size", "12", "--learning-rate", "1e39", "--eval-epoch", "9"]
    with pytest.raises(UserError, match=r"infinite or no number: nothing is saved"):
        train(data, tmp_path, *once, epochs=2)
    assert not list(tmp_path.glob("*.pd*"))


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(data, whole, tmp_path):
    output = copy_of(whole, tmp_path)
    before = {path.name: path.read_bytes() for path in output.glob("*.pd*")}
    ruin = ["--learning-rate", "1e38", "--force_resume"]
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step [12] of this epoch"):
        resume(data, output, *ruin, epochs=6)
    assert {path.name: path.read_bytes() for path in output.glob("*.pd*")} == before


def test_the_state_loads_while_its_files_are_being_renamed(data, whole, tmp_path):
    output = copy_of(whole, tmp_path)
    assert resume(data, output, epochs=5) == 0  # a later state; its first two files are in place
    for ending in (".pdopt", ".pdparams", ".pdstates"):
        shutil.copy(output / f"last_8{ending}", output / f".last_8.next{ending}")
        shutil.copy(whole / f"last_8{ending}", output)
    assert checkpoint.saved_settings(str(output / "last_8"))["epoch"] == 5
    (output / ".last_8.next.pdopt").replace(output / "last_8.pdopt")
    assert resume(data, output, epochs=6) == 0
    lines = (output / "train/metrics_8.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5, 6]
