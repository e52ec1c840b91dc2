"""The sweep: what it plans, what it skips and resumes, and how it is stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from itertools import product
from pathlib import Path

import pytest
from helpers import (
    REPOSITORY,
    all_have_ended,
    assert_same_state,
    epochs_of,
    fail,
    processes_of,
    read_until,
    run_script,
    running,
    succeed,
)
from small_training import arguments_of, run_small

from scripts import sweep
from utils.config import TRAIN_COMMAND, parse_config
from utils.system.errors import UserError

LITE = ["--dataset", "coco_lite", "--epoch", "2", "--backbone-weights", "none"]
RUN = """
import sys
from pathlib import Path
from scripts import sweep
from utils.system.errors import run_command

sweep.MAIN = Path(sys.argv.pop(1))
sys.exit(run_command(sweep.main))
"""
"""The sweep with another program than main_single_gpu.py."""
STAND_IN = """
import json, os, sys
from utils.config import TRAIN_COMMAND, parse_config
config = parse_config(TRAIN_COMMAND)
if config.bit == 8:
    sys.exit("error: no such bits")
paths = config.paths
print("gpu", os.environ.get("CUDA_VISIBLE_DEVICES"))
for path in (paths.metrics, paths.epochs):
    path.parent.mkdir(parents=True, exist_ok=True)
if config.eval:
    protocol = {"weights_sha256": "1", "topK": config.topK, "exclude_self": config.exclude_self}
    record = {"dataset": "d", "map": 0.5, "chance": 0.1, "protocol": protocol}
    paths.metrics.write_text(json.dumps(record))
else:
    data = {f"{s.name} list": s.origin["list_sha256"] for s in config.splits("train", "test")}
    settings = {**config.settings(), "data": data}
    record = {"settings": settings, "weights_sha256": "1", "epoch": 2, "map": 0.5}
    paths.weights_record.write_text(json.dumps(record))
    row = {"epoch": config.epoch, "loss": 1, "seconds": 60, "evaluation_seconds": 30}
    paths.epochs.write_text(json.dumps(row) + chr(10))
