"""Trains or evaluates HashNet on one device: `python main_single_gpu.py --help`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    import utils.system.interrupt  # noqa: F401  (first of all: Ctrl-C is told in a line)

from utils.system.errors import run_command


def main() -> int:
    """Reads the settings, starts Paddle, hands over."""
    from utils.config import TRAIN_COMMAND, parse_config  # here Ctrl-C is told in a line
    from utils.system.runtime import setup_paddle

    config = parse_config(TRAIN_COMMAND)
    setup_paddle(config.cpu_threads, config.tf32, config.device)
    if config.eval:  # what imports Paddle comes after its start
        from utils.training.evaluator import evaluate as run
    else:
        from utils.training.trainer import train as run
    return run(config)


if __name__ == "__main__":
    sys.exit(run_command(main))
