"""Kills a training at random moments, again and again: is its state always there, and exact?

`kill_training.py --kills 100` trains with a state saved every epoch, ends the process by `kill -9`
at a random moment, loads what is on disk, goes on from there, and is killed again. A training that
comes to its end is compared with an unbroken one, to the bit, and another is begun. The last line
is a report in JSON; the exit status is 1 where anything was lost.

Each training is a process of its own, forked from one that has imported Paddle, since a start
takes far longer than an epoch.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from helpers import assert_same_state
from small_training import BIT, arguments_of, draw_data_set, draw_weights, run_small

from utils.config import TRAIN_COMMAND, parse_config
from utils.system.runtime import setup_paddle

FORK = multiprocessing.get_context("fork")


def train(arguments: list[str]) -> None:
    """Trains in a process of its own; its console goes to `console.txt`."""
    config = parse_config(TRAIN_COMMAND, arguments)
    config.paths.folder.mkdir(parents=True, exist_ok=True)
    with (config.paths.folder / "console.txt").open("a") as console:
        for number in (1, 2):
            os.dup2(console.fileno(), number)
    sys.exit(run_small(config))


def best_of(output: Path) -> tuple:
    """The best weights' bytes, and what they are of."""
    record = json.loads((output / f"weights_{BIT}.json").read_text(encoding="utf-8"))
    weights = (output / f"weights_{BIT}.pdparams").read_bytes()
    return weights, record["epoch"], record["map"], record["weights_sha256"]


class Victim:
    """Trainings that are killed: `counts` says what became of them, `losses` what must not have."""

    def __init__(self, folder: Path, epochs: int):
        self.counts: Counter = Counter()
        self.losses: list[str] = []
        self._folder, self._epochs = folder, epochs
        self._output = self._whole = folder / "whole"
        self._run(None)
        self._output = folder / "killed"

    def _run(self, seconds: float | None) -> bool:
        """Begins or goes on, for so long at most; returns whether it has come to its end."""
        state = self._output / f"last_{BIT}"
        resume = ["--resume", state] if state.with_suffix(".npz").is_file() else []
        arguments = arguments_of(self._folder, self._output, self._epochs, *resume)
        process = FORK.Process(target=train, args=(arguments,))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            self.losses.append((self._output / "console.txt").read_text()[-500:])
        return process.exitcode == 0

    def kill(self, seconds: float | None) -> None:
        """Kills a training after so long, or not at all, and checks what is left."""
        if self._run(seconds):
            self._compare()
            return
        self.counts["kills"] += 1
        self.counts["kills while a file was written"] += any(self._output.glob(".*"))
        state = self._output / f"last_{BIT}.npz"
        if state.is_file():
            from utils.system.state_files import read_training_state

            read_training_state(state)  # a damaged one ends all of this
            self.counts["states loaded"] += 1

    def _compare(self) -> None:
        self.counts["trainings ended"] += 1
        try:
            assert_same_state(self._output, self._whole)
            assert best_of(self._output) == best_of(self._whole), "other best weights"
        except AssertionError as error:
            self.losses.append(f"not as unbroken: {error}"[:500])
        self._output = self._folder / f"killed{self.counts['trainings ended']}"


def main() -> int:
    """Reads the flags, kills, reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=2.0, help="to a kill, at most")
    flags = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    setup_paddle()
    draw = random.Random(flags.seed)
    with tempfile.TemporaryDirectory() as folder:
        draw_data_set(Path(folder))
        drawing = FORK.Process(target=draw_weights, args=(Path(folder, "first.pdparams"),))
        drawing.start()
        drawing.join()
        victim = Victim(Path(folder), flags.epochs)
        while victim.counts["kills"] < flags.kills and not victim.losses:
            victim.kill(draw.uniform(0, flags.seconds))
        victim.kill(None)
    print(json.dumps({**vars(flags), **victim.counts, "lost": victim.losses}))
    return int(bool(victim.losses))


if __name__ == "__main__":
    sys.exit(main())
