"""The loss: closed form against masked assignment, value and gradient checked.

One call is forward and backward of a batch against the bank. The competitors take turns on the
same batches; the medians are shown. The masked form assigns to the similar and to the dissimilar
pairs through boolean masks, as deep-hashing code commonly does.
"""

from __future__ import annotations

import argparse
import json

from scripts.benchmarks.measuring import machine, print_table, take_turns
from utils.system.errors import UserError
from utils.system.runtime import start_paddle

COLUMNS = (
    ("threads", "threads", "d"),
    ("closed form ms", "closed_ms", ".2f"),
    ("masked ms", "masked_ms", ".2f"),
    ("masked / closed", "masked_over_closed", ".2f"),
    ("difference of value", "value_difference", ".0e"),
    ("of gradient", "gradient_difference", ".0e"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this part."""
    parser.add_argument("--batch", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--bank", type=int, default=10_000, help="rows (default: %(default)s)")
    parser.add_argument("--bit", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--turns", type=int, default=30, help="of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores (the default)")
    parser.add_argument("--seed", type=int, default=2000, help="default: %(default)s")


def run(arguments: argparse.Namespace) -> None:
    """Measures both forms."""
    for flag in ("batch", "bank", "bit", "turns"):
        if getattr(arguments, flag) < 1:
            raise UserError(f"--{flag} must be 1 or more")
    if arguments.batch > arguments.bank:
        raise UserError(f"--batch {arguments.batch}: more rows than --bank {arguments.bank} has")
    start_paddle(arguments.threads)
    from scripts.benchmarks.loss_baseline import Competition  # imports Paddle

    competition = Competition(arguments.batch, arguments.bank, arguments.bit, arguments.seed)
    differences = competition.differences()
    seconds = take_turns(
        {"closed": competition.closed_step, "masked": competition.masked_step},
        arguments.turns,
        competition.next_batch,
    )
    result = {
        "threads": competition.threads,
        **{f"{name}_ms": 1000 * value for name, value in seconds.items()},
        "masked_over_closed": seconds["masked"] / seconds["closed"],
        **differences,
    }
    print(f"{arguments.batch} x {arguments.bank} pairs, {arguments.bit} bits")
    print_table(COLUMNS, [result])
    task = {name: getattr(arguments, name) for name in ("batch", "bank", "bit", "turns")}
    print(json.dumps({"benchmark": "loss", **task, **machine(), **result}))
