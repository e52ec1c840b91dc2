"""Kills a training at random moments, again and again: is its state always there, and exact?

`kill_training.py --kills 100` trains with a state saved every epoch, ends the process by `kill -9`
at a random moment, loads what is on disk, goes on from there, and is killed again. A training that
comes to its end is compared with an unbroken one, byte by byte, and another is begun. The last
line is a report in JSON; the exit status is 1 where anything was lost.

Each training is a process of its own, forked from one that has imported Paddle, since a start
takes far longer than an epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from utils.config import TRAIN_COMMAND, parse_config
from utils.system.runtime import start_paddle

BIT, CLASSES = 8, 3
ROWS = {"train": 12, "test": 4, "database": 8}
ENDINGS = (".pdparams", ".pdopt")
CARD = f"name: drawn\nnum_class: {CLASSES}\ntopK: -1\ndata_path: .\n"
FORK = multiprocessing.get_context("fork")


def draw_data_set(folder: Path, rows: dict[str, int] | None = None) -> None:
    """Writes pictures of random pixels, the lists of them and the card."""
    rng = np.random.default_rng(5)
    (folder / "dataset.yaml").write_text(CARD, encoding="utf-8")
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


def arguments_of(data: Path, output: Path, epochs: int, small: bool, *more: str) -> list[str]:
    """The command line of a training that saves its state every epoch."""
    flags = ["--bit", BIT, "--dataset", data, "--data-path", data, "--output-dir", output]
    flags += ["--crop-size", 63, "--resize-size", 64, "--batch-size", 4, "--num-workers", 0]
    flags += ["--device", "cpu", "--epoch", epochs, "--eval-epoch", 3, "--learning-rate", 0.02]
    flags += ["--encoder", "dygraph"]
    begin = ["--pretrained", data / "first"] if small else ["--backbone-weights", "none"]
    return list(map(str, (*flags, *begin, *more)))


def train(arguments: list[str], small: bool) -> None:
    """A training in a process of its own; its console goes to `console.txt`."""
    config = parse_config(TRAIN_COMMAND, arguments)
    folder = Path(config.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "console.txt").open("a") as console:
        for number in (1, 2):
            os.dup2(console.fileno(), number)
    if small:
        import small_training

        status = small_training.run_small(config)
    else:
        from utils.training import trainer

        status = trainer.run(config)
    sys.exit(status)


def check_loads(output: Path, small: bool) -> None:
    """Loads the state as `--resume` does, in a process of its own; its exit status tells."""
    import paddle
    from small_network import SmallHashNet

    from utils.loss import HashNetLoss
    from utils.lr_scheduler import halving_schedule
    from utils.optimizer import build_optimizer
    from utils.training import checkpoint
    from utils.training import common as parts

    if small:
        parts.HashNet = SmallHashNet
    network = parts.build_network(BIT)
    groups = (network.backbone_parameters(), network.hash_parameters())
    optimizer = build_optimizer("SGD", *groups, halving_schedule(0.1, 50), 0.9, 5e-4)
    criterion = HashNetLoss(BIT, ROWS["train"], num_class=CLASSES)
    checkpoint.load_training(str(output / f"last_{BIT}"), network, optimizer, criterion)
    assert all(bool(paddle.isfinite(p).all()) for p in network.parameters())


def in_a_process(function, *arguments) -> int:
    """The exit status of a function run to its end in a forked process."""
    process = FORK.Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def moment_of(output: Path) -> str:
    """What a killed training was doing, as the files it has left tell."""
    names = {path.name for path in output.iterdir()}
    if f".last_{BIT}.next.pdstates" in names:
        return "between the renames of the state"
    if any(name.startswith((f".last_{BIT}.next", f"..last_{BIT}.next")) for name in names):
        return "writing the state"
    if any(name.startswith((f".weights_{BIT}", f"..weights_{BIT}")) for name in names):
        return "writing the best weights"
    return "training or loading"


class Victim:
    """Trainings that are killed; what became of them is counted.

    Args:
        folder: for data and outputs.
        epochs: of a training.
        small: the small network, else the real one.
        seconds: a training is killed after so many at most.
        seed: of the moments.
    """

    def __init__(self, folder: Path, epochs: int, small: bool, seconds: float, seed: int):
        self.counts: Counter = Counter()
        self.moments: Counter = Counter()
        self._folder, self._epochs, self._small = folder, epochs, small
        self._seconds, self._random = seconds, random.Random(seed)
        self._output = folder / "killed0"
        self._whole = folder / "whole"
        if in_a_process(train, self._arguments(self._whole), small):
            raise SystemExit((self._whole / "console.txt").read_text())

    def _arguments(self, output: Path) -> list[str]:
        state = output / f"last_{BIT}"
        more = ["--resume", str(state)] if self._has_state(output) else []
        return arguments_of(self._folder, output, self._epochs, self._small, *more)

    def _has_state(self, output: Path) -> bool:
        places = (f"last_{BIT}.pdstates", f".last_{BIT}.next.pdstates")
        return any((output / place).is_file() for place in places)

    def kill_once(self) -> None:
        """Begins or goes on, kills, and checks what is left."""
        process = FORK.Process(target=train, args=(self._arguments(self._output), self._small))
        process.start()
        process.join(self._random.uniform(0, self._seconds))
        if process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            self.counts["kills"] += 1
            self.moments[moment_of(self._output) if self._output.is_dir() else "starting"] += 1
            if self._has_state(self._output):
                self.counts["states loaded"] += 1
                if in_a_process(check_loads, self._output, self._small):
                    self.counts["states lost"] += 1
        elif process.exitcode:
            self.counts["resumes failed"] += 1
            sys.stderr.write((self._output / "console.txt").read_text()[-2000:])
            self._next_training()
        else:
            self._compare()

    def finish(self) -> None:
        """Lets the last training come to its end."""
        if in_a_process(train, self._arguments(self._output), self._small):
            self.counts["resumes failed"] += 1
        self._compare()

    def _compare(self) -> None:
        self.counts["trainings ended"] += 1
        for prefix in (f"last_{BIT}", f"weights_{BIT}"):
            files = [prefix + ending for ending in ENDINGS]
            if any(
                (self._whole / f).read_bytes() != (self._output / f).read_bytes() for f in files
            ):
                self.counts[f"{prefix} other than of the unbroken training"] += 1
        self._next_training()

    def _next_training(self) -> None:
        self._output = self._folder / f"killed{sum(self.counts.values())}"

    def report(self) -> dict:
        """The counts."""
        return {**self.counts, "when": dict(self.moments)}

    def lost_anything(self) -> bool:
        """Whether a count is there that must not be."""
        good = {"kills", "states loaded", "trainings ended"}
        return bool(self.counts.keys() - good)


def main() -> int:
    """Reads the flags, kills, reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", choices=("small", "real"), default="small")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2.0, help="to a kill, at most")
    flags = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    start_paddle()
    import small_training

    with tempfile.TemporaryDirectory() as folder:
        draw_data_set(Path(folder))
        in_a_process(small_training.draw_weights, Path(folder, "first.pdparams"))
        began = time.monotonic()
        small = flags.network == "small"
        victim = Victim(Path(folder), flags.epochs, small, flags.seconds, flags.seed)
        while victim.counts["kills"] < flags.kills and not victim.lost_anything():
            victim.kill_once()
        victim.finish()
        seconds = round(time.monotonic() - began)
    print(json.dumps({"network": flags.network, **victim.report(), "seconds": seconds}))
    return int(victim.lost_anything())


if __name__ == "__main__":
    sys.exit(main())
