"""Kills a training at random moments, again and again: is its state always there, and exact?

`kill_training.py --kills 100` trains with a state saved every epoch and by the clock, ends the
process by `kill -9` at a random moment, looks at what is left, goes on from there, and is killed
again. A training that comes to its end is compared with an unbroken one, to the bit, and another is
begun. The last line is a report in JSON; the exit status is 1 where anything was lost.

With `--ranks 2` main_multi_gpu.py's launcher trains, with both samplings, and the parent, one rank
or all are killed, every other time while ranks are starting. With one rank each training is a
process forked from one that has imported Paddle, since a start takes far longer than an epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from helpers import REPOSITORY, SMALL_TRAINING, assert_same_state, epochs_of, processes_of
from small_training import BIT, arguments_of, draw_data_set, draw_weights, run_small

from utils.config import TRAIN_COMMAND, parse_config
from utils.system.errors import UserError
from utils.system.files import OutputPaths, locked
from utils.system.runtime import setup_paddle

FORK = multiprocessing.get_context("fork")
MARK = "HASHNET_TEST_KILLED"
"""An environment variable that tells the processes of a training from all others."""
WAIT_SECONDS = 40
"""For all processes of a killed training to end; one that imports Paddle ends after that."""


def train(arguments: list[str]) -> None:
    """Trains in a process of its own; its console goes to `console.txt`."""
    config = parse_config(TRAIN_COMMAND, arguments)
    with (config.paths.folder / "console.txt").open("a") as console:
        for number in (1, 2):
            os.dup2(console.fileno(), number)
    sys.exit(run_small(config))


def best_of(output: Path) -> tuple:
    """The best weights' bytes, and what they are of."""
    record = json.loads((output / f"weights_{BIT}.json").read_text(encoding="utf-8"))
    weights = (output / f"weights_{BIT}.pdparams").read_bytes()
    return weights, record["epoch"], record["map"], record["weights_sha256"]


def rows_of(output: Path) -> list[tuple]:
    """What each epoch came to: its loss and, where it was evaluated, its MAP."""
    return [(row["epoch"], row["loss"], row.get("map")) for row in epochs_of(output)]


class Victim:
    """Trainings that are killed: `counts` says what became of them, `losses` what must not have.

    The data set is in `folder`; `flags` go to the command, names of folders begin with `name`.
    """

    def __init__(self, folder: Path, name: str, epochs: int, *flags):
        self.counts: Counter = Counter()
        self.losses: list[str] = []
        self._folder, self._name, self._epochs, self._flags = folder, name, epochs, flags
        self._begin(f"{name}whole")
        self._whole = self._output
        self._run(None)
        self._begin(f"{name}killed")

    def _begin(self, name: str) -> None:
        self._output = self._folder / name
        self._output.mkdir()

    def _arguments(self) -> list[str]:
        """Begins, or goes on where a state is there."""
        flags = [*self._flags, "--save-minutes", 0.005]
        if (self._output / f"last_{BIT}.npz").is_file():
            flags += ["--resume", self._output / f"last_{BIT}"]
        return arguments_of(self._folder, self._output, self._epochs, *flags)

    def _run(self, draw: random.Random | None, seconds: float = 0) -> bool:
        """Trains, for so long at most where it is killed; whether it has come to its end."""
        process = FORK.Process(target=train, args=(self._arguments(),))
        process.start()
        process.join(draw and draw.uniform(0, seconds))
        process.kill()
        process.join()
        if process.exitcode not in (0, -signal.SIGKILL):
            self._lose(f"status {process.exitcode}")
        return process.exitcode == 0

    def kill(self, draw: random.Random | None, seconds: float = 0) -> None:
        """Kills a training at a moment that is drawn, or not at all, and checks what is left."""
        has_ended = self._run(draw, seconds)
        self.counts["trainings ended" if has_ended else "kills"] += 1
        try:
            self._check(has_ended)
        except (AssertionError, UserError, OSError, ValueError) as error:
            self._lose(str(error))
        if has_ended:
            self._begin(f"{self._name}killed{self.counts['trainings ended']}")

    def _check(self, has_ended: bool) -> None:
        """What is left is whole, and as of an unbroken training; nobody holds the lock."""
        paths = OutputPaths(self._output, BIT)
        if paths.epochs.is_file():
            rows = rows_of(self._output)
            assert rows == rows_of(self._whole)[: len(rows)], f"other epochs: {rows}"
        if has_ended:
            assert_same_state(self._output, self._whole)
            assert best_of(self._output) == best_of(self._whole), "other best weights"
            assert len(rows) == self._epochs, f"{len(rows)} epochs"
            return
        written = [path for path in self._output.rglob(".*") if path != paths.lock]
        self.counts["kills while a file was written"] += bool(written)
        for path in written:
            path.unlink()
        if paths.last.is_file():
            from utils.system.state_files import read_training_state

            read_training_state(paths.last)
            self.counts["states loaded"] += 1
        with locked(paths.lock, "this check"):
            pass

    def _lose(self, what: str) -> None:
        console = self._output / "console.txt"
        said = console.read_text()[-800:] if console.is_file() else ""
        self.losses.append(f"{self._output.name}: {what}"[:500] + f"\n{said}")


