"""Several processes: main_multi_gpu.py spawned and launched; evaluations, bad images, kills."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import time

import pytest
from helpers import (
    REPOSITORY,
    SMALL_IMAGES,
    SMALL_TRAINING,
    all_have_ended,
    assert_same_state,
    epochs_of,
    log_of,
    processes_of,
    run_script,
    running,
    shorten_lists,
    succeed,
)
from small_training import arguments_of

from utils.system.state_files import read_training_state

LAUNCH = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def train(scratch):
    """Flags of a training of the real network on few images."""
    lists = shorten_lists(scratch / "lists", train=32, test=4, database=8)
    return [
        *("--bit", "16", "--dataset", "coco_lite", "--list-path", lists, "--device", "cpu"),
        *(*SMALL_IMAGES, "--num-workers", "0", "--batch-size", "16"),
        *("--backbone-weights", "none", "--debug-steps", "1"),
    ]


@pytest.fixture(scope="module")
def spawned(train, scratch):
    """Output folder of one replicate epoch of two spawned ranks."""
    output = scratch / "spawned"
    flags = ["--nprocs", "2", "--sampling", "replicate", "--epoch", "1", "--output-dir", output]
    said = succeed("main_multi_gpu.py", *train, *flags)
    assert said.count("Start training from epoch 1.") == 1, "one rank speaks"
    return output


def test_replicate_has_the_seeds_steps_and_rates_of_the_published_recipe(spawned):
    for rank in (0, 1):
        log = (spawned / f"train/log_16_rank{rank}.txt").read_text(encoding="utf-8")
        assert f"seed {2000 + rank}, rank {rank} of 2" in log
        assert "----- Total # of train batch: 2" in log, "32 images, 16 a step, on each rank"
        assert "lr:0.000500000" in log, "1e-3 × 16 × 2 / 64"
    (row,) = epochs_of(spawned, 16)
    assert row["pictures"] == 64
    assert {"pictures_per_second", "reader_seconds", "batch_seconds"} <= set(row)


def test_the_launcher_runs_it_unchanged_and_resume_says_what_changes(train, spawned, tmp_path):
    succeed(
        *(*LAUNCH, "--log_dir", tmp_path / "launch", REPOSITORY / "main_multi_gpu.py", *train),
        *("--epoch", "2", "--resume", spawned / "last_16", "--output-dir", tmp_path),
        *("--force-resume", "--sampling", "shard"),
    )
    log = log_of(tmp_path, 16)
    assert "is of 2 rank(s) (replicate), this run has 2 (shard)" in log
    assert "sampling is shard, the saved training had replicate" in log
    assert "Start training from epoch 2." in log and "Total # of train batch: 1" in log


def test_two_launchers_of_two_ranks_are_one_of_four(small_data, tmp_path, monkeypatch):
    """As on two machines of 4 cores: launchers start their own ranks, which meet at one address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"127.0.0.1:{free.getsockname()[1]}"

    def command(output, machine, ranks, *where):
        where = ["--nproc_per_node", ranks, *where, "--log_dir", tmp_path / output / machine]
        return [
            *("-m", "paddle.distributed.launch", *where),
            *(SMALL_TRAINING, "--bit", "8", "--dataset", "coco_lite", "--device", "cpu"),
            *("--crop-size", "63", "--resize-size", "64", "--batch-size", "8", "--epoch", "1"),
            *("--encoder", "dygraph", "--pretrained", small_data / "first"),
            *("--output-dir", tmp_path / output),
        ]

    def threads(output):
        logs = (tmp_path / output).glob("machine*/workerlog.*")
        return [re.search("threads: .*", log.read_text(encoding="utf-8"))[0] for log in logs]

    monkeypatch.setenv("HASHNET_TEST_CORES", "4")
    where = ["--nnodes", "2", "--master", master, "--rank"]
    jobs = [running(*command("two", f"machine{rank}", 2, *where, rank)) for rank in (0, 1)]
    with jobs[0] as first, jobs[1] as second:
        for job in (first, second):
            said, error = job.communicate(timeout=120)
            assert job.returncode == 0, said + error
    assert threads("two") == ["threads: 2 compute, 2 load"] * 4, "of 4 cores, for 2 of 4 ranks"
    monkeypatch.setenv("HASHNET_TEST_CORES", "8")
    succeed(*command("one", "machine", 4))
    assert threads("one") == ["threads: 2 compute, 2 load"] * 4
    assert_same_state(tmp_path / "two", tmp_path / "one")
    log = (tmp_path / "two/train/log_8_rank3.txt").read_text(encoding="utf-8")
    assert "rank 3 of 4" in log and "Training completed" in log


