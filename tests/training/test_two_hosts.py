"""Two hosts, as network namespaces with a cable between them: their steps, and a cut cable."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import COCO_LITE, SMALL_TRAINING, log_of, running
from small_training import run_small

from utils.config import TRAIN_COMMAND, parse_config
from utils.system.state_files import read_training_state

HOSTS = [f"hashnet{os.getpid()}{side}" for side in "ab"]
CABLE = [f"hn{os.getpid()}{side}" for side in "ab"]
ADDRESSES = ["10.77.0.1", "10.77.0.2"]
WITHIN = 60
"""Seconds from the cut to the end of both sides; gloo gives up after 30."""


def ip(*words: str) -> None:
    """Runs iproute2's ip."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def hosts():
    """Lays the cable; the command words that run something on each host."""
    if not shutil.which("ip") or sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("two hosts need Linux, root and iproute2 (ip netns)")
    with contextlib.ExitStack() as undo:
        try:
            for host, address in zip(HOSTS, ADDRESSES):
                ip("netns", "add", host)
                undo.callback(ip, "netns", "del", host)  # and its end of the cable
                # A host's name must be its address for the others, not 127.0.0.1.
                names = Path("/etc/netns", host)
                names.mkdir(parents=True)
                undo.callback(shutil.rmtree, names)
                (names / "hosts").write_text(
                    f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n", encoding="utf-8"
                )
            ends = [[end, "netns", host] for end, host in zip(CABLE, HOSTS)]
            ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
            for host, end, address in zip(HOSTS, CABLE, ADDRESSES):
                ip("-n", host, "addr", "add", f"{address}/24", "dev", end)
                for link in ("lo", end):
                    ip("-n", host, "link", "set", link, "up")
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"no network namespaces here: {error}")
        yield [["ip", "netns", "exec", host] for host in HOSTS]


def flags(output: Path, *more) -> list[str]:
    """A training of the small network on coco_lite that saves every epoch."""
    words = ["--bit", 8, "--dataset", "coco_lite", "--data-path", COCO_LITE, "--device", "cpu"]
    words += ["--crop-size", 63, "--resize-size", 64, "--num-workers", 0, "--learning-rate", 0.02]
    words += ["--encoder", "dygraph", "--save-epoch", 1, "--output-dir", output]
    return list(map(str, (*words, *more)))


@contextlib.contextmanager
def on_both(hosts: list[list[str]], folder: Path, port: int, *more) -> Iterator[list]:
    """The launchers of one rank on each host; each host has a folder of its own, as a disk."""
    with contextlib.ExitStack() as jobs:
        started = []
        for rank, host in enumerate(hosts):
            where = ["--nnodes", 2, "--nproc_per_node", 1, "--master", f"{ADDRESSES[0]}:{port}"]
            where += ["--rank", rank, "--log_dir", folder / f"{rank}/launch", SMALL_TRAINING]
            words = [*where, *flags(folder / str(rank), "--sampling", "shard", *more)]
            job = running("-m", "paddle.distributed.launch", *words, prefix=host)
            started.append(jobs.enter_context(job))
        yield started


def joined(state: dict) -> np.ndarray:
    """All arrays of a part of a state, one behind the other."""
    return np.concatenate([state[name].ravel() for name in sorted(state)]).astype(float)


def test_two_hosts_take_the_steps_of_one_process(hosts, small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("HASHNET_TEST_DROPOUT", "0")  # each rank draws masks of its own
    recipe = ["--epoch", 2, "--pretrained", small_data / "first", "--batch-size"]
    with on_both(hosts, tmp_path, 29761, *recipe, 8) as jobs:
        one = flags(tmp_path / "one", *recipe, 16)
        assert run_small(parse_config(TRAIN_COMMAND, one)) == 0
        for job in jobs:
            said, error = job.communicate(timeout=120)
            assert job.returncode == 0, said + error
    states = (read_training_state(tmp_path / f"{name}/last_8.npz")[:2] for name in ("0", "one"))
    (found, progress), (expected, of_one) = states
    assert progress["progress"]["best_map"] == of_one["progress"]["best_map"] > 0
    assert found.keys() == expected.keys() == {"network", "optimizer", "bank_0"}
    for part, arrays in expected.items():
        # float32, and two halves of a batch are summed in another order than the whole one
        length = np.linalg.norm(joined(arrays))
        assert np.linalg.norm(joined(found[part]) - joined(arrays)) < 1e-5 * length, part
    assert not list((tmp_path / "1").glob("*.npz")), "the first host writes"


def test_a_cut_cable_ends_both_sides_with_a_line_and_a_state_that_goes_on(
    hosts, small_data, tmp_path
):
    recipe = ["--epoch", 9999, "--pretrained", small_data / "first", "--batch-size", 8]
    with on_both(hosts, tmp_path, 29762, *recipe) as jobs:
        state = tmp_path / "0/last_8.npz"
        while not state.is_file():
            assert [job.poll() for job in jobs] == [None, None]
            time.sleep(0.1)
        ip("-n", HOSTS[0], "link", "set", CABLE[0], "down")
        deadline = time.monotonic() + WITHIN
        try:
            for rank, job in enumerate(jobs):
                job.communicate(timeout=deadline - time.monotonic())
                assert job.returncode == 2
                log = (tmp_path / f"{rank}/launch/workerlog.0").read_text(encoding="utf-8")
                *_, line = log.splitlines()
                assert line.startswith(f"error: rank {rank} has lost another rank (")
                assert "--resume" in line and "Traceback" not in log
        finally:
            ip("-n", HOSTS[0], "link", "set", CABLE[0], "up")
    epoch = read_training_state(state)[1]["progress"]["epoch"] + 1
    more = ["--resume", tmp_path / "0/last_8", "--epoch", epoch]
    assert run_small(parse_config(TRAIN_COMMAND, flags(tmp_path / "0", *more))) == 0
    assert f"Start training from epoch {epoch}" in log_of(tmp_path / "0")
