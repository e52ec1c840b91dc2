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
import time
from collections import Counter
from pathlib import Path

from small_training import BIT, ROWS, arguments_of, draw_data_set, draw_weights, run_small

from utils.config import TRAIN_COMMAND, parse_config
from utils.system.errors import UserError
from utils.system.runtime import setup_paddle

__all__ = ["ROWS", "arguments_of", "draw_data_set", "draw_weights"]
FORK = multiprocessing.get_context("fork")
GOOD = {"kills", "states loaded", "trainings ended"}
"""What may be counted; everything else is a loss."""


def train(arguments: list[str], small: bool) -> None:
    """Trains in a process of its own; its console goes to `console.txt`."""
    config = parse_config(TRAIN_COMMAND, arguments)
    config.paths.folder.mkdir(parents=True, exist_ok=True)
    with (config.paths.folder / "console.txt").open("a") as console:
        for number in (1, 2):
            os.dup2(console.fileno(), number)
    if small:
        sys.exit(run_small(config))
    from utils.training import trainer

    sys.exit(trainer.train(config))


def moment_of(output: Path) -> str:
    """What a killed training was doing, as the files it has left tell."""
    if any(output.glob(f".last_{BIT}.*")):
        return "writing the state"
    return "writing the best weights" if any(output.glob(f".weights_{BIT}.*")) else "elsewhere"


def end_of(output: Path) -> dict:
    """What a training has come to: the state's arrays and progress, and the best weights."""
    from utils.system.state_files import read_training_state

    parts, record, _ = read_training_state(output / f"last_{BIT}.npz")
    state = {f"{part} {name}": a.tobytes() for part in parts for name, a in parts[part].items()}
    best = json.loads((output / f"weights_{BIT}.json").read_text(encoding="utf-8"))
    files = [output / f"weights_{BIT}{ending}" for ending in (".pdparams", ".pdopt")]
    kept = ("epoch", "map", "weights_sha256")
    return {
        **state,
        "progress": record["progress"],
        "best": [best[name] for name in kept],
        "files": [path.read_bytes() for path in files],
    }


class Victim:
    """Trainings that are killed; what becomes of them is counted.

    Args:
        folder: for data and outputs.
        epochs: of a training.
        small: the small network, else the real one.
    """

    def __init__(self, folder: Path, epochs: int, small: bool):
        self.counts, self.moments = Counter(), Counter()
        self._folder, self._epochs, self._small = folder, epochs, small
        self._output = folder / "whole"
        self._run(None)
        self._whole = end_of(self._output)
        self._output = folder / "killed"

    def _run(self, seconds: float | None) -> int | None:
        """Begins or goes on, for so long at most; returns the exit status."""
        state = self._output / f"last_{BIT}"
        resume = ["--resume", str(state)] if state.with_suffix(".npz").is_file() else []
        arguments = arguments_of(self._folder, self._output, self._epochs, self._small, *resume)
        process = FORK.Process(target=train, args=(arguments, self._small))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            self.counts["resumes failed"] += 1
            sys.stderr.write((self._output / "console.txt").read_text()[-2000:])
        return process.exitcode

    def kill(self, seconds: float) -> None:
        """Kills a training after so long, and checks what is left."""
        if self._run(seconds) == 0:
            self._compare()
            return
        self.counts["kills"] += 1
        self.moments[moment_of(self._output) if self._output.is_dir() else "starting"] += 1
        if (self._output / f"last_{BIT}.npz").is_file():
            from utils.system.state_files import read_training_state

            try:
                read_training_state(self._output / f"last_{BIT}.npz")
                self.counts["states loaded"] += 1
            except UserError as error:
                self.counts[f"lost: {error}"] += 1

    def finish(self) -> None:
        """Lets the last training come to its end."""
        self._run(None)
        self._compare()

    def _compare(self) -> None:
        self.counts["trainings ended"] += 1
        found = end_of(self._output)
        for name in self._whole:
            if found.get(name) != self._whole[name]:
                self.counts[f"{name} other than of the unbroken training"] += 1
        self._output = self._folder / f"killed{self.counts['trainings ended']}"

    def lost_anything(self) -> bool:
        """Whether a count is there that must not be."""
        return bool(self.counts.keys() - GOOD)


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
    setup_paddle()
    draw, began = random.Random(flags.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_data_set(folder)
        drawing = FORK.Process(target=draw_weights, args=(folder / "first.pdparams",))
        drawing.start()
        drawing.join()
        victim = Victim(folder, flags.epochs, flags.network == "small")
        while victim.counts["kills"] < flags.kills and not victim.lost_anything():
            victim.kill(draw.uniform(0, flags.seconds))
        victim.finish()
    seconds = round(time.monotonic() - began)
    report = {"network": flags.network, **victim.counts, "when": victim.moments}
    print(json.dumps({**report, "seconds": seconds}))
    return int(victim.lost_anything())


if __name__ == "__main__":
    sys.exit(main())
