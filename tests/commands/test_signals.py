"""Ctrl-C and SIGTERM to real commands, of one process and of several."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time

import numpy as np
import paddle
import pytest
from helpers import (
    SMALL_TRAINING,
    all_have_ended,
    assert_same_state,
    processes_of,
    read_until,
    running,
    succeed,
)
from small_training import arguments_of, draw_data_set, draw_weights

from utils.system import INTERRUPTED, distributed, launcher
from utils.system.state_files import read_training_state
from utils.training.preemption import StopRequest

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def data(scratch):
    """A drawn data set of eight steps an epoch, and first weights."""
    draw_data_set(scratch, {"train": 32, "test": 4, "database": 8})
    draw_weights(scratch / "first.pdparams")
    return scratch


# Ctrl-C of a terminal goes to every process; a cluster's SIGTERM may go to one rank.
@needs_proc
@pytest.mark.parametrize(
    ("ranks", "to", "number"),
    [
        ([], "the group", signal.SIGINT),
        (["--nprocs", "2", "--sampling", "shard"], "a rank", signal.SIGTERM),
        (["--nprocs", "2", "--sampling", "replicate"], "the group", signal.SIGINT),
    ],
)
def test_a_training_stops_between_two_steps_and_goes_on_exactly(data, tmp_path, ranks, to, number):
    def arguments(name):
        return arguments_of(data, tmp_path / name, 3, "--debug-steps", "1", *ranks)

    succeed(SMALL_TRAINING, *arguments("whole"))
    with running(SMALL_TRAINING, *arguments("cut")) as job:
        read_until(job, r"Epoch\[002/003\], Step\[0001/")
        if to == "the group":
            os.killpg(job.pid, number)
        else:
            os.kill(processes_of(job.pid, "spawn_main")[1], number)
        said, error = job.communicate(timeout=90)
        assert job.returncode == 128 + number, said + error
        assert all_have_ended(processes_of(job.pid)), "no orphans"
    assert said.count("Stopped in epoch") == 1 and "Traceback" not in error
    if not ranks:
        assert error.strip() == "stopping after this step; again: at once"
    assert re.search(
        r"Stopped in epoch [23] after \d of \d steps; state: .*cut/last_8\.npz$", said, re.M
    )
    command = re.search(r"To go on: python (.*)$", said, re.MULTILINE)
    succeed(*shlex.split(command[1]))
    assert_same_state(tmp_path / "cut", tmp_path / "whole")


@needs_proc
def test_a_second_ctrl_c_to_several_ranks_ends_them_at_once(data, tmp_path):
    arguments = arguments_of(data, tmp_path, 99, "--debug-steps", "1", "--nprocs", "2")
    with running(SMALL_TRAINING, *arguments) as job:
        read_until(job, r"Epoch\[002/099\], Step\[0001/")
        for rank in processes_of(job.pid, "spawn_main"):
            os.kill(rank, signal.SIGSTOP)  # it will not stop in order
        for _ in range(2):
            os.kill(job.pid, signal.SIGINT)
            time.sleep(0.3)
        _, error = job.communicate(timeout=30)
        assert job.returncode == 130
        assert error.strip() == INTERRUPTED
        assert all_have_ended(processes_of(job.pid)), "no orphans"
    assert read_training_state(tmp_path / "last_8.npz")[1]["progress"]["epoch"] >= 1


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (["main_single_gpu.py", "--eval"], signal.SIGTERM),
        (["predict.py", "--img", "datasets/coco_lite/val2014"], signal.SIGINT),
    ],
)
def test_evaluation_and_search_end_with_one_line(weights_16, tmp_path, command, number):
    common = ["--bit", "16", "--dataset", "coco_lite", "--device", "cpu", "--num-workers", "2"]
    common += ["--pretrained", weights_16, "--output-dir", tmp_path]
    common += ["--save-path", tmp_path] if "--img" in command else []
    with running(*command, *common) as job:
        read_until(job, "----- Pretrained: Load model state")
        time.sleep(0.5)
        job.send_signal(number)
        _, error = job.communicate(timeout=60)
    assert job.returncode == 128 + number
    assert error.strip().splitlines() == [INTERRUPTED]


COMMANDS = {  # and what they import while they start
    "main_single_gpu.py --device cpu": ["numpy.", "paddle."],
    "main_multi_gpu.py --device cpu": ["numpy.", "paddle."],
    "predict.py --img datasets/coco_lite": ["numpy.", "paddle."],
    "export_model.py --pretrained w": ["numpy.", "paddle."],
    "deploy/inference_python/infer.py --img-path x --model-dir y": ["numpy.", "yaml."],
    "deploy/search/index.py info x.db": ["numpy."],
    "scripts/check_data.py": ["numpy."],
    "scripts/check_gpu.py": ["subprocess"],
    "scripts/convert_weights.py": ["numpy."],
    "scripts/prepare_data.py": ["numpy."],
    "scripts/score_codes.py": ["numpy."],
    "scripts/sweep.py": ["numpy."],
    "scripts/benchmark.py": ["numpy.", "tqdm."],
}


# Of Python's own start, before the first line of a command, nothing can be said.
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_a_command_starts_is_one_line(monkeypatch, command):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # a line on stderr after each import
    for module in ["utils.system.interrupt", *COMMANDS[command]]:
        with running(*command.split()) as job:
            assert any(f" {module}" in line for line in job.stderr), module
            job.send_signal(signal.SIGINT)
            said = [line for line in job.stderr if not line.startswith("import time:")]
            assert (job.wait(30), said) == (130, [f"{INTERRUPTED}\n"])


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="this system blocks no signals")
def test_ctrl_c_while_ranks_are_started_is_for_the_parent_alone_and_not_lost():
    came = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        with launcher._ctrl_c_blocked_in_children():
            os.kill(os.getpid(), signal.SIGINT)
            asked = "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
            assert "SIGINT" in succeed("-c", asked)
        assert came == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_the_first_signal_a_second_is_the_system_s(number):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    stop = StopRequest()
    assert not stop.agreed(0)
    try:
        stop.note(number, None)
        assert stop.agreed(1) and stop.number == number
        for each in (signal.SIGINT, signal.SIGTERM):
            assert signal.getsignal(each) is signal.SIG_DFL
    finally:
        for each, handler in zip((signal.SIGINT, signal.SIGTERM), before):
            signal.signal(each, handler)


@pytest.mark.parametrize(("device", "stops_at"), [("cpu", 4), ("gpu:0", 10)])
def test_ranks_on_gpus_ask_each_other_at_every_tenth_step(monkeypatch, device, stops_at):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(
        distributed, "gather_array", lambda array: np.append(array, [[0, 0]], axis=0)
    )
    monkeypatch.setattr(paddle.device, "get_device", lambda: device)
    stop = StopRequest()
    assert not any(map(stop.agreed, range(4)))
    stop.note(signal.SIGTERM, None)
    assert next(step for step in range(4, 99) if stop.agreed(step)) == stops_at
    assert stop.number == signal.SIGTERM
