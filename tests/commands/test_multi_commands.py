"""Real runs of main_multi_gpu.py on coco_lite: spawned, launched, evaluated, killed, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMON = [
    *("--bit", "16", "--dataset", "coco_lite", "--device", "cpu", "--crop-size", "96"),
    *("--resize-size", "100", "--num-workers", "0", "--batch-size", "16"),
]
TRAIN = [*COMMON, "--backbone-weights", "none", "--debug-steps", "1"]
LAUNCH = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def text_of(output: Path, name: str) -> str:
    """A file of a run, as text."""
    return (output / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def spawned(run, scratch):
    """Output folder of one replicate epoch of two spawned ranks."""
    output = scratch / "spawned"
    arguments = [*TRAIN, "--nprocs", "2", "--sampling", "replicate", "--epoch", "1"]
    result = run("main_multi_gpu.py", *arguments, "--output-dir", output, environment=ONE_THREAD)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Start training from epoch 1.") == 1, "one rank speaks"
    return output


def test_replicate_has_the_seeds_steps_and_rates_of_the_published_recipe(spawned):
    for rank in (0, 1):
        log = text_of(spawned, f"train/log_16_rank{rank}.txt")
        assert f"seed {2000 + rank}, rank {rank} of 2" in log
        assert "----- Total # of train batch: 8" in log, "128 pictures, 16 a step, on each rank"
        assert "lr:0.000500000" in log, "1e-3 × 16 × 2 / 64"
    (row,) = map(json.loads, text_of(spawned, "train/metrics_16.jsonl").splitlines())
    assert row["pictures"] == 256
    assert {"pictures_per_second", "reader_seconds", "batch_seconds"} <= set(row)


def test_evaluations_of_one_two_and_three_processes_are_the_same(run, spawned, tmp_path):
    found, codes = [], []
    for ranks in (1, 2, 3):
        output = tmp_path / str(ranks)
        arguments = ["--eval", "--pretrained", spawned / "weights_16", "--output-dir", output]
        result = run(
            *("main_multi_gpu.py", *COMMON, "--nprocs", ranks, *arguments), environment=ONE_THREAD
        )
        assert result.returncode == 0, result.stderr
        metrics = json.loads(text_of(output, "test/metrics_16.json"))
        assert metrics.pop("seconds")
        found.append(metrics)
        codes.append((output / "database_code_16.npy").read_bytes())
    assert found[0] == found[1] == found[2]
    assert codes[0] == codes[1] == codes[2]


def test_the_launcher_runs_it_unchanged_and_resume_says_what_changes(run, spawned, tmp_path):
    refused = run(
        *("main_multi_gpu.py", *TRAIN, "--nprocs", "2", "--epoch", "2"),
        *("--resume", spawned / "last_16", "--output-dir", tmp_path),
        environment=ONE_THREAD,
    )
    assert refused.returncode == 2, refused.stdout
    assert "sampling is shard, the saved training had replicate; --force" in refused.stderr
    result = run(
        *(*LAUNCH, "--log_dir", tmp_path / "launch", ROOT / "main_multi_gpu.py", *TRAIN),
        *("--epoch", "2", "--resume", spawned / "last_16", "--output-dir", tmp_path),
        "--force-resume",
        environment=ONE_THREAD,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    log = text_of(tmp_path, "train/log_16.txt")
    assert "is of 2 rank(s) (replicate), this run has 2 (shard)" in log
    assert "Start training from epoch 2." in log and "Total # of train batch: 4" in log
    alone = run(
        *("main_single_gpu.py", *TRAIN, "--epoch", "1"),
        *("--resume", spawned / "last_16", "--output-dir", tmp_path / "alone"),
    )
    assert "this run has 1 (shard): pictures a step 32 → 16, base rate 0.0005 → 0.00025" in (
        alone.stdout
    )


def test_a_mistake_of_the_user_is_one_line_and_status_2(run, tmp_path):
    result = run(
        *("main_multi_gpu.py", *COMMON, "--nprocs", "2", "--eval"),
        *("--pretrained", tmp_path / "nothing", "--output-dir", tmp_path),
        environment=ONE_THREAD,
    )
    assert result.returncode == 2
    assert result.stderr.count("error: ") == 1 and "nothing.pdparams: missing" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def damaged(scratch):
    """Flags of a data set whose row 20 of the database and row 100 of the training are no pictures.

    Of two ranks with batches of 16 only the second reads the one, and only one the other.
    """
    folder = scratch / "damaged"
    shutil.copytree(ROOT / "datasets/coco_lite", folder / "pictures")
    for name, row in (("database", 20), ("train", 100)):
        line = (ROOT / f"data/coco_lite/{name}.txt").read_text(encoding="utf-8").splitlines()[row]
        (folder / "pictures" / line.split()[0]).write_text("no picture", encoding="utf-8")
    return ["--data-path", folder / "pictures"]


@pytest.mark.parametrize("found_in", ["database.txt, line 21", "train.txt, line 101"])
def test_a_bad_picture_found_by_one_rank_ends_the_job_with_its_line(
    run, spawned, damaged, tmp_path, found_in
):
    command = ["main_multi_gpu.py", *COMMON, *damaged, "--nprocs", "2", "--output-dir", tmp_path]
    command += ["--pretrained", spawned / "weights_16"]
    command += ["--eval"] if "database" in found_in else []
    result = run(*command, environment=ONE_THREAD, timeout=60)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "not a picture" in lines[0] and found_in in lines[0]
    assert "Traceback" not in result.stderr


def test_bad_pictures_are_left_out_alike_by_one_rank_and_by_two(run, spawned, damaged, tmp_path):
    found, codes = [], []
    for ranks in (1, 2):
        output = tmp_path / str(ranks)
        flags = ["--eval", "--on_bad_image", "skip", "--cache_dir", tmp_path / "cache"]
        result = run(
            *("main_multi_gpu.py", *COMMON, *damaged, "--nprocs", ranks, *flags),
            *("--pretrained", spawned / "weights_16", "--output-dir", output),
            environment=ONE_THREAD,
        )
        assert result.returncode == 0, result.stderr
        said = {1: "has 0 of 192 pictures", 2: "has 190 of 192 pictures"}[ranks]
        assert said in result.stdout and "pictures of database are left out:" in result.stdout
        metrics = json.loads(text_of(output, "test/metrics_16.json"))
        assert metrics.pop("seconds")
        found.append(metrics)
        codes.append((output / "database_code_16.npy").read_bytes())
    assert found[0] == found[1] and codes[0] == codes[1]
    assert "database.txt, line 21" in found[0]["left_out"]["database"][0]
    rows = found[0]["protocol"]["database"]["rows"]
    assert rows == 160 - len(found[0]["left_out"]["database"]) == len(codes[0][128:]) // 2
    record = json.loads(text_of(tmp_path / "1", "database_code_16.json"))
    assert 20 in record["left_out"]


def ranks_of(process: int) -> list[int]:
    """The process ids of the ranks that a run, or Paddle's launcher, has started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_text()
        except OSError:  # it has ended meanwhile
            continue
        if parent == process and ("spawn_main" in command or "main_multi_gpu.py" in command):
            found.append(int(entry.name))
    return sorted(found)


