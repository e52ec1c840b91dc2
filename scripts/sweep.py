"""Trains and evaluates code lengths × seeds × variants, each run in a folder of its own.

What stands after -- goes to main_single_gpu.py, whose --help explains it. A run's folder is
OUTPUT/DATASET/VARIANT_BIT_sSEED. The same command goes on where an earlier one has stopped: it
skips what is finished, resumes what was begun, and refuses a folder with a run of other settings.
Ctrl-C and SIGTERM let trainings save first.

A YAML FILE may say it all; flags given here beat it:
  bits: [16, 32, 48, 64]
  seeds: [0, 1]
  variants: [full, W, sgn]
  settings: {dataset: cifar10, epoch: 60, step_continuation: 8, batch_size: 128}

Exit status: 0 all runs are finished; 1 some have failed; 2 nothing was started; 130, 143 stopped.

examples:
  python scripts/sweep.py --bits 16 32 --seeds 0 1 -- --dataset coco_lite \\
      --epoch 6 --backbone-weights none
  python scripts/sweep.py sweep.yaml --dry-run
  python scripts/sweep.py sweep.yaml --jobs 4   (a run on each of four GPUs)

then python scripts/report.py output/sweep/DATASET makes tables and figures of it
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

import argparse
import ctypes
import shlex
import signal
import subprocess
import time
from collections.abc import Iterable
from datetime import timedelta
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from scripts.prepare.draws import whole_number
from scripts.runs import VARIANTS, SavedRun, recipe_of
from scripts.tables import markdown_table
from utils.config import FULL_METHOD, TRAIN_COMMAND, Config, command_to_resume, parse_config
from utils.config.parser import Parser, build_parser
from utils.datasets.info import in_repository, read_yaml_mapping
from utils.system.errors import (
    EXIT_SIGNAL,
    UserError,
    run_command,
    short_repr,
    signals_handled_by,
    tell,
)
from utils.system.files import sha256_of_file
from utils.system.runtime import setup_paddle, share_cores, usable_gpus

MAIN = in_repository("main_single_gpu.py")
POLL_SECONDS = 0.2
_BY_DEFAULT = ("eval", "resume", "force_resume", "last_epoch", "log_path")
"""Settings that the flags of training leave alone: the sweep says how and where a run begins."""
_OF_AN_EVALUATION = ("topK", "exclude_self")
"""Settings that a later --eval in a run's folder may have had otherwise."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def parse_arguments(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Reads the command line and its YAML file: what is the sweep's, and the flags of training."""
    end = words.index("--") if "--" in words else len(words)
    usage = "%(prog)s [FILE] [flags] [-- flags of main_single_gpu.py]"
    parser = Parser(description=__doc__, usage=usage)
    add, number = parser.add_argument, {"nargs": "+", "metavar": "N"}
    variants = "full; W: --no-weighting; sgn: --no-continuation; W-sgn: both (default: full)"
    jobs = "runs at a time, each on a GPU of its own, or sharing the CPU's cores (default: 1)"
    add("file", nargs="?", metavar="FILE", type=Path, help="YAML file of the sweep")
    add("--bits", type=whole_number(1), default=[64], help="code lengths (default: 64)", **number)
    add("--seeds", type=whole_number(0), default=[2000], help="(default: 2000)", **number)
    add("--variants", nargs="+", choices=VARIANTS, default=["full"], help=variants)
    add("--output", default="output/sweep", metavar="DIR", help="(default: %(default)s)")
    add("--jobs", type=whole_number(1), default=1, metavar="N", help=jobs)
    add("--dry-run", action="store_true", help="show the plan and the time left, start nothing")
    arguments, flags = parser.parse_args(words[:end]), words[end + 1 :]
    if file := arguments.file:
        entries = read_yaml_mapping(file, "a YAML file of a sweep")
        settings = list(_as_flags(file, entries.pop("settings", {})))
        flags = [*settings, *flags]
        try:
            build_parser(TRAIN_COMMAND).parse_args(settings)
            parser.set_defaults(**vars(parser.parse_args([*_as_flags(file, entries)])))
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        arguments = parser.parse_args(words[:end])
    return arguments, flags


def _as_flags(file: Path, entries: Any) -> Iterable[str]:
    if not isinstance(entries, dict):
        raise UserError(f"{file}: settings: expected names and values, found {short_repr(entries)}")
    for name, value in entries.items():
        if value is True:
            yield f"--{name}"
        elif isinstance(value, list):
            yield from (f"--{name}", *map(str, value))
        elif value is not None and value is not False:  # a default, or a switch that is off
            yield f"--{name}={value}"


class Run(SavedRun):
    """A run of the sweep: what is left to do of it, and the process that does it.

    Raises a `UserError` where its folder holds a run of other settings.
    """

    def __init__(self, flags: list[str], config: Config):
        super().__init__(config.paths.folder, config.bit)
        self.config, self.name = config, config.paths.folder.name
        self.console = config.paths.folder / "console.txt"
        self._refuse_another()
        train = [str(MAIN), *flags]
        evaluate = [*train, "--eval", "--pretrained", str(self.paths.weights)]
        if self.has_state:
            train = shlex.split(command_to_resume(str(self.paths.last), train))[1:]
        self.commands = [train] if self.epochs_left else []
        self.commands += [] if self.is_done else [evaluate]

    def _refuse_another(self) -> None:
        found, wanted = self.recipe, recipe_of(self.config.settings())
        pairs = {name: (found[name], wanted[name]) for name in found}
        pairs["epoch"] = self.epoch, min(self.epoch, self.config.epoch)
        pairs.update(self._lists())
        others = [f"{name} {old}, now {new}" for name, (old, new) in pairs.items() if old != new]
        if others:
            raise UserError(
                f"{self.paths.folder}: a run of other settings: {'; '.join(others)}; move it "
                "away, or name another folder with --output"
            )

    def _lists(self) -> dict[str, tuple[str, str]]:
        """Of each list that the run tells of: how the hash of its file began, and begins now."""
        info, saved = self.config.info, self.settings.get("data")
        folder, pairs = Path(self.config.list_path or info.folder), {}
        if info.kind == "list" and isinstance(saved, dict):  # a seed draws CIFAR-10's
            for name, file in info.lists.items():
                before, path = saved.get(f"{name} list"), folder / file
                if before and path.is_file():
                    pairs[f"{name} list"] = str(before)[:8], sha256_of_file(path)[:8]
        return pairs

    @property
    def epochs_left(self) -> int:
        """Epochs to train; all, where there is neither a state to go on from nor an end."""
        left = self.config.epoch - self.epoch
        return left if self.has_state or (left == 0 and self.weights) else self.config.epoch

    @property
    def is_done(self) -> bool:
        """Whether it is trained, and its best weights are evaluated as the flags say."""
        needed = "map_continuous" if self.config.continuous else "map"
        found = self.evaluation.get("protocol", {})
        as_said = all(found.get(key) == getattr(self.config, key) for key in _OF_AN_EVALUATION)
        return not self.epochs_left and as_said and needed in self.evaluation

    @property
    def state(self) -> str:
        """How far it is, in words."""
        if self.epochs_left:
            begun = f"resumes at epoch {self.epoch + 1} of {self.config.epoch}"
            return begun if self.has_state else "to do"
        return f"done, MAP {self.value('map'):.3f}" if self.is_done else "to be evaluated"

    def start_next(self, gpu: str) -> None:
        """Starts the next command on a GPU; '': on what this process would use."""
        self.gpu = gpu
        self.console.parent.mkdir(parents=True, exist_ok=True)
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                [sys.executable, *self.commands.pop(0)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})},
                start_new_session=True,  # a terminal's Ctrl-C is for the sweep, which passes it on
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )

    def last_words(self) -> str:
        """The error that its command has ended with, or else what it said last."""
        lines = self.console.read_text(encoding="utf-8", errors="replace").strip().split("\n")
        return [*lines, *(line for line in lines if "rror: " in line)][-1]


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)  # a training saves first


def plan_runs(arguments: argparse.Namespace, flags: list[str]) -> list[Run]:
    """The runs of a sweep, the settings of each checked before any is looked for."""
    dataset = parse_config(TRAIN_COMMAND, flags).info.name
    planned = {}
    for variant, bit, seed in product(arguments.variants, arguments.bits, arguments.seeds):
        folder = Path(arguments.output, dataset, f"{variant}_{bit}_s{seed}")
        own = {"bit": bit, "seed": seed, "output_dir": str(folder)}
        words = [f"--{key}={value}" for key, value in own.items()]
        words += [f"--{switch}" for switch in VARIANTS[variant]] + flags
        config = parse_config(TRAIN_COMMAND, words)
        own.update({key: key in VARIANTS[variant] for key in FULL_METHOD})
        own.update({key: getattr(Config, key) for key in _BY_DEFAULT})
        for key, value in own.items():
            if getattr(config, key) != value:
                flag = "--" + key.replace("_", "-")
                raise UserError(f"{flag} among the flags of training: the sweep itself sets it")
        planned[folder] = words, config
    return [Run(*each) for each in planned.values()]


def time_left(runs: list[Run], jobs: int) -> str:
    """An estimate from the epochs that any of the runs has finished."""
    epochs = [epoch for run in runs for epoch in run.epochs if "loss" in epoch]
    if not epochs:
        return "the time it takes is known after the first epoch"
    parts = ("seconds", "evaluation_seconds", "saving_seconds")
    each = mean(sum(epoch.get(part, 0) for part in parts) for epoch in epochs)
    left = timedelta(seconds=round(sum(run.epochs_left for run in runs) * each / jobs))
    return f"about {left} left, an epoch takes {each:.3g} s"


def find_gpus(jobs: int, device: str) -> list[str]:
    """For each job its GPU, as CUDA_VISIBLE_DEVICES names it; '' where that stays as it is.

    Jobs on the CPU share its cores. Raises a `UserError` where there are fewer GPUs than jobs.
    """
    if jobs == 1:
        return [""]
    setup_paddle(device=device)
    share_cores(jobs)
    gpus = 0 if device == "cpu" else usable_gpus()
    if 0 < gpus < jobs:
        raise UserError(f"--jobs {jobs}: {gpus} GPUs are visible")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
    return [name.strip() for name in visible.split(",")][:jobs] if gpus else [""] * jobs


def work(runs: list[Run], free: list[str]) -> tuple[list[str], list[int]]:
    """Does what is left of the runs, one on each `free` GPU at a time.

    Returns a line for each run that has failed, and the signals that came: after the first one the
    trainings save and end, after the second they end at once.
    """
    waiting, busy, jobs = [run for run in runs if not run.is_done], [], len(free)
    failed, signals, passed_on = [], [], 0
    with signals_handled_by(lambda number, _frame: signals.append(number)):
        while busy or (waiting and not signals):
            while waiting and free and not signals:
                run = waiting.pop(0)
                run.start_next(free.pop(0))
                busy.append(run)
                print(f"{run.name}: started, see train/log_{run.bit}.txt there", flush=True)
            for number in signals[passed_on:]:
                passed_on += 1
                for run in busy:
                    run.process.send_signal(number)
            for run in [run for run in busy if run.process.poll() is not None]:
                status = run.process.returncode
                if status == 0 and run.commands and not signals:
                    run.start_next(run.gpu)
                    continue
                busy.remove(run)
                free.append(run.gpu)
                run.look()
                came_to = f"{run.name}: status {status}: {run.last_words()}"
                if status == 0 and run.is_done:
                    done = f"{sum(run.is_done for run in runs)}/{len(runs)}"
                    came_to = f"[{done}] {run.name}: {run.state}; {time_left(runs, jobs)}"
                elif not signals:
                    failed.append(came_to)
                print(came_to, flush=True)
            time.sleep(POLL_SECONDS)
    return failed, signals


def main() -> int:
    """Plans, shows the plan, and works through it."""
    arguments, flags = parse_arguments(sys.argv[1:])
    runs = plan_runs(arguments, flags)
    folder, done = runs[0].paths.folder.parent, sum(run.is_done for run in runs)
    print(f"Runs in {folder}:\n")
    print(markdown_table(["run", "state"], [[run.name, run.state] for run in runs]))
    print(f"{len(runs)} runs, {done} done; {time_left(runs, arguments.jobs)}", flush=True)
    if arguments.dry_run:
        return 0
    failed, signals = work(runs, find_gpus(arguments.jobs, runs[0].config.device))
    if failed:
        print(f"{len(failed)} of {len(runs)} runs have failed:", *failed, sep="\n")
    if failed or signals:
        tell(f"To go on: {command_to_resume(None)}")
        return EXIT_SIGNAL + signals[0] if signals else 1
    tell(f"Tables and figures: python scripts/report.py {shlex.quote(str(folder))}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
