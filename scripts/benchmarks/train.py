"""The training step: this repository's thread settings against Paddle's default ones.

Each competitor is a process of its own, since Paddle reads its settings once; they take turns. A
process takes optimizer steps on a batch that lies ready (no pictures are decoded): normalisation,
network, loss against a bank of 10,000 rows, backward, SGD. Medians of the turns are shown.
"""

from __future__ import annotations

import argparse
import json

from tqdm import tqdm

from scripts.benchmarks.isolated import in_a_process
from scripts.benchmarks.measuring import machine, medians, print_table
from utils.system.errors import UserError

COLUMNS = (
    ("threads", "name", "<9"),
    ("step s", "seconds", ".3f"),
    ("img/s", "pictures_per_second", ".1f"),
    ("x default", "over_default", ".2f"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this part."""
    parser.add_argument("--batch", type=int, default=32, help="pictures (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="a turn (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="of each (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Measures a step in both settings."""
    for flag in ("batch", "steps", "turns"):
        if getattr(arguments, flag) < 1:
            raise UserError(f"--{flag} must be 1 or more")
    work = ("scripts.benchmarks.train_steps", "seconds_a_step", arguments.batch, arguments.steps)
    turns = {"ours": [], "default": []}
    for _ in tqdm(range(arguments.turns), leave=False, disable=None):
        for name, seconds in turns.items():
            seconds.append(in_a_process(*work, tuned=name == "ours"))
    found = medians(turns)
    results = [
        {
            "name": name,
            "seconds": seconds,
            "pictures_per_second": arguments.batch / seconds,
            "over_default": found["default"] / seconds,
        }
        for name, seconds in found.items()
    ]
    print(f"{arguments.batch} pictures a step, 64 bits")
    print_table(COLUMNS, results)
    task = {name: getattr(arguments, name) for name in ("batch", "steps", "turns")}
    print(json.dumps({"benchmark": "train", **task, **machine(), "results": results}))
