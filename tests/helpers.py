"""What tests share: running commands, small images, short lists."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.config import (
    EXPORT_COMMAND,
    INFER_COMMAND,
    PREDICT_COMMAND,
    TRAIN_COMMAND,
    TRAIN_MULTI_COMMAND,
)

REPOSITORY = Path(__file__).resolve().parent.parent
COMMANDS = {
    "main_single_gpu.py": TRAIN_COMMAND,
    "main_multi_gpu.py": TRAIN_MULTI_COMMAND,
    "predict.py": PREDICT_COMMAND,
    "export_model.py": EXPORT_COMMAND,
    "deploy/inference_python/infer.py": INFER_COMMAND,
}
COCO_LITE = REPOSITORY / "datasets/coco_lite"
SMALL_IMAGES = ["--crop-size", "96", "--resize-size", "100"]
SMALL_TRAINING = "tests/small_training.py"
FOR_TESTS = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
"""What programs of tests/ need; the commands find all they need themselves."""


def _start(script, arguments) -> dict:
    program = script if script in ("-c", "-m") else str(REPOSITORY / script)
    uses_tests = any("tests/" in str(word) for word in (script, *arguments))
    return {
        "args": [sys.executable, program, *map(str, arguments)],
        "text": True,
        "encoding": "utf-8",
        # Two commands run at a time, and ranks share the cores.
        "env": {**os.environ, "OMP_NUM_THREADS": "1", **(FOR_TESTS if uses_tests else {})},
    }


def run_script(script, *arguments, cwd=REPOSITORY, timeout=300, environment=None):
    """Runs `python script arguments…` to its end, for `timeout` seconds at most.

    `script` is relative to the repository's root, or '-c' or '-m'; the `environment` is set beside
    that of this process.
    """
    start = _start(script, arguments)
    start["env"].update(environment or {})
    return subprocess.run(**start, cwd=cwd, timeout=timeout, capture_output=True, check=False)


def succeed(script, *arguments, **rest) -> str:
    """Runs a command that must end well; returns what it says on stdout."""
    result = run_script(script, *arguments, **rest)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def fail(script, *arguments, **rest) -> str:
    """Runs a command that must end with status 2 and one line on stderr; returns the line."""
    result = run_script(script, *arguments, **rest)
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


def run_shell(*command, cwd=REPOSITORY, **environment) -> subprocess.CompletedProcess:
    """Runs a shell script, without settings of the environment that choose a Python."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VENV", "PADDLE")}
    env = {**kept, "PYTHON": sys.executable, **environment}
    command = [*map(str, command)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Inside the block no file can grow beyond so many bytes, as on a full disk."""
    resource = pytest.importorskip("resource", reason="this system has no limit of file sizes")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def running(script, *arguments, prefix=()) -> Iterator[subprocess.Popen]:
    """A command in a group of its own; it and what it has started end with the block.

    The words of `prefix` stand before it, such as `ip netns exec HOST`.
    """
    start = _start(script, arguments)
    start["args"][:0] = prefix
    job = subprocess.Popen(
        **start,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield job
    finally:
        for process in (*processes_of(job.pid), job.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        job.communicate()


def read_until(job: subprocess.Popen, pattern: str) -> None:
    """Reads what a command says, to the line that the pattern is in."""
    said = []
    for line in job.stdout:
        said.append(line)
        if re.search(pattern, line):
            return
    raise AssertionError("".join(said) + job.stderr.read())


def processes_of(job: int, command: str = "") -> list[int]:
    """What a job has started and still runs, by a word of the command lines (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, *family = _status_of(entry)[:3]
            ours = str(job) in family and int(entry.name) != job  # its child, or of its group
            if ours and state != "Z" and command in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return sorted(found)


def all_have_ended(processes: list[int]) -> bool:
    """Waits until none of them is left, some seconds: a killed one ends by and by."""
    deadline = time.monotonic() + 20
    for process in processes:
        with contextlib.suppress(OSError):
            while _status_of(Path("/proc", str(process)))[0] != "Z":
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.1)
    return True


def _status_of(entry: Path) -> list[str]:
    """State, parent and group of a process, and more."""
    return (entry / "stat").read_text().rpartition(")")[2].split()


def log_of(output: Path, bit: int = 8, kind: str = "train") -> str:
    """The log of a training, or of an evaluation ('test')."""
    return (output / kind / f"log_{bit}.txt").read_text(encoding="utf-8")


def epochs_of(output: Path, bit: int = 8) -> list[dict]:
    """The lines of a training's metrics file."""
    text = (output / f"train/metrics_{bit}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def assert_same_state(found: Path, expected: Path, bit: int = 8) -> None:
    """The newest states in two folders have equal arrays, to the bit."""
    from utils.system.state_files import read_training_state

    arrays, wanted = (read_training_state(f / f"last_{bit}.npz")[0] for f in (found, expected))
    assert arrays.keys() == wanted.keys()
    for part in wanted:
        assert arrays[part].keys() == wanted[part].keys()
        for name, array in wanted[part].items():
            np.testing.assert_array_equal(arrays[part][name], array, err_msg=f"{part} {name}")


def drawn_image(width: int, height: int, seed: int = 0) -> Image.Image:
    """An image of random pixels, RGB."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_data_set(folder: Path, rows: int = 10, num_class: int = 3) -> Path:
    """Writes `rows` small images and the list `train.txt` of them; returns the list."""
    rng = np.random.default_rng(rows)
    lines = []
    for row in range(rows):
        drawn_image(48, 40, seed=row).save(folder / f"picture {row}.png")
        labels = " ".join(str(bit) for bit in rng.integers(0, 2, num_class))
        lines.append(f"picture {row}.png {labels}\n")
    path = folder / "train.txt"
    path.write_text("".join(lines), encoding="utf-8")
    return path


def shorten_lists(folder: Path, **rows: int) -> Path:
    """Writes the first rows of coco_lite's lists to a new folder; returns it."""
    folder.mkdir(parents=True)
    for split in ("train", "test", "database"):
        lines = (REPOSITORY / f"data/coco_lite/{split}.txt").read_text(encoding="utf-8")
        kept = lines.splitlines(keepends=True)[: rows.get(split)]
        (folder / f"{split}.txt").write_text("".join(kept), encoding="utf-8")
    return folder