# The same with the small network, whose start takes no longer than Paddle's.


@pytest.fixture(scope="module")
def damaged(small_data, scratch):
    """A data set that has two images that are none.

    Of two ranks with batches of 4 only the second reads the one in the database.
    """
    folder = shutil.copytree(small_data, scratch / "damaged")
    for name in ("database5", "train7"):
        (folder / f"{name}.png").write_text("no image", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("flags", "found_in"), [(["--eval"], "database.txt, line 6"), ([], "train.txt, line 8")]
)
def test_a_bad_image_found_by_one_rank_ends_the_job_with_its_line(
    damaged, tmp_path, flags, found_in
):
    arguments = arguments_of(damaged, tmp_path, 1, "--nprocs", "2", *flags)
    result = run_script(SMALL_TRAINING, *arguments, timeout=60)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "not an image" in lines[0] and found_in in lines[0]
    assert "Traceback" not in result.stderr


def test_evaluations_of_one_and_of_three_processes_are_the_same(damaged, tmp_path):
    found = []
    for ranks in ("1", "3"):
        output = tmp_path / ranks
        flags = ["--eval", "--nprocs", ranks, "--on-bad-image", "skip", "--encoder", "inference"]
        said = succeed(SMALL_TRAINING, *arguments_of(damaged, output, 1, *flags))
        assert "1 images of database are left out:" in said
        metrics = json.loads((output / "test/metrics_8.json").read_text())
        assert metrics.pop("seconds")
        record = json.loads((output / "database_code_8.json").read_text())
        found.append((metrics, record, (output / "database_code_8.npy").read_bytes()))
    assert found[0] == found[1]
    assert record["left_out"] == [5] and metrics["protocol"]["database"]["rows"] == 7


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("victim", ["a rank", "the parent", "a launched rank"])
def test_a_kill_in_the_middle_ends_all_ranks_and_leaves_the_last_state_whole(
    small_data, tmp_path, victim
):
    command = [SMALL_TRAINING, *arguments_of(small_data, tmp_path, 999)]
    if victim == "a launched rank":
        command = [*LAUNCH, "--log_dir", tmp_path / "launch", *command]
    else:
        command += ["--nprocs", "2"]
    with running(*command) as job:
        while not (tmp_path / "train/metrics_8.jsonl").is_file() or len(epochs_of(tmp_path)) < 2:
            assert job.poll() is None
            time.sleep(0.1)
        is_launched = victim == "a launched rank"
        ranks = processes_of(job.pid, SMALL_TRAINING if is_launched else "spawn_main")
        assert len(ranks) == 2
        os.kill(job.pid if victim == "the parent" else ranks[1], signal.SIGKILL)
        _, error = job.communicate(timeout=60)
        if victim == "a rank":
            assert job.returncode == 2
            assert "rank 1 was killed by SIGKILL" in error and "--resume" in error
        if victim == "a launched rank":
            assert job.returncode not in (0, -signal.SIGKILL) and "Container failed" in error, error
        assert all_have_ended(ranks), "no orphans"
    assert read_training_state(tmp_path / "last_8.npz")[1]["settings"]["ranks"] == 2
