"""What the tests share: Paddle's start, real data, small pictures and lists, running commands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from utils.system.runtime import setup_paddle

REPOSITORY = Path(__file__).resolve().parent.parent

# The published command (design, commands and files), from random weights: no ImageNet ones ship.
PUBLISHED = [
    *("main_single_gpu.py", "--bit", "64", "--dataset", "coco_lite"),
    *("--data-path", "datasets/coco_lite", "--seed", "2000", "--batch-size", "10"),
    *("--learning_rate", "0.001", "--epoch", "2", "--backbone-weights", "none"),
]

setup_paddle()  # as the commands do, before any test imports Paddle
# Where the tests run in the background of a shell, Ctrl-C would be ignored by all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real photos and lists, which do not ship."""
    folder = os.environ.get("HASHNET_TEST_DATA")
    if not folder:
        pytest.skip("HASHNET_TEST_DATA is not set: it names the folder of the real data")
    return Path(folder)


@pytest.fixture(scope="session")
def released_lists(real_data, tmp_path_factory):
    """Folder of the lists released for COCO, 10,000 / 5,000 / 112,218 rows."""
    folder = tmp_path_factory.mktemp("released")
    with tarfile.open(real_data / "coco_lists.tar.xz") as archive:
        for member in archive.getmembers():
            if member.isfile():
                name = member.name.rsplit("/", 1)[-1]
                (folder / name).write_bytes(archive.extractfile(member).read())
    return folder


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One folder for all tests of a file, and all cases of fuzzing; gone after the last of them."""
    folder = tmp_path_factory.mktemp("scratch")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def run():
    """Runs one of the repository's Python commands; see `run_script`."""
    return run_script


def run_script(script, *arguments, cwd=REPOSITORY, timeout=300, environment=None):
    """Runs `python script arguments…` to its end.

    Args:
        script: relative to the repository's root, or '-c' or '-m'.
        arguments: the command line; each becomes text.
        cwd: where it runs.
        timeout: seconds until it is ended and `subprocess.TimeoutExpired` is raised.
        environment: variables set beside the ones of this process.

    Returns:
        The completed process: `returncode`, and `stdout` and `stderr` as text.
    """
    program = script if script in ("-c", "-m") else str(REPOSITORY / script)
    return subprocess.run(
        [sys.executable, program, *map(str, arguments)],
        cwd=cwd,
        timeout=timeout,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def drawn_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture of random pixels, RGB."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_data_set(folder: Path, rows: int = 10, num_class: int = 3) -> Path:
    """Writes `rows` small pictures and the list `train.txt` of them; returns the list."""
    rng = np.random.default_rng(rows)
    lines = []
    for row in range(rows):
        drawn_picture(48, 40, seed=row).save(folder / f"picture {row}.png")
        labels = " ".join(str(bit) for bit in rng.integers(0, 2, num_class))
        lines.append(f"picture {row}.png {labels}\n")
    path = folder / "train.txt"
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def hashnet():
    """HashNet for 16 bits in evaluation mode; whoever changes it puts it back."""
    import paddle

    from models import HashNet

    paddle.seed(7)
    network = HashNet(16)
    network.eval()
    return network


@pytest.fixture(scope="session")
def alexnet():
    """Paddle's own AlexNet with random weights and 16 classes, in evaluation mode."""
    import paddle

    paddle.seed(8)
    network = paddle.vision.models.alexnet(num_classes=16)
    network.eval()
    return network


@pytest.fixture(scope="session")
def trained(run, tmp_path_factory):
    """The published command's console output and output folder."""
    output = tmp_path_factory.mktemp("trained")
    result = run(*PUBLISHED, "--output-dir", output, "--eval_epoch", "1")
    assert result.returncode == 0, result.stderr
    return result.stdout, output
