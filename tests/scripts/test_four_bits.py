"""The shells that train and evaluate four bits: what they run, seen by a stand-in for Python."""

from __future__ import annotations

import pytest
from helpers import REPOSITORY, run_shell

STAND_IN = """#!/bin/sh
[ "$1" = -c ] && exit  # asks for packages: they are all there
echo "$@"
exit $STATUS
"""


@pytest.fixture()
def shell(tmp_path):
    """Runs a shell of scripts/; returns its status and the commands that it ran."""
    python = tmp_path / "python"
    python.write_text(STAND_IN, encoding="utf-8")
    python.chmod(0o755)

    def run_four_bits(name, *flags, **settings):
        settings = {"cwd": tmp_path, "PYTHON": str(python), "STATUS": "0", **settings}
        done = run_shell("sh", REPOSITORY / f"scripts/{name}.sh", *flags, **settings)
        return done.returncode, [line for line in done.stdout.splitlines() if "main_" in line]

    return run_four_bits


@pytest.mark.parametrize("devices", ["single", "multi"])
def test_four_bits_are_trained_with_the_published_seeds_and_evaluated(shell, devices):
    status, runs = shell(f"train_{devices}_gpu", "--amp", NPROCS="2", DATASET="mine")
    assert status == 0
    assert [line.split()[:3] for line in runs] == [
        [f"main_{devices}_gpu.py", "--bit", bit] for bit in ("16", "32", "48", "64")
    ]
    for line, seed in zip(runs, (0, 2000, 200, 2000)):
        assert "--dataset mine --output-dir ./output" in line and line.endswith("--amp")
        assert f"--seed {seed} " in line
        assert ("--nprocs 2" in line) == (devices == "multi")
        assert ("--batch-size 128" in line) == (devices == "single")
    status, runs = shell(f"test_{devices}_gpu", NPROCS="2", BITS="48", DATA_PATH="a b")
    assert status == 0 and len(runs) == 1
    assert "--data-path a b" in runs[0] and "--eval --pretrained ./output/weights_48" in runs[0]


def test_the_first_failure_ends_it(shell):
    status, runs = shell("train_single_gpu", STATUS="3")
    assert status == 3 and len(runs) == 1
