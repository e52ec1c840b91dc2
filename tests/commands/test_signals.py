"""Ctrl-C and SIGTERM to real commands, of one process and of several."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import paddle
import pytest
from kill_training import arguments_of, draw_data_set
from small_training import draw_weights

from utils.system.state_files import read_state
from utils.training.preemption import Interruption

ROOT = Path(__file__).resolve().parents[2]
TRAIN = str(ROOT / "tests/small_training.py")
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PATHS}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A drawn data set and first weights."""
    folder = tmp_path_factory.mktemp("data")
    draw_data_set(folder, {"train": 32, "test": 4, "database": 8})
    draw_weights(folder / "first.pdparams")
    return folder


@contextlib.contextmanager
def running(command):
    """A command in a group of processes of its own, which ends with the block."""
    job = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield job
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()


def read_until(job, pattern):
    """What a command has said, to the line that the pattern is in."""
    said = []
    for line in job.stdout:
        said.append(line)
        if re.search(pattern, line):
            return "".join(said)
    raise AssertionError("".join(said) + job.stderr.read())


def to_the_end(command):
    """Runs a command; it must end well."""
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def members_of(group):
    """The processes that are left of a group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def all_have_ended(group):
    """Whether no process of a group is left, within some seconds: a killed one ends by and by."""
    deadline = time.monotonic() + 10
    while members_of(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not members_of(group)


def final_files(output):
    """The bytes of the newest weights and optimizer state."""
    return [(output / f"last_8{ending}").read_bytes() for ending in (".pdparams", ".pdopt")]


def go_on(said):
    """Runs the command that a stopped training has named."""
    command = re.search(r"To go on: python (.*)$", said, re.MULTILINE)
    assert command, said
    return to_the_end(shlex.split(command[1]))


def test_ctrl_c_stops_after_the_step_and_says_how_to_go_on(data, tmp_path):
    common = ["--debug-steps", "1"]
    to_the_end([TRAIN, *arguments_of(data, tmp_path / "whole", 3, True, *common)])
    with running([TRAIN, *arguments_of(data, tmp_path / "cut", 3, True, *common)]) as job:
        read_until(job, r"Epoch\[002/003\], Step\[0002/0008\]")
        job.send_signal(signal.SIGINT)
        said, error = job.communicate(timeout=60)
    assert job.returncode == 130
    assert error.strip() == "stopping after this step; again: at once"
    assert re.search(r"Stopped in epoch 2 after \d of 8 steps; state: .*cut/last_8$", said, re.M)
    go_on(said)
    assert final_files(tmp_path / "cut") == final_files(tmp_path / "whole")


# SIGTERM of a cluster to one rank, and Ctrl-C of a terminal, which goes to every process.
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("sampling", "to", "number"),
    [("shard", "a rank", signal.SIGTERM), ("replicate", "the group", signal.SIGINT)],
)
def test_all_ranks_stop_at_one_step_and_go_on_exactly(data, tmp_path, sampling, to, number):
    common = ["--debug-steps", "1", "--nprocs", "2", "--sampling", sampling]
    to_the_end([TRAIN, *arguments_of(data, tmp_path / "whole", 4, True, *common)])
    with running([TRAIN, *arguments_of(data, tmp_path / "cut", 4, True, *common)]) as job:
        read_until(job, r"Epoch\[002/004\], Step\[0001/")
        ranks = [p for p in members_of(job.pid) if "spawn_main" in command_of(p)]
        assert len(ranks) == 2
        if to == "the group":
            os.killpg(job.pid, number)
        else:
            os.kill(ranks[1], number)
        said, error = job.communicate(timeout=90)
        assert job.returncode == 128 + number, said + error
        assert said.count("Stopped in epoch") == 1 and "Traceback" not in error
        assert all_have_ended(job.pid), "no orphans"
    stopped = read_state(tmp_path / "cut/last_8.pdstates", "a state")["progress"]
    go_on(said)
    assert final_files(tmp_path / "cut") == final_files(tmp_path / "whole")
    assert stopped["step"] == len(stopped["losses"])


def command_of(process):
    """A process's command line."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_second_ctrl_c_to_several_ranks_ends_them_at_once(data, tmp_path):
    arguments = arguments_of(data, tmp_path, 99, True, "--debug-steps", "1", "--nprocs", "2")
    with running([TRAIN, *arguments]) as job:
        read_until(job, r"Epoch\[002/099\], Step\[0001/")
        for process in members_of(job.pid):
            if "spawn_main" in command_of(process):
                os.kill(process, signal.SIGSTOP)  # they will not stop in order
        for _ in range(2):
            os.kill(job.pid, signal.SIGINT)
            time.sleep(0.3)
        _, error = job.communicate(timeout=30)
        assert job.returncode == 130
        assert error.strip().splitlines()[-1] == "stopped; what was saved before is whole"
        assert all_have_ended(job.pid), "no orphans"
    assert read_state(tmp_path / "last_8.pdstates", "a state")["progress"]["epoch"] >= 1


@pytest.fixture(scope="module")
def weights(hashnet, tmp_path_factory):
    """A file of the real network's weights, random."""
    path = tmp_path_factory.mktemp("weights") / "weights_16.pdparams"
    paddle.save(hashnet.state_dict(), str(path))
    return path


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["main_single_gpu.py --eval", "predict.py"])
def test_evaluation_and_search_end_with_one_line(weights, tmp_path, command, number):
    command = [*shlex.split(command), "--bit", "16", "--dataset", "coco_lite", "--device", "cpu"]
    command += ["--pretrained", weights, "--output-dir", tmp_path, "--num-workers", "2"]
    if "predict.py" in command:
        command += ["--img", ROOT / "datasets/coco_lite/val2014", "--save-path", tmp_path]
    with running(command) as job:
        read_until(job, "----- Pretrained: Load model state")
        time.sleep(0.5)
        job.send_signal(number)
        _, error = job.communicate(timeout=60)
    assert job.returncode == 128 + number
    assert error.strip().splitlines() == ["stopped; what was saved before is whole"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_the_first_signal_a_second_is_the_system_s(number):
    with Interruption():
        os.kill(os.getpid(), number)
        for each in (signal.SIGINT, signal.SIGTERM):
            assert signal.getsignal(each) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
