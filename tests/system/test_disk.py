"""Folders that cannot be written and disks that are full: found before the work, or one line."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from kill_training import ROWS, arguments_of, draw_data_set
from small_training import draw_weights

from utils.codes.storage import load_codes, save_codes
from utils.system import disk
from utils.system.disk import check_space, check_writable
from utils.system.errors import UserError
from utils.system.logger import append_metrics, open_log

ROOT = Path(__file__).resolve().parents[2]
STATE_ENDINGS = (".pdparams", ".pdopt", ".pdstates")
"""Of a training's state, by size."""
WITH_TESTS = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def test_a_folder_is_made_and_nothing_is_left_in_it(tmp_path):
    check_writable(tmp_path / "new/folder", ["a.txt"])
    assert list((tmp_path / "new/folder").iterdir()) == []


def test_a_file_in_the_folder_s_place_and_a_folder_in_a_file_s_are_told(tmp_path):
    (tmp_path / "file").write_text("here")
    with pytest.raises(UserError, match="a file stands where the folder should be"):
        check_writable(tmp_path / "file")
    (tmp_path / "last_8.pdopt").mkdir()
    with pytest.raises(UserError, match=r"last_8\.pdopt: .* a folder has the file's name"):
        check_writable(tmp_path, ["last_8.pdopt"])


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_a_read_only_folder_is_told():
    with pytest.raises(UserError, match=r"/proc/self: cannot be written"):
        check_writable("/proc/self")


def test_space_is_needed_for_all_files_and_one_set_beside(tmp_path, monkeypatch):
    free = namedtuple("usage", "free")
    sizes = {"weights.a": 100, "weights.b": 50, "last.a": 100, "last.b": 50, "last.c": 30}
    (tmp_path / "last.a").write_bytes(bytes(100))  # is there already
    for enough, bytes_free in ((True, 330 + 180 - 100), (False, 330 + 180 - 100 - 1)):
        monkeypatch.setattr(disk.shutil, "disk_usage", lambda _, b=bytes_free: free(b))
        if enough:
            check_space(tmp_path, sizes)
        else:
            with pytest.raises(UserError, match="make room, or name a folder elsewhere"):
                check_space(tmp_path, sizes)


@pytest.fixture()
def full_disk(tmp_path):
    """A file system of 64 KiB."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root on Linux, to mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leaves no room."""
    with (folder / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass


def test_a_full_disk_costs_codes_their_new_file_alone(full_disk):
    path = full_disk / "database_code_8.npy"
    old = np.arange(10, dtype=np.uint8).reshape(-1, 1)
    save_codes(path, old, {"list": "a"})
    fill(full_disk)
    with pytest.raises(UserError, match=r"database_code_8\.npy: cannot be written: No space left"):
        save_codes(path, np.zeros((50_000, 1), np.uint8), {"list": "b"})
    np.testing.assert_array_equal(load_codes(path, 8)[0], old)
    assert sorted(p.name for p in full_disk.iterdir() if p.name.startswith(".")) == []


def test_a_full_disk_costs_metrics_their_new_line_alone(full_disk):
    path = full_disk / "metrics.jsonl"
    append_metrics(path, {"epoch": 1})
    with path.open("a") as file:
        file.write('{"half a li')
    append_metrics(path, {"epoch": 2})
    fill(full_disk)
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written: No space left"):
        append_metrics(path, {"epoch": 3, "long": "x" * 9000})
    assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_full_disk_is_one_error_of_the_log(full_disk):
    log = open_log(full_disk / "log.txt")
    fill(full_disk)
    try:
        with pytest.raises(UserError, match=r"log\.txt: cannot be written: No space left"):
            for _ in range(100):
                log.info("x" * 4096)
    finally:
        for handler in list(logging.getLogger("hashnet").handlers):
            log.removeHandler(handler)


def test_a_training_into_a_full_disk_stops_before_its_first_step(run, full_disk):
    fill(full_disk)
    result = run(
        *("main_single_gpu.py", "--bit", "8", "--dataset", "coco_lite", "--epoch", "1"),
        *("--backbone-weights", "none", "--output-dir", full_disk / "output"),
    )
    assert result.returncode == 2 and "Start training" not in result.stdout
    assert result.stderr.startswith("error: ") and len(result.stderr.splitlines()) == 1


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
import small_training
from utils.system.errors import run_command
sys.exit(run_command(small_training.main))
"""
"""Trains the small network with files of so many bytes at most."""


@pytest.fixture(scope="module")
def one_epoch(run, scratch):
    """Settings of a training and its output folder after one epoch; later files are larger."""
    draw_data_set(scratch, {**ROWS, "train": 300})
    draw_weights(scratch / "first.pdparams")
    output = scratch / "output"
    arguments = arguments_of(scratch, output, 2, True, "--batch-size", "60")
    result = run("-c", LIMITED, 10**9, *arguments, "--epoch", "1", environment=WITH_TESTS)
    assert result.returncode == 0, result.stderr
    sizes = [(output / f"last_8{ending}").stat().st_size for ending in STATE_ENDINGS]
    assert sizes == sorted(sizes)
    return arguments, output


@pytest.mark.parametrize("ending", STATE_ENDINGS)
def test_a_state_that_no_longer_fits_leaves_the_last_one(run, one_epoch, tmp_path, ending):
    pytest.importorskip("resource", reason="this system has no limit of file sizes")
    arguments, first = one_epoch
    output = Path(shutil.copytree(first, tmp_path / "output"))
    before = {path.name: path.read_bytes() for path in output.glob("last_8.*")}
    resume = [*arguments, "--output-dir", output, "--resume", output / "last_8"]
    limit = len(before[f"last_8{ending}"]) - 100
    result = run("-c", LIMITED, limit, *resume, environment=WITH_TESTS)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert re.search(r"last_8.*\.pd\w+: cannot be written: File too large", result.stderr)
    assert {path.name: path.read_bytes() for path in output.glob("last_8.*")} == before
    assert not list(output.glob(".*"))
    result = run("-c", LIMITED, 10**9, *resume, environment=WITH_TESTS)
    assert result.returncode == 0 and "Start training from epoch 2" in result.stdout