def is_alive(process: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("victim", ["a rank", "the parent", "a launched rank"])
def test_a_kill_in_the_middle_ends_all_ranks_and_leaves_the_last_state_whole(
    run, spawned, tmp_path, victim
):
    from utils.training.checkpoint import saved_settings

    arguments = [*TRAIN, "--nprocs", "2", "--epoch", "99", "--eval-epoch", "99"]
    arguments += ["--resume", spawned / "last_16", "--output-dir", tmp_path, "--force-resume"]
    script = [ROOT / "main_multi_gpu.py", *arguments]
    if victim == "a launched rank":
        script = [*LAUNCH, "--log_dir", tmp_path / "launch", *script]
    job = subprocess.Popen(
        [sys.executable, *map(str, script)],
        cwd=ROOT,
        env={**os.environ, **ONE_THREAD},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "train/metrics_16.jsonl"
    try:
        deadline = time.monotonic() + 100
        while len(metrics.read_text().splitlines() if metrics.is_file() else ()) < 2:
            assert job.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        ranks = ranks_of(job.pid)
        assert len(ranks) == 2
        os.kill(job.pid if victim == "the parent" else ranks[1], signal.SIGKILL)
        _, error = job.communicate(timeout=60)
        if victim == "a rank":
            assert job.returncode == 2
            assert "rank 1 was killed by SIGKILL" in error and "--resume" in error
        if victim == "a launched rank":
            assert job.returncode not in (0, -signal.SIGKILL) and "-9" in error, error
        gone = time.monotonic() + 20
        while any(map(is_alive, ranks)) and time.monotonic() < gone:
            time.sleep(0.1)
        assert not any(map(is_alive, ranks)), "no orphans"
    finally:
        job.kill()
        job.wait()
    assert saved_settings(str(tmp_path / "last_16"))["ranks"] == 2
