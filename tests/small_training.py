"""Trains and evaluates as the commands do, with the small network: a save takes milliseconds.

`small_training.py ARGUMENTS` is main_single_gpu.py, and with `--nprocs N` or under a launcher
main_multi_gpu.py. The data set is drawn, and so are the first weights (`--pretrained DATA/first`).
With HASHNET_TEST_CORES it runs as on a machine of so many, and says which threads it takes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

import models
from utils.config import TRAIN_COMMAND, TRAIN_MULTI_COMMAND, Config, parse_config
from utils.system import runtime
from utils.system.errors import run_command
from utils.system.runtime import has_launcher, setup_paddle

BIT, CLASSES = 8, 3
ROWS = {"train": 12, "test": 4, "database": 8}


def main() -> int:
    """Reads the settings, starts Paddle, hands over to all ranks."""
    several = "--nprocs" in sys.argv or has_launcher()
    config = parse_config(TRAIN_MULTI_COMMAND if several else TRAIN_COMMAND)
    cores = int(os.environ.get("HASHNET_TEST_CORES", 0))
    if cores:
        del os.environ["OMP_NUM_THREADS"]  # nobody has said how many
        runtime.usable_cores = lambda: cores
    setup_paddle(config.cpu_threads, alone=not several)
    if cores:
        loading = config.loader_options(config.transform()).threads
        print(f"threads: {os.environ['OMP_NUM_THREADS']} compute, {loading} load", flush=True)
    from utils.system.launcher import run_on_all_ranks

    processes = config.nprocs if several else 1
    return run_on_all_ranks(run_small, config, processes, "cpu")


def run_small(config: Config) -> int:
    """`utils.training`'s `train` or `evaluate`, with the small network."""
    from utils.training import evaluator, trainer

    run = evaluator.evaluate if config.eval else trainer.train
    with mock.patch.dict(models.NETWORKS, alexnet="small_network.SmallHashNet"):
        return run(config)


def train_small(data: Path, output: Path, *more, epochs: int = 3) -> int:
    """Trains or evaluates in this process; returns the exit status."""
    arguments = arguments_of(data, output, epochs, *more)
    return run_small(parse_config(TRAIN_COMMAND, arguments))


def draw_data_set(folder: Path, rows: dict[str, int] | None = None) -> None:
    """Writes images of random pixels, the lists of them and dataset.yaml."""
    rng = np.random.default_rng(5)
    info = f"name: drawn\nnum_class: {CLASSES}\ntopK: -1\ndata_path: .\n"
    (folder / "dataset.yaml").write_text(info, encoding="utf-8")
    for split, count in (rows or ROWS).items():
        lines = []
        for row in range(count):
            name = f"{split}{row}.png"
            pixels = rng.integers(0, 256, (72, 80, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name)
            labels = np.zeros(CLASSES, int)
            labels[row % CLASSES] = 1
            lines.append(f"{name} {' '.join(map(str, labels))}\n")
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")


def draw_weights(path: Path, bit: int = BIT) -> None:
    """Writes first weights, always the same."""
    import paddle
    from small_network import SmallHashNet

    paddle.seed(1)
    paddle.save(SmallHashNet(bit).state_dict(), str(path))


def arguments_of(data: Path, output: Path, epochs: int, *more) -> list[str]:
    """The command line of a training of the small network that saves every epoch."""
    flags = ["--bit", BIT, "--dataset", data, "--data-path", data, "--output-dir", output]
    flags += ["--crop-size", 63, "--resize-size", 64, "--batch-size", 4, "--num-workers", 0]
    flags += ["--device", "cpu", "--epoch", epochs, "--eval-epoch", 3, "--learning-rate", 0.02]
    flags += ["--encoder", "dygraph", "--pretrained", data / "first", "--save-epoch", 1]
    return list(map(str, (*flags, *more)))


if __name__ == "__main__":
    sys.exit(run_command(main))