class TwoRanks(Victim):
    """Trainings of two ranks, each started by its parent, as main_multi_gpu.py does it."""

    slowest_end, start_seconds = 0.0, 0.0
    """How long the processes of a killed training took to end, and a start takes."""

    def _run(self, draw: random.Random | None, seconds: float = 0) -> bool:
        console = self._output / "console.txt"
        arguments = [sys.executable, SMALL_TRAINING, *self._arguments(), "--nprocs", "2"]
        environment = {**os.environ, MARK: str(self._output)}
        with console.open("a+") as file:
            begun = file.tell()
            output = {"stdout": file, "stderr": file, "cwd": REPOSITORY}
            job = subprocess.Popen(arguments, env=environment, start_new_session=True, **output)

        def said() -> str:
            return console.read_text()[begun:]

        begin = time.monotonic()
        while draw is None and job.poll() is None and "Start training" not in said():
            time.sleep(0.05)
        self.start_seconds = self.start_seconds or time.monotonic() - begin
        victim = draw and self._kill(draw, seconds, job, said)
        status = job.wait()
        self._expect_all_to_end(job.pid)
        killed = "was killed by SIGKILL" in said()
        as_expected = status == 0 or (
            (status == 2 and killed) if "rank" in (victim or "") else status == -signal.SIGKILL
        )
        if not as_expected or (victim != "parent" and re.search("^Traceback", said(), re.M)):
            self._lose(f"{victim} killed, status {status}")
        if status:
            phase = "in training" if "Start training" in said() else "while starting"
            self.counts[f"{victim} killed {phase}"] += 1
        return status == 0

    def _kill(self, draw: random.Random, seconds: float, job: subprocess.Popen, said) -> str:
        """Kills the parent, a rank, or all of them at a moment; says which."""
        victim = draw.choice(("parent", "rank 0", "rank 1", "all"))
        begin, starting = time.monotonic(), draw.random() < 0.5
        wait = draw.uniform(0, self.start_seconds if starting else seconds)
        while not starting and job.poll() is None and "Start training" not in said():
            begin = time.monotonic()
            time.sleep(0.05)
        while job.poll() is None and time.monotonic() < begin + wait:
            time.sleep(0.01)
        ranks: list[int] = []
        while "rank" in victim and job.poll() is None and len(ranks) < 2:
            ranks = processes_of(job.pid, "spawn_main")
        with contextlib.suppress(ProcessLookupError):  # it has come to its end
            if victim == "all":
                os.killpg(job.pid, signal.SIGKILL)
            elif job.poll() is None:
                os.kill(ranks[int(victim[-1])] if ranks else job.pid, signal.SIGKILL)
        return victim

    def _expect_all_to_end(self, job: int) -> None:
        begin = time.monotonic()
        while self._left(job) and time.monotonic() - begin < WAIT_SECONDS:
            time.sleep(0.1)
        self.slowest_end = max(self.slowest_end, time.monotonic() - begin)
        for process in self._left(job):
            self._lose(f"process {process} lives on")
            os.kill(process, signal.SIGKILL)

    def _left(self, job: int) -> set[int]:
        """The training's processes that are still there, of whatever group."""
        mark, found = f"{MARK}={self._output}".encode(), set(processes_of(job))
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
        return found


def main() -> int:
    """Reads the flags, kills, reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--ranks", type=int, choices=(1, 2), default=1)
    samplings = ("shard", "replicate")
    parser.add_argument("--sampling", nargs="+", choices=samplings, default=samplings)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    help = "in training to a kill, at most (default: 2; of two ranks 5)"
    parser.add_argument("--seconds", type=float, help=help)
    flags = parser.parse_args()
    flags.seconds = flags.seconds or (2.0 if flags.ranks == 1 else 5.0)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    setup_paddle()
    draw, begin = random.Random(flags.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_data_set(folder)
        drawing = FORK.Process(target=draw_weights, args=(folder / "first.pdparams",))
        drawing.start()
        drawing.join()
        if flags.ranks == 1:
            victims = [Victim(folder, "", flags.epochs)]
        else:
            victims = [TwoRanks(folder, s, flags.epochs, "--sampling", s) for s in flags.sampling]

        def total() -> Counter:
            return sum((victim.counts for victim in victims), Counter())

        def lost() -> list[str]:
            return [loss for victim in victims for loss in victim.losses]

        while total()["kills"] < flags.kills and not lost():
            draw.choice(victims).kill(draw, flags.seconds)
        for victim in victims:
            victim.kill(None)
    report = {**vars(flags), **total(), "minutes": round((time.monotonic() - begin) / 60, 1)}
    if flags.ranks == 2:
        report["seconds to the end of all, at most"] = max(round(v.slowest_end, 1) for v in victims)
    print(json.dumps({**report, "lost": lost()}))
    return int(bool(lost()))


if __name__ == "__main__":
    sys.exit(main())