"""
"""Trains and evaluates in no time, and leaves what the sweep looks at; 8 bits fail."""


def plan(*words):
    arguments, flags = sweep.parse_arguments(list(map(str, words)))
    return sweep.plan_runs(arguments, flags)


def test_bits_seeds_and_variants_from_flags_or_a_file(tmp_path):
    (tmp_path / "s.yaml").write_text(
        f"output: {tmp_path}\nbits: [16, 32]\nseeds: [0, 1]\nvariants: [full, W-sgn]\n"
        "settings: {dataset: coco_lite, epoch: 2, backbone-weights: none, amp: true,\n"
        "  tf32: false, momentum: 0, cache_dir: null}\n"
    )
    flags = ["--bits", 16, 32, "--seeds", 0, 1, "--variants", "full", "W-sgn"]
    runs = plan(*flags, "--output", tmp_path, "--", *LITE, "--amp", "--momentum", 0)
    of_file = plan(tmp_path / "s.yaml")
    assert [run.config.settings() for run in runs] == [run.config.settings() for run in of_file]
    assert [run.name for run in runs][::3] == ["full_16_s0", "full_32_s1", "W-sgn_32_s0"]
    last = runs[-1].config
    assert (last.bit, last.seed, last.variant) == (32, 1, "HashNet-W-sgn")
    assert Path(last.output_dir) == tmp_path / "coco_lite/W-sgn_32_s1"
    (shorter,) = plan(
        tmp_path / "s.yaml", *flags[3:5], "--bits", 8, "--variants", "full", "--", "-e", 5
    )
    assert shorter.name == "full_8_s0" and shorter.config.epoch == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--", "--epohc", "3"], "unknown flag --epohc; did you mean --epoch?"),
        (["--bits", "16", "600", "--", *LITE], "--bit: 600-bit codes"),
        (["--", *LITE, "--seed", "7"], "--seed among the flags of training"),
        (["--", *LITE, "--no-weighting"], "--no-weighting among the flags"),
        (["--", *LITE, "--output-dir", "x"], "--output-dir among the flags"),
        (["--", *LITE, "--eval"], "--eval among the flags"),
        (["FILE", "bitts: [1]"], r"s\.yaml: unknown flag --bitts; did you mean --bits"),
        (["FILE", "settings: {epoch: three}"], r"s\.yaml: argument -e/--epoch: invalid int"),
        (["FILE", "settings: 3"], r"s\.yaml: settings: expected names and values, found 3"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(tmp_path, words, message):
    if words[0] == "FILE":
        (tmp_path / "s.yaml").write_text(words[1])
        words = [tmp_path / "s.yaml"]
    with pytest.raises(UserError, match=message):
        plan("--output", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_failed_run_stops_no_other_and_what_is_finished_is_skipped(tmp_path):
    (tmp_path / "tests").mkdir()
    stand_in = tmp_path / "tests/main.py"
    stand_in.write_text(STAND_IN)
    words = [stand_in, "--bits", 8, 16, "--output", tmp_path / "out"]

    def run_sweep(*more):
        environment = {"CUDA_VISIBLE_DEVICES": "3"}
        result = run_script("-c", RUN, *words, *more, environment=environment)
        return result.returncode, result.stdout, result.stderr

    dry = run_sweep("--dry-run", "--", *LITE)
    assert dry[0] == 0 and dry[1].count("to do") == 2 and not (tmp_path / "out").exists()
    status, said, _ = run_sweep("--", *LITE)
    assert status == 1
    assert "1 of 2 runs have failed:\nfull_8_s2000: status 1: error: no such bits\n" in said
    # By hand: two epochs of 60 + 30 s are left.
    assert "[1/2] full_16_s2000: done, MAP 0.500; about 0:03:00 left, an epoch takes 90 s" in said
    folder = tmp_path / "out/coco_lite/full_16_s2000"
    assert (folder / "console.txt").read_text() == "gpu 3\ngpu 3\n"
    status, said, _ = run_sweep("--", *LITE)
    assert status == 1 and re.search(r"full_16_s2000 \| done, MAP 0\.500", said)
    assert (folder / "console.txt").read_text() == "gpu 3\ngpu 3\n", "it was run again"
    metrics = folder / "test/metrics_16.json"
    for ours, other in (('"topK": 5000', '"topK": 10'), ('"exclude_self": false', '"ties": 1')):
        (before := metrics.read_text()).index(ours)
        metrics.write_text(before.replace(ours, other))
        assert "full_16_s2000 | to be evaluated" in run_sweep("--dry-run", "--", *LITE)[1]
        metrics.write_text(before)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lists = shutil.copytree(REPOSITORY / "data/coco_lite", tmp_path / "lists")
    with (lists / "test.txt").open("a") as file:
        file.write("\n")
    for more, told in (
        ("--alpha=0.2", "alpha 0.1, now 0.2"),
        ("--epoch=1", "epoch 2, now 1"),
        (f"--list-path={lists}", "test list [0-9a-f]{8}, now [0-9a-f]{8}"),
    ):
        status, _, error = run_sweep("--", *LITE, more)
        assert status == 2
        assert re.search(f"full_16_s2000: a run of other settings: {told}; move", error)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killed_twice_and_gone_on_with_it_ends_as_unbroken_runs(small_data, tmp_path):
    import paddle
    from small_network import SmallHashNet

    paddle.seed(1)
    state = SmallHashNet(8).state_dict().items()
    backbone = tmp_path / "backbone.pdparams"
    renamed = {name.replace("classifier_plus", "classifier"): value for name, value in state}
    paddle.save(renamed, str(backbone))
    flags = arguments_of(small_data, tmp_path, 3, "--backbone-weights", backbone)
    for flag in ("--bit", "--output-dir", "--pretrained"):
        del flags[flags.index(flag) : flags.index(flag) + 2]
    ours = ["--bits", 8, 16, "--seeds", 0, 1, "--jobs", 2, "--output", tmp_path / "out"]
    words = [REPOSITORY / "tests/small_training.py", *ours, "--", *flags]
    with running("-c", RUN, *words) as job:
        read_until(job, r"full_8_s1: started")
        os.kill(job.pid, signal.SIGINT)
        said, error = job.communicate(timeout=90)
        assert job.returncode == 130, said + error
    assert "To go on: python" in said and "Traceback" not in error
    with running("-c", RUN, *words) as job:
        read_until(job, r"\[1/4\] ")
        children = processes_of(job.pid, "small_training")
        os.kill(job.pid, signal.SIGKILL)
        assert all_have_ended(children), "no orphans"
    said = succeed("-c", RUN, *words)
    assert "[4/4] " in said and "Tables and figures: python scripts/report.py" in said
    assert succeed("-c", RUN, *words).count("done, MAP") == 4
    for bit, seed in product((8, 16), (0, 1)):
        whole, found = tmp_path / f"{bit}_{seed}", tmp_path / f"out/drawn/full_{bit}_s{seed}"
        own = map(str, ["--bit", bit, "--seed", seed, "--output-dir", whole])
        assert run_small(parse_config(TRAIN_COMMAND, [*flags, *own])) == 0
        assert_same_state(found, whole, bit)
        assert [row["epoch"] for row in epochs_of(found, bit)] == [1, 2, 3]
        best = [json.loads((f / f"weights_{bit}.json").read_text()) for f in (found, whole)]
        assert best[0]["weights_sha256"] == best[1]["weights_sha256"]
        metrics = json.loads((found / f"test/metrics_{bit}.json").read_text())
        assert (metrics["variant"], metrics["seed"]) == ("HashNet", seed)


def test_help_and_one_line_for_a_mistake():
    told = succeed("scripts/sweep.py", "--help")
    assert "--dry-run" in told and "settings: {dataset: cifar10" in told
    line = fail("scripts/sweep.py", "--bits", "16", "--", "--epohc", "3")
    assert line == "error: unknown flag --epohc; did you mean --epoch?"
